"""A server whose certificate comes from an ACME server of the test's own. The binary is one with the feature `acme`:
`cargo xtask acme` builds it, and names it in `TIDEWIRE_BIN`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from authority import Pebble
from certificates import Authority
from stage import Tidewire, client, free_port


class Ordering(Tidewire):
    """A server that may be without a certificate, and is asked on another port, without TLS, whether it is there."""

    def __init__(self, settings: dict[str, object], flags: tuple[str, ...], port: int) -> None:
        self.watched = f"http://127.0.0.1:{free_port()}"
        super().__init__(settings, ("--admin-listen", self.watched.removeprefix("http://"), *flags), port=port)

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"tidewire ended with {self.process.returncode}:\n{self.said()}"
        try:
            with client(self.watched) as probe:
                return probe.get("/readyz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def port() -> int:
    """Where the server under test will be, which its ACME server has to know before."""
    return free_port()


@pytest.fixture
def trust(tmp_path: Path) -> Authority:
    """Who signs the certificate of the ACME server itself."""
    return Authority(tmp_path)


@pytest.fixture
def pebble(trust: Authority, port: int) -> Iterator[Pebble]:
    """An ACME server that is not started yet."""
    pebble = Pebble(trust, port)
    yield pebble
    pebble.end()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "cache"


@pytest.fixture
def order(pebble: Pebble, trust: Authority, cache: Path, port: int) -> Iterator[Callable[..., Ordering]]:
    """Starts servers that order a certificate, by default for `live.example`; settings and flags as for `serve`."""
    started: list[Ordering] = []

    def start(*flags: str, **settings: object) -> Ordering:
        usual = {
            "tls.acme": "live.example",
            "tls.acme_directory": pebble.directory,
            "tls.acme_ca": trust.write("trust.pem"),
            "tls.acme_cache": cache,
            "log": "info",
        }
        settings = {key: value for key, value in {**usual, **settings}.items() if value is not None}
        started.append(Ordering(settings, flags, port))
        return started[-1]

    yield start
    for one in started:
        one.end()
