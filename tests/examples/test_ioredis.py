"""A Node service that knows only Redis, and clients of Tidewire on the other side of the bridge."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from httpx_sse import EventSource
from keys import bearer, token
from programs import EXAMPLES, foreign
from redis_server import Redis
from stage import PATIENCE, Tidewire, client, dispatched
from websockets.sync.client import ClientConnection, connect

FOLDER = EXAMPLES / "ioredis"


class Service:
    """A process of the example; what it says is kept."""

    def __init__(self, redis: Redis) -> None:
        environment = {**foreign(), "REDIS_URL": f"redis://127.0.0.1:{redis.port}"}
        self.process = subprocess.Popen(
            ["node", "service.mjs"], cwd=FOLDER, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        # Whatever keeps it from listening ends the wait, too.
        impatience = threading.Timer(PATIENCE, self.process.kill)
        impatience.start()
        said = self.process.stdout.readline()
        impatience.cancel()
        assert said == "listening\n", said

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.end()


@pytest.fixture(scope="module")
def bridge(serve_shop: Callable[..., Tidewire], redis: Redis) -> Tidewire:
    """A server with the example's own configuration, but for where Redis is."""
    return serve_shop("--config", str(FOLDER / "tidewire.toml"), **{"broker.url": f"redis://127.0.0.1:{redis.port}"})


@pytest.fixture(scope="module")
def service(redis: Redis, bridge: Tidewire) -> Iterator[Service]:
    service = Service(redis)
    yield service
    assert service.end() == 0


@pytest.fixture
def alice(bridge: Tidewire, service: Service) -> Iterator[ClientConnection]:
    """A WebSocket that hears `quotes`, of somebody who may also ask."""
    held = token("alice", "quotes", "quote-requests")
    with connect(f"{bridge.ws_url}/c/quotes", subprotocols=["tidewire.v1"], additional_headers=bearer(held)) as socket:
        assert json.loads(socket.recv(PATIENCE))["type"] == "ready"
        yield socket


def send(socket: ClientConnection, data: str, channel: str = "quote-requests") -> dict:
    """Publishes, and returns what the server says to it."""
    socket.send(json.dumps({"type": "publish", "id": data[:20], "channel": channel, "data": data}))
    return next(frame for frame in frames(socket) if frame.get("type") in ("ack", "error"))


def answer(socket: ClientConnection, request: dict) -> dict:
    """Publishes a request, and returns what the service answers: it may be there before the server says that it took it."""
    socket.send(json.dumps({"type": "publish", "id": "ask", "channel": "quote-requests", "data": json.dumps(request)}))
    is_taken, quote = False, None
    for frame in frames(socket):
        if frame["type"] == "ack":
            is_taken = True
        elif frame["type"] == "message":
            said = json.loads(frame["data"])
            quote = said if said.get("id") == request["id"] else quote
        if is_taken and quote:
            break
    return quote


def frames(socket: ClientConnection) -> Iterator[dict]:
    """What comes in time: there is a tick every second, so that a wait for the next frame alone would have no end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        yield json.loads(socket.recv(max(0, deadline - time.monotonic())))


def test_browsers_hear_what_the_service_says_of_itself(bridge: Tidewire, service: Service) -> None:
    headers = {"Accept": "text/event-stream"}
    with client(bridge.url, bearer(token("bob", "quotes"))) as bob, bob.stream("GET", "/c/quotes", headers=headers) as stream:
        events = dispatched(EventSource(stream))
        assert next(events).event == "$ready"
        tick = next(events)
    assert (tick.event, json.loads(tick.data)) == ("message", {"symbol": "EURUSD", "price": 1.0842})


def test_what_a_browser_sends_reaches_the_service_and_is_answered(alice: ClientConnection) -> None:
    assert answer(alice, {"id": "q1", "symbol": "GBPUSD"}) == {"id": "q1", "symbol": "GBPUSD", "price": 1.2671}


def test_what_makes_no_sense_ends_nothing(alice: ClientConnection) -> None:
    for nonsense in ["", "no JSON", "null", "[]", '{"id":1,"symbol":{}}', json.dumps({"id": "x" * 2_000, "symbol": "EURUSD"})]:
        assert send(alice, nonsense)["type"] == "ack"
    assert answer(alice, {"id": "q2", "symbol": "__proto__"}) == {"id": "q2", "symbol": "__proto__", "error": "unknown symbol"}


def test_a_browser_speaks_only_where_it_may(alice: ClientConnection) -> None:
    assert send(alice, '{"symbol":"EURUSD","price":9}', "quotes")["code"] == "forbidden"


def test_the_service_answers_again_after_all_connections_were_cut(redis: Redis, alice: ClientConnection) -> None:
    assert int(redis.ask("CLIENT", "KILL", "TYPE", "pubsub")) >= 2
    assert int(redis.ask("CLIENT", "KILL", "TYPE", "normal")) >= 2
    for attempt in range(20):
        send(alice, json.dumps({"id": f"again-{attempt}", "symbol": "EURUSD"}))
        for frame in frames(alice):
            quote = json.loads(frame.get("data", "{}"))
            if quote.get("id"):
                return
            if quote.get("symbol") == "EURUSD":
                # A tick went by and no answer did, so it was asked of nobody.
                break
    raise AssertionError("nobody answers")
