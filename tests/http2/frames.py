"""HTTP/2 as frames on a socket (RFC 9113), for what no client library would send. Header blocks are `hpack`'s."""

import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hpack import Decoder, Encoder
from stage import PATIENCE, Tidewire
from wire import trusting_nobody

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(7, 12)

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8

WINDOW = 65_535
"""What either side may send before it hears more, on a stream as on the connection."""
FRAME_BYTES_MAX = 16_384
"""The longest payload that everybody takes."""


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0, declared: int | None = None) -> bytes:
    """A frame, right or wrong; `declared` lies about the length."""
    length = len(payload) if declared is None else declared
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *each) for each in (values or {}).items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream, struct.pack(">I", increment))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, stream, struct.pack(">I", code))


def priority(stream: int, on: int = 0) -> bytes:
    return frame(PRIORITY, stream, struct.pack(">IB", on, 15))


@dataclass
class Frame:
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What has come on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    frames: int = 0
    """DATA frames that the body came in."""
    ended: bool = False
    """Whether the server has ended its half, and in peace."""
    reset: int | None = None
    """The error code of its RST_STREAM."""

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2:
    """One HTTP/2 connection. Everything that is waited for has a deadline.

    Pings and settings are answered. What was received is given back as window, as browsers do it: once that is half of what
    there was. With `grants` as `at once` it is for each frame, and with `never` it is left to the test.
    """

    def __init__(
        self,
        server: Tidewire,
        values: dict[int, int] | None = None,
        *,
        begin: bool = True,
        grants: str = "by half",
        context: ssl.SSLContext | None = None,
        name: str = "localhost",
    ) -> None:
        """`values` are the settings that are announced; without `begin` nothing is sent at all."""
        self.authority = f"127.0.0.1:{server.port}"
        self.scheme = "https" if server.secure else "http"
        self._credentials = server.credentials
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.secure:
            context = context or trusting_nobody("h2")
            self._socket = context.wrap_socket(self._socket, server_hostname=name)
            assert self._socket.selected_alpn_protocol() == "h2"
        self._encoder, self._decoder = Encoder(), Decoder()
        self._read = b""
        self.newest = -1
        """The newest of our streams."""
        self._grants = grants
        self._window = (values or {}).get(INITIAL_WINDOW_SIZE, WINDOW)
        self._owed = {0: 0}
        self.answers_pings = True
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.acknowledged = 0
        """How many of our SETTINGS have been acknowledged."""
        self.pongs: list[bytes] = []
        self.windows: dict[int, int] = {0: WINDOW}
        """What we may still send, by stream; 0 is the connection."""
        self.goaways: list[tuple[int, int]] = []
        """The last stream and the error code of each GOAWAY."""
        self.closed = False
        if begin:
            self.send(PREFACE + settings(values))

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    # To the server

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def push(self, data: bytes, patience_s: float = 1.0) -> None:
        """Sends as much as the server takes: until it closes, or takes nothing more for `patience_s` seconds."""
        self._socket.settimeout(patience_s)
        try:
            while data:
                data = data[self._socket.send(data[:65_536]) :]
        except OSError:
            # Cut or full; what was told about it is read next.
            pass
        finally:
            self._socket.settimeout(PATIENCE)

    def block(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """A header block, for this place on this connection and no other."""
        return self._encoder.encode(list(headers))

    def head(self, verb: str, target: str, *fields: tuple[str, str], **pseudo: str | None) -> list[tuple[str, str]]:
        """The fields of a request. `authority=None` leaves that out, `protocol="websocket"` adds it."""
        named = {"method": verb, "scheme": self.scheme, "path": target, "authority": self.authority, **pseudo}
        ours = [(name.lower(), value) for name, value in self._credentials.items()]
        taken = {name for name, _ in fields}
        return [
            *((f":{name}", value) for name, value in named.items() if value is not None),
            *((name, value) for name, value in ours if name not in taken),
            *fields,
        ]

    def opening(self, headers: Iterable[tuple[str, str]], *, flags: int = END_HEADERS | END_STREAM, ahead: bytes = b"") -> bytes:
        """A head on a new stream, which is the newest from now on, to be sent before any other; `ahead` of its block."""
        self.newest += 2
        self.answers[self.newest] = Answer()
        self.windows[self.newest] = self.settings.get(INITIAL_WINDOW_SIZE, WINDOW)
        return frame(HEADERS, self.newest, ahead + self.block(headers), flags)

    def expect(self, stream: int) -> None:
        """Takes answers on a stream that was opened by bytes of the test's own."""
        self.answers[stream] = Answer()

    def begin(self, headers: Iterable[tuple[str, str]], *, end: bool = True) -> int:
        """Sends a head on a new stream, and returns its number."""
        self.send(self.opening(headers, flags=END_HEADERS | (END_STREAM if end else 0)))
        return self.newest

    def request(self, method: str, path: str, *fields: tuple[str, str], body: bytes | None = None, **pseudo: str | None) -> int:
        """Sends a whole well-formed request, and returns its stream."""
        stream = self.begin(self.head(method, path, *fields, **pseudo), end=body is None)
        if body is not None:
            self.write(stream, body)
        return stream

    def write(self, stream: int, data: bytes, end: bool = True) -> None:
        """Sends a body, as far and as fast as the server's windows allow."""
        while True:
            self.until("the server takes more", lambda: not data or min(self.windows[stream], self.windows[0]) > 0)
            size = min(self.windows[stream], self.windows[0], FRAME_BYTES_MAX, len(data))
            piece, data = data[:size], data[size:]
            self.windows[stream] -= size
            self.windows[0] -= size
            self.send(frame(DATA, stream, piece, END_STREAM if end and not data else 0))
            if not data:
                return

    def listen(self, channels: str, *fields: tuple[str, str], **pseudo: str | None) -> int:
        """Opens a stream of events, and returns its number once the subscription holds."""
        stream = self.request("GET", f"/c/{channels}", ("accept", "text/event-stream"), *fields, **pseudo)
        self.until_body(stream, b"event: $ready\n")
        return stream

    def reset(self, stream: int, code: int = CANCEL) -> None:
        """Ends a stream, as a page does that closes an EventSource."""
        self.send(reset(stream, code))

    def forget_credentials(self) -> None:
        """From now on it shows what is said by the test, and nothing else."""
        self._credentials = {}

    # From the server

    def ask(self, method: str, path: str, *fields: tuple[str, str], body: bytes | None = None, **pseudo: str | None) -> Answer:
        """Sends a request, and returns the whole answer."""
        return self.answer(self.request(method, path, *fields, body=body, **pseudo))

    def answer(self, stream: int) -> Answer:
        """The answer on a stream, once it is whole or was reset."""
        self.until(f"stream {stream} is over", lambda: self.answers[stream].over)
        return self.answers[stream]

    def head_of(self, stream: int) -> Answer:
        """The answer on a stream, once its head is there or it was reset."""
        self.until(f"the head of {stream}", lambda: self.answers[stream].status != 0 or self.answers[stream].over)
        return self.answers[stream]

    def until_body(self, stream: int, mark: bytes) -> None:
        """Reads until a body holds `mark`."""
        answer = self.answers[stream]
        self.until(f"{mark!r} on stream {stream}", lambda: mark in answer.body or answer.over)
        assert mark in answer.body, answer

    def ping(self, word: bytes = b"in turn.") -> None:
        """Waits until the server has read all that was sent, and answered it as far as it does at once."""
        seen = self.pongs.count(word)
        self.send(frame(PING, payload=word))
        self.until("the ping is answered", lambda: self.pongs.count(word) > seen)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Reads frames until something holds."""
        while not holds():
            assert self.next() is not None, f"the connection ended before {what}; GOAWAY said {self.goaways}"

    def error(self) -> int | None:
        """Reads to the end of the connection: the error code of the last GOAWAY, or nothing where there was none."""
        while self.next() is not None:
            pass
        return self.goaways[-1][1] if self.goaways else None

    def receive(self) -> bytes:
        """Some bytes as they come, for what may be no frames; none at the end of the connection."""
        try:
            piece = self._socket.recv(65_536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
            # A reset counts as closing: it is what unread input leads to.
            piece = b""
        self.closed = not piece
        return piece

    def tables(self, size: int) -> None:
        """Takes header blocks that use a table of so many bytes: what was announced by HEADER_TABLE_SIZE."""
        self._decoder.max_allowed_table_size = size

    def until_quiet(self, quiet_s: float) -> None:
        """Reads until nothing has come for `quiet_s` seconds."""
        self._socket.settimeout(quiet_s)
        try:
            while self.next() is not None:
                pass
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(PATIENCE)

    def next(self) -> Frame | None:
        """Reads one frame, and does what a client has to do about it; nothing at the end of the connection."""
        head = self._exactly(9)
        if head is None:
            return None
        length = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = self._exactly(length, ahead=9)
        if payload is None:
            return None
        self._read = self._read[9 + length :]
        assert length <= FRAME_BYTES_MAX, f"a frame of {length} bytes was never allowed"
        read = Frame(kind, flags, stream, payload)
        self._take(read)
        return read

    def _take(self, read: Frame) -> None:
        number = lambda at=0: int.from_bytes(read.payload[at : at + 4], "big") & 0x7FFF_FFFF  # noqa: E731
        answer = self.answers.get(read.stream)
        if read.kind == DATA:
            assert answer and answer.status and not answer.over, f"DATA that belongs nowhere: {read}"
            answer.body += read.payload
            answer.frames += 1
            answer.ended = bool(read.flags & END_STREAM)
            self._grant(read.stream, len(read.payload), answer.ended)
        elif read.kind == HEADERS:
            block = read.payload
            while not read.flags & END_HEADERS:
                more = self._continuation(read.stream)
                block, read.flags = block + more.payload, read.flags | more.flags & END_HEADERS
            fields = dict(self._decoder.decode(block))
            assert answer and not answer.over, f"HEADERS that belong nowhere: {fields}"
            assert all(name == name.lower() for name in fields), fields
            if not answer.status:
                answer.status = int(fields.pop(":status"))
                answer.headers = fields
            else:
                answer.trailers = fields
            answer.ended = bool(read.flags & END_STREAM)
        elif read.kind == RST_STREAM and answer:
            answer.reset = number()
        elif read.kind == SETTINGS and read.flags & ACK:
            self.acknowledged += 1
        elif read.kind == SETTINGS:
            self._set(dict(struct.iter_unpack(">HI", read.payload)))
        elif read.kind == PING and read.flags & ACK:
            self.pongs.append(read.payload)
        elif read.kind == PING and self.answers_pings:
            self._reply(frame(PING, payload=read.payload, flags=ACK))
        elif read.kind == GOAWAY:
            self.goaways.append((number(), number(4)))
        elif read.kind == WINDOW_UPDATE:
            self.windows[read.stream] = self.windows.get(read.stream, 0) + number()
        assert read.kind != PUSH_PROMISE, "nobody asked for that"

    def _grant(self, stream: int, spent: int, ended: bool) -> None:
        """Gives back what was received, if it is time."""
        for each, window in ((stream, self._window), (0, WINDOW)):
            self._owed[each] = self._owed.get(each, 0) + spent
            due = self._grants == "at once" or (self._grants == "by half" and 2 * self._owed[each] >= window)
            if due and self._owed[each] and not (each and ended):
                self._reply(window_update(each, self._owed[each]))
                self._owed[each] = 0

    def _set(self, values: dict[int, int]) -> None:
        grown = values.get(INITIAL_WINDOW_SIZE, WINDOW) - self.settings.get(INITIAL_WINDOW_SIZE, WINDOW)
        self.windows.update({stream: window + grown for stream, window in self.windows.items() if stream})
        self.settings.update(values)
        self._encoder.header_table_size = min(4_096, values.get(HEADER_TABLE_SIZE, 4_096))
        self._reply(frame(SETTINGS, flags=ACK))

    def _continuation(self, stream: int) -> Frame:
        more = self.next()
        assert more and more.kind == CONTINUATION and more.stream == stream, more
        return more

    def _reply(self, data: bytes) -> None:
        try:
            self.send(data)
        except OSError:
            # The server has closed already: what it said before is still to be read.
            pass

    def _exactly(self, count: int, ahead: int = 0) -> bytes | None:
        while len(self._read) < ahead + count:
            piece = self.receive()
            if not piece:
                return None
            self._read += piece
        return self._read[ahead : ahead + count]
