"""A Redis, a replica of it, and three sentinels that watch them: Debian's, each behind a relay."""

import subprocess
import tempfile
from pathlib import Path

from redis_server import Redis
from relay import Relay
from stage import eventually, free_port

NAME, SENTINELS = "main", 3
CONFIGURATION = """
port {port}
bind 127.0.0.1
sentinel monitor {name} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {name} 2000
sentinel failover-timeout {name} 4000
sentinel parallel-syncs {name} 1
"""


class Store:
    """A Redis that is known by the address of the relay before it."""

    def __init__(self, *options: str) -> None:
        # The relay comes first, since Redis has to know its port.
        self.relay = Relay(free_port())
        announced = ["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", str(self.relay.port)]
        sync = ["--repl-diskless-sync-delay", "0"]
        self.redis = Redis(*announced, *sync, *options, port=self.relay.target)

    def end(self) -> None:
        self.relay.end()
        self.redis.end()


class Sentinels:
    """All of them, from when they know each other."""

    def __init__(self) -> None:
        self.master = Store()
        self.replica = Store("--replicaof", "127.0.0.1", str(self.master.relay.port))
        eventually("the replica follows", lambda: "state=online" in self.master.redis.ask("INFO", "replication"))
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-sentinels-")
        self.ports = [free_port() for _ in range(SENTINELS)]
        self._processes = [self._start(port) for port in self.ports]
        eventually("the sentinels know each other", lambda: all(self._is_settled(port) for port in self.ports), 60)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{NAME}"

    def leader(self, port: int) -> int:
        """The port of the master, as a sentinel says."""
        return int(ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME).split()[1])

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.master.end()
        self.replica.end()
        self._folder.cleanup()

    def _start(self, port: int) -> subprocess.Popen:
        file = Path(self._folder.name, f"{port}.conf")
        file.write_text(CONFIGURATION.format(port=port, name=NAME, master=self.master.relay.port))
        command = ["redis-server", str(file), "--sentinel"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self._folder.name)

    def _is_settled(self, port: int) -> bool:
        words = ask(port, "SENTINEL", "MASTER", NAME).splitlines()
        said = dict(zip(words[::2], words[1::2], strict=False))
        return (said.get("num-slaves"), said.get("num-other-sentinels")) == ("1", str(SENTINELS - 1))


def ask(port: int, *words: str) -> str:
    return subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=15).stdout.strip()
