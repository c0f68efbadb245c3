"""The stage is that of the other Python tests; here every server asks who comes. `--full` asks for races of full size."""

from collections.abc import Callable, Iterator

import pytest
from keys import GUARDED
from stage import Tidewire, starting


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="ten times as many tickets to race for")


@pytest.fixture
def serve() -> Iterator[Callable[..., Tidewire]]:
    """Starts servers as `stage.serve` does, behind a door; `access` is another one."""
    yield from starting(GUARDED)


@pytest.fixture
def server(serve: Callable[..., Tidewire]) -> Tidewire:
    """A server with nothing else set."""
    return serve()
