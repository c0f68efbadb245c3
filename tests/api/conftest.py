"""One server for all of what schemathesis thinks of. What it shows at the door is said in `stage.ACCESS`."""

from collections.abc import Iterator

import pytest
import requests
from stage import Tidewire


@pytest.fixture(scope="session")
def server() -> Iterator[Tidewire]:
    # A wait of any length is answered at once, and what is asked over and over stays small.
    server = Tidewire({"limits.poll_wait_max": "10ms", "history.messages_max": 20}, ())
    yield server
    server.end()


@pytest.fixture(scope="session")
def session(server: Tidewire) -> Iterator[requests.Session]:
    """What every request is sent by: with what the server asks for, and past the machine's own proxies."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(server.credentials)
        yield session
