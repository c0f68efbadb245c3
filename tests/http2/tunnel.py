"""A WebSocket on a stream of HTTP/2 (RFC 8441)."""

import json
import struct

from frames import Http2
from wire import CLOSE, TEXT, frame


class Tunnel:
    """One WebSocket on a connection: what is sent and received is RFC 6455 inside DATA frames."""

    def __init__(self, http: Http2, path: str, *fields: tuple[str, str], **pseudo: str) -> None:
        self.http = http
        head = http.head("CONNECT", path, ("sec-websocket-version", "13"), *fields, **{"protocol": "websocket", **pseudo})
        self.stream = http.begin(head, end=False)
        self.answer = http.head_of(self.stream)
        self._taken = 0

    def send(self, data: bytes, end: bool = False) -> None:
        self.http.write(self.stream, data, end=end)

    def say(self, **fields: object) -> None:
        self.send(frame(TEXT, json.dumps(fields).encode()))

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload."""
        first, second = self._exactly(2)
        assert first & 0xF0 == 0x80 and second & 0x80 == 0, (first, second)
        length = second
        if length == 126:
            (length,) = struct.unpack(">H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self._exactly(8))
        return first & 0x0F, self._exactly(length)

    def heard(self, kind: str) -> dict:
        """Skips to the next JSON frame of a type."""
        while (message := json.loads(self.frame()[1]))["type"] != kind:
            pass
        return message

    def close_frame(self) -> tuple[int, str]:
        """Skips to the close frame: its code and reason."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return struct.unpack(">H", payload[:2])[0], payload[2:].decode()

    def _exactly(self, count: int) -> bytes:
        end = self._taken + count
        self.http.until(f"{count} bytes of a frame", lambda: len(self.answer.body) >= end or self.answer.over)
        data, self._taken = self.answer.body[self._taken : end], end
        assert len(data) == count, f"the stream ended: {self.answer}"
        return data
