"""A server whose listening socket belongs to somebody who outlives it, as systemd does."""

import fcntl
import os
import socket

from stage import BINARY, Tidewire

FIRST = 3
"""The descriptor at which sockets are handed over, sd_listen_fds(3) has it."""


class Activated(Tidewire):
    """A server that is given its listening socket, as systemd would."""

    def __init__(
        self,
        listener: socket.socket,
        *flags: str,
        admin: socket.socket | None = None,
        binary: str = BINARY,
        **settings: object,
    ) -> None:
        self._listener = listener
        self._handed = [listener] if admin is None else [listener, admin]
        super().__init__(settings, flags, binary=binary)

    def start(self) -> None:
        if not self._under:
            # The process that reads LISTEN_PID is the one that it names.
            self._under = ["sh", "-c", f'LISTEN_FDS={len(self._handed)} LISTEN_PID=$$ exec "$@"', "sh"]
            self.port = self._listener.getsockname()[1]
            self.url, self.ws_url = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
            # Out of the way first: what is handed over may have a number that another is to have.
            numbers = [fcntl.fcntl(handed.fileno(), fcntl.F_DUPFD, 64) for handed in self._handed]
            places = range(FIRST, FIRST + len(numbers))

            def hand_over() -> None:
                for number, place in zip(numbers, places, strict=True):
                    os.dup2(number, place, inheritable=True)

            self._inherits = {"preexec_fn": hand_over, "pass_fds": tuple(places)}
        super().start()
