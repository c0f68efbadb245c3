"""Debian's nginx, HAProxy and Caddy in front of a Tidewire, as processes of the test's own.

What we recommend of each is what `tidewire proxy-config` prints."""

import atexit
import os
import re
import shutil
import socket
import string
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from stage import BINARY, Tidewire, client, eventually, free_port

HERE = Path(__file__).resolve().parent

EVERY = ["nginx-default", "nginx", "haproxy", "caddy"]
"""Every front: nginx as everybody writes it first, and what we recommend of each."""

RECOMMENDED = ["nginx", "haproxy", "caddy"]


class Front:
    """A running proxy with its own folder and port. Tests treat it as the server that it stands in front of."""

    def __init__(
        self,
        server: Tidewire | Sequence[Tidewire],
        name: str,
        read_timeout: str = "60s",
        server_options: str = "",
        certificate: Path | None = None,
    ) -> None:
        """`server_options` are what HAProxy's server line says of its own: `send-proxy-v2`, `proto h2`. `certificate` is a
        file with a certificate and its key, with which clients of nginx and HAProxy come by TLS and HTTP/2."""
        self.port = free_port()
        self.secure = certificate is not None
        self.url = f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"
        self.ws_url = f"{'wss' if self.secure else 'ws'}://127.0.0.1:{self.port}"
        self._servers = [server] if isinstance(server, Tidewire) else server
        self.credentials = self._servers[0].credentials
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-front-")
        self._read_timeout, self._server_options, self._certificate = read_timeout, server_options, certificate
        with self._said.open("ab") as said:
            command = {"haproxy": self._haproxy, "caddy": self._caddy}.get(name, lambda: self._nginx(name))()
            home = {"HOME": self._folder.name, "XDG_DATA_HOME": self._folder.name, "XDG_CONFIG_HOME": self._folder.name}
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, **home}
            )
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
        if name == "nginx-default":
            ours = self._frame("nginx/default.conf")
        else:
            ours = self._printed("nginx")
        if self._certificate:
            # As the comments of what is printed say.
            files = f"    ssl_certificate {self._certificate};\n    ssl_certificate_key {self._certificate};"
            ours = after(re.sub(r"^( *listen [^;]+);", r"\1 ssl http2;", ours, count=1, flags=re.MULTILINE), "listen ", files)
        self._write("tidewire.conf", after(ours, "listen ", f"    location ^~ {STOLEN} {{ return 403; }}"))
        config = self._write("nginx.conf", self._frame("nginx/frame.conf"))
        return [program("nginx"), "-p", self._folder.name, "-e", str(self._said), "-c", config]

    def _haproxy(self) -> list[str]:
        ours = after(self._printed("haproxy"), "bind ", f"    http-request deny if {{ path_beg {STOLEN} }}")
        ours = re.sub(r"(server tidewire-1 \S+)", rf"\1 {self._server_options}", ours)
        if self._certificate:
            tls = rf"\1 ssl crt {self._certificate} alpn h2,http/1.1"
            ours = re.sub(r"^( *bind \S+)$", tls, ours, count=1, flags=re.MULTILINE)
        frame, ours = self._write("frame.cfg", self._frame("haproxy/frame.cfg")), self._write("tidewire.cfg", ours)
        return [program("haproxy"), "-db", "-f", frame, "-f", ours]

    def _caddy(self) -> list[str]:
        ours = after(self._printed("caddy"), f"http://127.0.0.1:{self.port}", f"\trespond {STOLEN}* 403")
        config = self._write("Caddyfile", self._frame("caddy/frame") + ours)
        return [program("caddy"), "run", "--config", config, "--adapter", "caddyfile"]

    def _printed(self, proxy: str) -> str:
        """What `tidewire proxy-config` says."""
        here = ["--listen", f"127.0.0.1:{self.port}", "--timeout", self._read_timeout]
        there = [part for server in self._servers for part in ("--upstream", f"127.0.0.1:{server.port}")]
        command = [BINARY, "proxy-config", proxy, *here, *there]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def _frame(self, source: str) -> str:
        values = {"folder": self._folder.name, "port": self.port, "upstream_port": self._servers[0].port}
        return string.Template((HERE / source).read_text()).substitute(values)

    def _write(self, target: str, text: str) -> str:
        path = Path(self._folder.name, target)
        path.write_text(text)
        return str(path)

    @property
    def _said(self) -> Path:
        return Path(self._folder.name, "said")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self._said.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


STOLEN = "/c/stolen"
"""What may not come in by the front door, so that whatever of it reaches the server was smuggled past."""


def after(text: str, start: str, line: str) -> str:
    """`text` with one more line after the first that begins with `start`."""
    lines = text.splitlines()
    at = next(index for index, each in enumerate(lines) if each.strip().startswith(start))
    return "\n".join([*lines[: at + 1], line, *lines[at + 1 :], ""])


def program(name: str) -> str:
    """Where a proxy is: `$NGINX` and the like, or on the `PATH`, or in a folder that is not on everyone's."""
    return os.environ.get(name.upper()) or shutil.which(name) or f"/usr/sbin/{name}"


@pytest.fixture
def behind() -> Iterator[Callable[..., Front]]:
    """Puts a front before a server, or before several: `behind(server, "nginx")`."""
    started: list[Front] = []

    def start(server: Tidewire | Sequence[Tidewire], name: str, **how: str) -> Front:
        started.append(Front(server, name, **how))
        return started[-1]

    yield start
    for one in started:
        one.end()
