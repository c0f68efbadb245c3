"""A door for WebSocket clients that know nothing of TLS or HTTP/2: what they say in HTTP/1.1 goes on in these.

Over `tls` the bytes are carried as they are. Over `h2c` and `h2` a handshake becomes an extended CONNECT (RFC 8441), and
frames go inside DATA frames, by the library `h2`, on an HTTP/2 connection for each client.
"""

import asyncio
import base64
import hashlib
import ssl
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes
from wire import trusting_nobody

WINDOW = 1 << 20
PIECE = 64 << 10


class Shim:
    """Listens on a port of its own, and carries each connection to a server in another way."""

    def __init__(self, port: int, over: str) -> None:
        self._port, self._over = port, over
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task | None] = set()
        """asyncio itself holds on to a task only as long as somebody may wake it: one whose client and server are both being
        waited for, with their sockets paused, would be collected as garbage."""

    async def __aenter__(self) -> "Shim":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._carrying.add(task)
        protocol = {"tls": "http/1.1", "h2": "h2"}.get(self._over)
        context: ssl.SSLContext | None = trusting_nobody(protocol) if protocol else None
        name = "localhost" if context else None
        server, to_server = await asyncio.open_connection("127.0.0.1", self._port, ssl=context, server_hostname=name)
        try:
            if self._over == "tls":
                await both(pump(client, to_server), pump(server, to_client))
            else:
                await Tunnel(client, to_client, server, to_server).carry(self._port)
        except (ConnectionError, StreamClosedError, asyncio.IncompleteReadError):
            # One side is gone, and is told by the other's end.
            pass
        finally:
            self._carrying.discard(task)
            to_client.close()
            to_server.close()


async def both(*ways: object) -> None:
    """Goes both ways until one of them is at its end."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        task.result()


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        target.write(piece)
        await target.drain()


class Tunnel:
    """A WebSocket of HTTP/1.1 on one side, and on a stream of HTTP/2 on the other."""

    def __init__(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._http = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._stream = 1
        self._room = asyncio.Event()
        """Set whenever the server may have made room for more."""

    async def carry(self, port: int) -> None:
        head = (await self._client.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        self._http.initiate_connection()
        self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
        self._http.increment_flow_control_window(WINDOW)
        self._say()
        await self._hear_until(RemoteSettingsChanged)
        assert self._http.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1
        pseudo = {"method": "CONNECT", "protocol": "websocket", "scheme": "http", "path": start.split()[1]}
        taken = [(name, value) for name, value in fields.items() if name in KEPT]
        named = [(f":{name}", value) for name, value in {**pseudo, "authority": f"127.0.0.1:{port}"}.items()]
        self._http.send_headers(self._stream, named + taken)
        self._say()
        (answer, *early) = await self._hear_until(ResponseReceived)
        status = dict(answer.headers)[":status"]
        assert status == "200", answer
        digest = hashlib.sha1(fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest).decode()
        self._to_client.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        if not self._take(early):
            await both(self._upward(), self._downward())

    async def _upward(self) -> None:
        while piece := await self._client.read(PIECE):
            while piece:
                room = min(self._http.local_flow_control_window(self._stream), self._http.max_outbound_frame_size)
                if room <= 0:
                    self._room.clear()
                    await self._room.wait()
                    continue
                self._http.send_data(self._stream, piece[:room])
                piece = piece[room:]
                self._say()
            await self._to_server.drain()
        self._http.end_stream(self._stream)
        self._say()
        # What the server still has to say about that comes the other way, which ends then.
        await asyncio.Event().wait()

    async def _downward(self) -> None:
        while events := await self._hear():
            if self._take(events):
                return
            await self._to_client.drain()

    async def _hear_until(self, kind: type[Event]) -> list[Event]:
        """Everything that was told together with the first event of a kind, which comes first."""
        while events := await self._hear():
            wanted = [event for event in events if isinstance(event, kind)]
            if wanted:
                return wanted[:1] + [event for event in events if event is not wanted[0]]
        raise ConnectionError("the server has gone")

    async def _hear(self) -> list[Event]:
        """The events of what comes next; none at the end."""
        while piece := await self._server.read(PIECE):
            events = self._http.receive_data(piece)
            self._say()
            if events:
                return events
        return []

    def _take(self, events: list[Event]) -> bool:
        """Hands on to the client what was told; true if that was the last of it."""
        for event in events:
            if isinstance(event, DataReceived):
                self._to_client.write(event.data)
                with suppress(StreamClosedError):
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self._say()
            elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
                self._room.set()
        return any(isinstance(event, StreamEnded | StreamReset | ConnectionTerminated) for event in events)

    def _say(self) -> None:
        self._to_server.write(self._http.data_to_send())


KEPT = ("sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions", "origin")
"""What a handshake says that means the same over HTTP/2."""
