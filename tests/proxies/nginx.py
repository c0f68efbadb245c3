"""Debian's nginx in front of a Tidewire, as a process of the test's own."""

import atexit
import os
import shutil
import socket
import string
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from stage import PATIENCE, Tidewire, eventually, free_port

HERE = Path(__file__).resolve().parent
NGINX = os.environ.get("NGINX") or shutil.which("nginx") or "/usr/sbin/nginx"


class Nginx:
    """A running nginx with the site `default` or `recommended` in front of `server`."""

    def __init__(self, server: Tidewire, site: str, read_timeout: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-nginx-")
        values = {
            "folder": self._folder.name,
            "port": self.port,
            "upstream_port": server.port,
            "read_timeout": read_timeout,
            "dollar": "$",
        }
        for source, target in ((f"{site}.conf", "site.conf"), ("nginx.conf", "nginx.conf")):
            text = string.Template((HERE / source).read_text()).substitute(values)
            Path(self._folder.name, target).write_text(text)
        config = str(Path(self._folder.name, "nginx.conf"))
        command = [NGINX, "-p", self._folder.name, "-e", f"{self._folder.name}/error.log", "-c", config]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)
        eventually("nginx listens", self._listens)

    def end(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.process.kill)
        self._folder.cleanup()

    def _listens(self) -> bool:
        assert self.process.poll() is None, Path(self._folder.name, "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def behind() -> Iterator[Callable[..., Nginx]]:
    """Puts nginx in front of a server: `behind(server, "recommended")`."""
    started: list[Nginx] = []

    def start(server: Tidewire, site: str, read_timeout: str = "60s") -> Nginx:
        started.append(Nginx(server, site, read_timeout))
        return started[-1]

    yield start
    for one in started:
        one.end()
