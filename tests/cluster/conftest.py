"""The stage is that of the other Python tests; here nodes share a Redis. `--full` asks for as many deploys as a year has."""

import os
from collections.abc import Iterator

import pytest
from fronts import behind
from redis_server import Redis
from rolling import sockets
from stage import serve

__all__ = ["behind", "serve", "sockets"]

collect_ignore = [] if "TIDEWIRE_PREVIOUS" in os.environ else ["test_versions.py"]
"""What needs a binary of another version is asked where there is one: `cargo xtask upgrade`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="twenty deploys each way, which take a quarter of an hour")


@pytest.fixture
def redis() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.end()
