"""HTTP/1.1 and WebSocket as bytes on a socket, for what no client library would send."""

import base64
import hashlib
import os
import socket
import ssl
import struct
from dataclasses import dataclass

from stage import PATIENCE, Tidewire


@dataclass
class Response:
    """A response as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One TCP connection, with TLS where the server speaks it. Everything that is waited for has a deadline."""

    def __init__(self, server: Tidewire, source: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        """`source` is the address to come from: every address that begins with 127 is this machine's own. `context` is
        how TLS is spoken; by itself any certificate is taken, and HTTP/1.1 is asked for by ALPN."""
        self.host = f"127.0.0.1:{server.port}"
        self._credentials = server.credentials
        self._socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.secure:
            self._socket = (context or trusting_nobody("http/1.1")).wrap_socket(self._socket, server_hostname="localhost")
        self._read = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def push(self, data: bytes, patience_s: float = 0.2) -> None:
        """Sends as much as the server takes: until it closes, or takes nothing more for `patience_s` seconds."""
        self._socket.settimeout(patience_s)
        try:
            while data:
                data = data[self._socket.send(data) :]
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self._socket.settimeout(PATIENCE)

    def request(self, start: str, *headers: str, body: bytes = b"") -> None:
        """Sends a well-formed request; `start` is like `GET /c/x` or `GET /c/x HTTP/1.0`."""
        line = start if " HTTP/" in start else f"{start} HTTP/1.1"
        if body and not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
            headers = (*headers, f"Content-Length: {len(body)}")
        for name, value in (*self._credentials.items(), ("Host", self.host)):
            if not any(header.lower().startswith(f"{name.lower()}:") for header in headers):
                headers = (f"{name}: {value}", *headers)
        self.send("\r\n".join([line, *headers, "", ""]).encode("latin-1") + body)

    def finish(self) -> None:
        """Sends FIN: no more will be sent, but an answer would still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Sends RST, as a process that dies with unread input does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def head(self) -> Response:
        """Reads a response head; the body stays to be read. One that only says to go on is passed over."""
        text = self.until(b"\r\n\r\n").decode("latin-1")
        start, *lines = text.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        status = int(start.split()[1])
        return self.head() if status == 100 else Response(status, headers, b"")

    def response(self) -> Response:
        """Reads a whole response: by its length, by its chunks, or to the end of the connection."""
        response = self.head()
        if "content-length" in response.headers:
            response.body = self.exactly(int(response.headers["content-length"]))
        elif response.headers.get("transfer-encoding") == "chunked":
            while chunk := self.chunk():
                response.body += chunk
        elif response.status not in (204, 304):
            response.body = self.rest()
        return response

    def chunk(self) -> bytes:
        """Reads one chunk of a chunked body; the empty one is the last."""
        size = int(self.until(b"\r\n").split(b";")[0], 16)
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def until(self, mark: bytes) -> bytes:
        """Reads to the end of `mark`."""
        while mark not in self._read:
            self._more()
        at = self._read.index(mark) + len(mark)
        data, self._read = self._read[:at], self._read[at:]
        return data

    def exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            self._more()
        data, self._read = self._read[:count], self._read[count:]
        return data

    def rest(self) -> bytes:
        """Reads until the server closes. A reset counts as closing: it is what unread input leads to."""
        try:
            while piece := self._socket.recv(65536):
                self._read += piece
        except (ConnectionResetError, ssl.SSLEOFError):
            pass
        data, self._read = self._read, b""
        return data

    def until_quiet(self, quiet_s: float) -> bytes:
        """Reads until nothing has come for `quiet_s` seconds, or to the end of the connection."""
        self._socket.settimeout(quiet_s)
        try:
            return self.rest()
        except TimeoutError:
            data, self._read = self._read, b""
            return data
        finally:
            self._socket.settimeout(PATIENCE)

    def _more(self) -> None:
        piece = self._socket.recv(65536)
        assert piece, f"the server closed after {self._read!r}"
        self._read += piece

    # WebSocket, RFC 6455

    def upgrade(self, path: str, *headers: str, version: int = 13, key: str | None = None) -> Response:
        """Asks for a WebSocket and returns the answer's head; a 101 has been checked to be right."""
        key = base64.b64encode(os.urandom(16)).decode() if key is None else key
        self.request(
            f"GET {path}",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Version: {version}",
            f"Sec-WebSocket-Key: {key}",
            *headers,
        )
        answer = self.head()
        if answer.status == 101:
            digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            assert answer.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        return answer

    def frame(self) -> tuple[int, bytes]:
        """Reads one frame: its opcode and payload. Servers never mask, and ours never fragments."""
        first, second = self.exactly(2)
        assert first & 0xF0 == 0x80 and second & 0x80 == 0, (first, second)
        length = second
        if length == 126:
            (length,) = struct.unpack(">H", self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.exactly(8))
        return first & 0x0F, self.exactly(length)

    def close_frame(self) -> tuple[int, str]:
        """Skips to the close frame: its code and reason."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode()


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0, declared: int | None = None
) -> bytes:
    """A client's frame, right or wrong; `declared` lies about the length."""
    length = len(payload) if declared is None else declared
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask else 0
    if length < 126:
        head = struct.pack(">BB", first, bit | length)
    elif length < 65536:
        head = struct.pack(">BBH", first, bit | 126, length)
    else:
        head = struct.pack(">BBQ", first, bit | 127, length)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def trusting_nobody(*protocols: str) -> ssl.SSLContext:
    """A client of TLS that takes any certificate, and offers `protocols` by ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
