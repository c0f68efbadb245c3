"""The stage is that of the other Python tests; here it is spoken to in frames, with TLS and without. `--full` asks for what
takes minutes: waits of the default length, and every check of testssl.sh.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from stage import ACCESS, Tidewire, starting

WAYS = {"h2c": (), "tls": ("--tls-self-signed",)}
"""How HTTP/2 is begun: by its preface on a plain connection, or by ALPN."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="waits of the default length, and every check of testssl.sh")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: takes so long that only --full has it")


ONE_WAY = ("test_requests.py", "test_websocket.py")
"""What lies above frames does not depend on what lies below them, so that `--full` alone has it both ways."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_short(item: pytest.Item) -> bool:
        over_tls = getattr(item, "callspec", None) and item.callspec.params.get("way") == "tls"
        again = over_tls and item.path.name in ONE_WAY and "shared" not in item.fixturenames
        return not again and not item.get_closest_marker("full")

    if not config.getoption("--full"):
        items[:] = [item for item in items if is_short(item)]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plainly() -> Iterator[Callable[..., Tidewire]]:
    """Starts servers as `stage.serve` does: without TLS, unless flags or settings say otherwise."""
    yield from starting(ACCESS)


@pytest.fixture
def serve(plainly: Callable[..., Tidewire], way: str) -> Callable[..., Tidewire]:
    """Starts servers both ways, one after the other: a test that asks for this is run twice."""
    return lambda *flags, **settings: plainly(*WAYS[way], *flags, **settings)


@pytest.fixture
def server(serve: Callable[..., Tidewire]) -> Tidewire:
    """A server with nothing else set."""
    return serve()


@pytest.fixture(scope="session")
def standing() -> Iterator[dict[str, Tidewire]]:
    """Servers that stand for the whole run, by how they are spoken to."""
    servers: dict[str, Tidewire] = {}
    yield servers
    for one in servers.values():
        one.end()


@pytest.fixture
def shared(standing: dict[str, Tidewire], way: str) -> Tidewire:
    """A server that others have used before: for tests that come in tables, and count nobody but themselves."""
    if way not in standing:
        standing[way] = Tidewire({}, WAYS[way])
    return standing[way]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs the certificates of a test."""
    return Authority(tmp_path)
