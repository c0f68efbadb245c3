"""One server for each way to come in, for all of what schemathesis thinks of."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests
from stage import ACCESSES, Tidewire

WAYS = {
    "dev": ACCESSES["dev"],
    "key": ACCESSES["key"],
    # The server asks for a key, and is shown none.
    "stranger": replace(ACCESSES["key"], credentials={}),
}


@pytest.fixture(scope="session", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How every request comes in."""
    return request.param


@pytest.fixture(scope="session")
def server(way: str) -> Iterator[Tidewire]:
    # A wait of any length is answered at once, and what is asked over and over stays small.
    server = Tidewire({"limits.poll_wait_max": "10ms", "history.messages_max": 20}, (), WAYS[way])
    yield server
    server.end()


@pytest.fixture(scope="session")
def session(server: Tidewire) -> Iterator[requests.Session]:
    """What every request is sent by: with what this server is shown, and past the machine's own proxies."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(server.credentials)
        yield session
