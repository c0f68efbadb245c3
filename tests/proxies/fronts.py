"""Debian's nginx and HAProxy in front of a Tidewire, as processes of the test's own."""

import atexit
import os
import shutil
import socket
import string
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stage import Tidewire, client, eventually, free_port

HERE = Path(__file__).resolve().parent

EVERY = ["nginx-default", "nginx", "haproxy"]
"""Every front: nginx as everybody writes it first, and what we recommend of each."""

RECOMMENDED = ["nginx", "haproxy"]


class Front:
    """A running proxy with its own folder and port. Tests treat it as the server that it stands in front of."""

    def __init__(self, server: Tidewire, name: str, read_timeout: str = "60s", proxy_protocol: str = "") -> None:
        """`proxy_protocol` is what HAProxy sends ahead of each connection: nothing, or `send-proxy-v2`."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self.credentials = server.credentials
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-front-")
        self._values = {
            "folder": self._folder.name,
            "port": self.port,
            "upstream_port": server.port,
            "read_timeout": read_timeout,
            "proxy_protocol": proxy_protocol,
            "dollar": "$",
        }
        with self._said.open("ab") as said:
            command = self._haproxy() if name == "haproxy" else self._nginx(name)
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        atexit.register(self.process.kill)
        self.client = client(self.url, self.credentials)
        eventually(f"{name} listens", self._listens)

    def end(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.process.kill)
        self._folder.cleanup()

    def _nginx(self, name: str) -> list[str]:
        self._write(f"nginx/{'default' if name == 'nginx-default' else 'recommended'}.conf", "site.conf")
        config = self._write("nginx/frame.conf", "nginx.conf")
        return [program("nginx"), "-p", self._folder.name, "-e", str(self._said), "-c", config]

    def _haproxy(self) -> list[str]:
        config = [self._write(f"haproxy/{part}.cfg", f"{part}.cfg") for part in ("recommended", "frame")]
        return [program("haproxy"), "-db", "-f", config[0], "-f", config[1]]

    def _write(self, source: str, target: str) -> str:
        path = Path(self._folder.name, target)
        path.write_text(string.Template((HERE / source).read_text()).substitute(self._values))
        return str(path)

    @property
    def _said(self) -> Path:
        return Path(self._folder.name, "said")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self._said.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def program(name: str) -> str:
    """Where a proxy is: `$NGINX` or `$HAPROXY`, or on the `PATH`, or in a folder that is not on everyone's."""
    return os.environ.get(name.upper()) or shutil.which(name) or f"/usr/sbin/{name}"


@pytest.fixture
def behind() -> Iterator[Callable[..., Front]]:
    """Puts a front before a server: `behind(server, "nginx")`."""
    started: list[Front] = []

    def start(server: Tidewire, name: str, **how: str) -> Front:
        started.append(Front(server, name, **how))
        return started[-1]

    yield start
    for one in started:
        one.end()
