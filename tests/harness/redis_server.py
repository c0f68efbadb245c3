"""A Redis of a test's own: Debian's, on a free port, in an empty folder, and gone when the test ends."""

import atexit
import subprocess
import tempfile

from stage import PATIENCE, eventually, free_port


class Redis:
    """A `redis-server` of a test's own."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        """`options` are those of its command line."""
        self.port = port or free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="tidewire-e2e-redis-")
        ours = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", self.folder.name]
        self.process = subprocess.Popen(["redis-server", *ours, *options], stdout=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        eventually("Redis answers", lambda: self.ask("PING") == "PONG")

    def ask(self, *words: str | bytes) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()

    def publish(self, channel: str, text: str) -> None:
        assert int(self.ask("PUBLISH", channel, text)) >= 1, "the node hears it"

    def listen(self, channel: str) -> subprocess.Popen:
        """A service that hears a channel: three lines a message, the last of which is what was published."""
        command = ["redis-cli", "-p", str(self.port), "SUBSCRIBE", channel]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert [service.stdout.readline().strip() for _ in range(3)] == ["subscribe", channel, "1"]
        return service

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.process.kill)
        self.folder.cleanup()
