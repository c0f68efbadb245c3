"""A service manager that listens, as systemd does: what it is told comes by datagrams (sd_notify(3))."""

import secrets
import socket
import tempfile
import time
from pathlib import Path

from stage import PATIENCE, Access

Message = dict[str, str]


class Manager:
    """Hears what a node says of itself; `environment` is what the node has to be started with."""

    def __init__(self, *, is_abstract: bool = False, watchdog_s: float | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-manager-")
        name = f"@tidewire-{secrets.token_hex(8)}" if is_abstract else str(Path(self._folder.name, "notify"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1) if is_abstract else name)
        self.environment = {"NOTIFY_SOCKET": name}
        if watchdog_s is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))

    @property
    def access(self) -> Access:
        """What has a server of the harness started under this manager, in dev mode."""
        return Access(environment=self.environment)

    def hear(self, patience: float = PATIENCE) -> Message:
        """The next message: what stands before each `=`, with what stands behind."""
        self._socket.settimeout(patience)
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_until(self, field: str) -> list[Message]:
        """All messages up to the first that has `field`."""
        heard, deadline = [], time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            heard.append(self.hear())
            if field in heard[-1]:
                return heard
        raise AssertionError(f"no {field} among {heard}")

    def waiting(self) -> list[Message]:
        """What has come by now and was not heard yet."""
        heard = []
        try:
            while True:
                heard.append(self.hear(0.001))
        except TimeoutError:
            return heard

    def close(self) -> None:
        self._socket.close()
        self._folder.cleanup()
