"""The stage is that of the other Python tests; here a server asks who comes, and a backend may publish and nothing else."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from front import Front
from keys import API_KEY, GUARDED, api_key_line
from programs import BACKEND_KEY, PROGRAMS, Program
from stage import Tidewire, starting

SHOP = replace(
    GUARDED,
    flags=(*GUARDED.flags, "--set", f"auth.api_keys={api_key_line(API_KEY)},{api_key_line(BACKEND_KEY, 'publish', 'shop')}"),
)


@pytest.fixture(scope="session")
def serve_shop() -> Iterator[Callable[..., Tidewire]]:
    """Starts servers as `stage.serve` does, behind a door."""
    yield from starting(SHOP)


@pytest.fixture(scope="session")
def server(serve_shop: Callable[..., Tidewire]) -> Tidewire:
    """One for all tests: each has a channel of its own."""
    return serve_shop()


@pytest.fixture
def front(server: Tidewire) -> Iterator[Front]:
    """What stands between a publisher and `server`, and does as its test says."""
    with Front(server.port) as front:
        yield front


@pytest.fixture(scope="session", params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    """Each example that publishes, ready to be run. One whose language is not on this machine is skipped, and says so."""
    program: Program = request.param
    if missing := program.missing():
        assert program.may_be_missing, missing
        pytest.skip(missing)
    program.build()
    return program


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel that no other test publishes to."""
    return "".join(character if character.isalnum() else "." for character in request.node.name)[:100]
