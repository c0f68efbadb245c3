"""The stage is that of the other Python tests; here Prometheus looks at the servers."""

from collections.abc import Iterator

import pytest
from prometheus import Prometheus
from redis_server import Redis
from stage import serve, server

__all__ = ["serve", "server"]


@pytest.fixture
def redis() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.end()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    prometheus = Prometheus()
    yield prometheus
    prometheus.end()
