"""The way to a server, in a test's hands: who asked what on which connection, and connections over which nothing more is heard."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from listening import accepted, close


class Connection:
    """One connection that somebody opened to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.asked = b""
        """The beginning of what the server was asked, which tells what the connection is for."""
        self.is_open = True
        self.swallowed = 0
        """How many bytes of the server's were not passed on."""

    def is_for(self, *commands: bytes) -> bool:
        return any(command in self.asked.upper() for command in commands)

    @property
    def listens(self) -> bool:
        return self.is_for(b"\r\nSUBSCRIBE\r\n")

    @property
    def replicates(self) -> bool:
        return self.is_for(b"\r\nPSYNC\r\n")

    def close(self) -> None:
        self.is_open = False
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Relay:
    """Passes bytes between whoever connects to `port`, and a server at another. `silenced` says whom the server's are kept from."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.connections: list[Connection] = []
        self.silenced: Callable[[Connection], bool] = lambda _: False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        close(self._listener)
        for connection in self.connections:
            connection.close()

    def _accept(self) -> None:
        for client in accepted(self._listener):
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, server)
            self.connections.append(connection)
            for pump in (self._ask, self._answer):
                threading.Thread(target=pump, args=(connection,), daemon=True).start()

    def _ask(self, connection: Connection) -> None:
        for piece in pieces(connection.client):
            connection.asked = (connection.asked + piece)[:65536]
            with contextlib.suppress(OSError):
                connection.server.sendall(piece)
        connection.close()

    def _answer(self, connection: Connection) -> None:
        for piece in pieces(connection.server):
            if self.silenced(connection):
                connection.swallowed += len(piece)
                continue
            with contextlib.suppress(OSError):
                connection.client.sendall(piece)
        connection.close()


def pieces(end: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while piece := end.recv(65536):
            yield piece
