"""A server of the test's own that answers as it likes: whom `tidewire doctor` looks at may be anybody."""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable

from listening import accepted, close
from stage import free_port

PAGE = json.dumps({"messages": [], "cursor": "1.1", "more": False, "gap": {"reason": "epoch"}})
"""The page of a poll, as far as it is looked at."""

ESCAPES = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202eowned"
"""Sets the title of a terminal, clears it, colours it, and turns the direction of what follows."""

Answer = Callable[[bytes, socket.socket], None]


class Listener:
    """A port of the test's own, where every connection is served by a thread."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        close(self._listener)

    def _accept(self) -> None:
        for client in accepted(self._listener):
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError


class Hostile(Listener):
    """Has `answer` answer every request, of which it gets the head."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heads: list[bytes] = []
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                head = self._read(client)
                self.heads.append(head)
                self._answer(head, client)
                client.shutdown(socket.SHUT_WR)
                # What still comes is read: closed on it, the answer would be lost with the connection.
                while client.recv(65536):
                    pass
            except OSError:
                pass

    @staticmethod
    def _read(client: socket.socket) -> bytes:
        read = b""
        while b"\r\n\r\n" not in read:
            piece = client.recv(65536)
            if not piece:
                raise OSError("it has left")
            read += piece
        return read.partition(b"\r\n\r\n")[0]


def say(client: socket.socket, status: str, body: str, kind: str = "application/json", *fields: str) -> None:
    """An answer with a length and an end."""
    said = body.encode()
    head = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(said)}", "Connection: close", *fields)
    client.sendall("\r\n".join((*head, "", "")).encode() + said)


def is_handshake(head: bytes) -> bool:
    return b"upgrade: websocket" in head.lower()


def shake(head: bytes, client: socket.socket) -> None:
    """Opens a WebSocket."""
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    fields = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: " + accept]
    if b"tidewire.v1" in head:
        fields.append(b"Sec-WebSocket-Protocol: tidewire.v1")
    client.sendall(b"\r\n".join((*fields, b"", b"")))
