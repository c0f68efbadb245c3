"""A Tidewire process of a test's own: started on a free port, in an empty folder, and gone when the test ends.

Every Python suite starts its servers here, so how they let clients in is said in one place: `ACCESS`.
"""

import atexit
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("TIDEWIRE_BIN", str(REPOSITORY / "target/release/tidewire"))

EVERY_FLAG = os.environ.get("TIDEWIRE_FLAGS", "").split()
"""Flags for every server, so that the same tests can be asked of another engine: `--set engine.io=tokio`."""

PATIENCE = 15.0
"""Seconds a test waits for what should happen at once: far above what a busy machine needs."""


@dataclass(frozen=True)
class Access:
    """How a server is told to let clients in, and what the tests' own clients show at its door."""

    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    """Header fields of every well-meant request, such as `Authorization`."""


ACCESSES = {
    # Everybody on this machine may do everything, and is asked for nothing.
    "dev": Access(),
    # Whoever has this key may do everything. Tests come from one address, so addresses are not counted.
    "key": Access(
        flags=(
            *("--admin-listen", "same"),
            *("--set", "auth.api_keys=tests:publish+subscribe+admin:c964a1f5e6bf8c5bcfc04f61fec1a4afb2e06842522e6ba6fb554d5d9e86a79d"),
            *("--set", "limits.address_connections_max=0"),
            *("--set", "limits.address_arrivals_per_second_max=0"),
            *("--set", "limits.address_failures_per_minute_max=0"),
        ),
        environment={"TIDEWIRE_AUTH__HS256_SECRET": "only-tests-sign-with-this-secret-0123456789"},
        credentials={"Authorization": "Bearer tw_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"},
    ),
}
ACCESS = ACCESSES[os.environ.get("TIDEWIRE_ACCESS", "dev")]
"""The one that every server of this run has, unless its test says otherwise."""


class Tidewire:
    """A running server, and the two things tests do most: publish, and poll."""

    def __init__(
        self,
        settings: Mapping[str, object],
        flags: tuple[str, ...],
        access: Access = ACCESS,
        port: int | None = None,
        binary: str = BINARY,
    ) -> None:
        """`port` is for whoever has told others of it already, `binary` for whoever asks another version."""
        self.binary = binary
        """What the next start runs."""
        self.port = port or free_port()
        self.secure = "--tls-self-signed" in flags or "tls.cert" in settings or "tls.acme" in settings
        """Whether it speaks TLS, and nothing else."""
        self.url = f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}"
        self.ws_url = f"{'wss' if self.secure else 'ws'}://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-e2e-")
        self._said = Path(self._folder.name, "said")
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self._under: list[str] = []
        """The command line that runs the server's."""
        self._arguments = ["serve", "--listen", f"127.0.0.1:{self.port}", *access.flags, *EVERY_FLAG, *sets, *flags]
        self._environment = access.environment
        self._inherits: dict[str, object] = {}
        self.credentials = access.credentials
        self.start()

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
        environment = {**inherited, "XDG_STATE_HOME": self._folder.name, **self._environment}
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(
                [*self._under, self.binary, *self._arguments],
                cwd=self._folder.name,
                env=environment,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                **self._inherits,
            )
        atexit.register(self.process.kill)
        self.client = client(self.url, self.credentials)
        eventually("the server is ready", self._ready)

    def publish(self, channel: str, data: str | bytes, **headers: str) -> dict:
        """Publishes and returns the receipt. Keyword `content_type` is the header `Content-Type`, and so on."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.client.post(f"/c/{channel}", content=data, headers=named)
        assert response.status_code == 200, response.text
        return response.json()

    def poll(self, channels: str, **query: object) -> dict:
        """Polls and returns the page."""
        response = self.client.get(f"/c/{channels}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def texts(self, channel: str) -> list[str]:
        """All that history holds of a channel, as the texts that were published."""
        return [message["data"] for message in self.poll(channel, cursor="earliest")["messages"]]

    def terminate(self) -> None:
        """Asks the process to drain, as a deployment does; does not wait."""
        self.process.send_signal(signal.SIGTERM)

    def restart(self) -> None:
        """A new process at the same address: a new generation of the log (memory mode)."""
        self.end()
        self._folder = tempfile.TemporaryDirectory(prefix="tidewire-e2e-")
        self._said = Path(self._folder.name, "said")
        self.start()

    def end(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.process.kill)
        self._folder.cleanup()

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"tidewire ended with {self.process.returncode}:\n{self.said()}"
        try:
            # A connection of its own each time, so that none is left over for the test.
            with client(self.url) as probe:
                return probe.get("/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def serve() -> Iterator[Callable[..., Tidewire]]:
    """Starts servers: `serve("--demo", drain_within="1s", **{"history.messages_max": 3})`."""
    yield from starting(ACCESS)


def starting(usual: Access) -> Iterator[Callable[..., Tidewire]]:
    """Starts servers and ends them; `access` lets clients in otherwise than `usual`."""
    started: list[Tidewire] = []

    def start(*flags: str, access: Access = usual, **settings: object) -> Tidewire:
        started.append(Tidewire(settings, flags, access))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def server(serve: Callable[..., Tidewire]) -> Tidewire:
    """A server with nothing set."""
    return serve()


def client(url: str, credentials: Mapping[str, str] | None = None) -> httpx.Client:
    """A client of `url`. It trusts nobody's certificates, whose list would take longer to read than most tests last."""
    return httpx.Client(base_url=url, headers=credentials, timeout=PATIENCE, trust_env=False, verify=False)


def dispatched(source: EventSource) -> Iterator[ServerSentEvent]:
    """The events that a browser would fire: httpx-sse also yields blocks without data, such as a lone `retry:`."""
    return (event for event in source.iter_sse() if event.data)


def eventually(what: str, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Asks `condition` again and again until it holds, for `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on at this moment, and that no client is given: those are above 32767."""
    while True:
        port = random.randrange(10_240, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
