"""What a Redis may do to its nodes without dying: they say what is wrong, go on with what they can, and recover by themselves."""

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from clients import CHANNELS, listening, publishing, until, watching
from keys import GUARDED
from ledger import Ledger, generation
from redis_server import Redis
from stage import ACCESS, PATIENCE, Access, Tidewire, eventually, free_port
from wire import Wire

PROMISED_S = 3.0
"""How soon messages flow again, and `/readyz` says what is true."""


class Unready(Tidewire):
    """A server that need not be ready to be up: whoever watches it is answered, and that is all."""

    def __init__(self, url: str, access: Access = ACCESS, admin: int | None = None) -> None:
        self._admin = admin
        super().__init__({"broker.url": url}, (), access)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.said()
        try:
            return self._watched("/livez").status_code == 200
        except httpx.TransportError:
            return False

    def says(self) -> tuple[int, str]:
        """What `/readyz` answers."""
        answer = self._watched("/readyz")
        return answer.status_code, answer.json()["status"]

    def _watched(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self._admin or self.port}{path}", timeout=PATIENCE, trust_env=False, verify=False)


@pytest.fixture
def start() -> Iterator:
    """Starts a node whose Redis, at `url`, may be of no use."""
    started = []

    def start(url: str, **how: object) -> Unready:
        started.append(Unready(url, **how))
        return started[-1]

    yield start
    for node in started:
        node.end()


def test_a_node_whose_redis_is_away_starts_and_is_ready_once_it_is_there(start):
    port = free_port()
    node = start(f"redis://127.0.0.1:{port}")
    assert node.says() == (503, "starting")
    refusal = node.client.post("/c/news", content="too early")
    assert (refusal.status_code, refusal.json()["code"]) == (503, "broker_unavailable"), refusal.text
    assert "retry-after" in refusal.headers
    with Wire(node) as early:
        early.request("GET /c/news", "Accept: text/event-stream")
        redis = Redis(port=port)
        try:
            eventually("it is ready by itself", lambda: node.says() == (200, "ready"))
            node.publish("news", "at last")
        finally:
            redis.end()
        assert b"retry: " in early.until(b"\n\n"), "an EventSource is never turned away for good"


def test_with_a_guarded_door_too_which_stays_shut_until_then(start):
    port, admin = free_port(), free_port()
    flags = ("--admin-listen", f"127.0.0.1:{admin}", *GUARDED.flags[2:])
    node = start(f"redis://127.0.0.1:{port}", access=replace(GUARDED, flags=flags), admin=admin)
    assert node.says() == (503, "starting")
    redis = Redis(port=port)
    try:
        eventually("it is ready by itself", lambda: node.says() == (200, "ready"))
        node.publish("news", "at last")
    finally:
        redis.end()


def test_a_wrong_password_is_told_without_being_repeated_and_the_right_one_lets_the_node_in(start, redis):
    redis.ask("CONFIG", "SET", "requirepass", "correct-horse")
    node = start(f"redis://:battery-staple@127.0.0.1:{redis.port}")
    eventually("it says what is wrong", lambda: "password" in node.said())
    assert node.says() == (503, "starting")
    assert "battery-staple" not in node.said()
    assert node.client.post("/c/news", content="x").status_code == 503
    redis.ask("-a", "correct-horse", "CONFIG", "SET", "requirepass", "battery-staple")
    eventually("it is ready by itself", lambda: node.says() == (200, "ready"))
    node.publish("news", "let in")


def test_a_redis_that_is_too_old_is_told_by_its_version_and_replaced_without_a_restart(start):
    port = free_port()
    with old_redis(port):
        node = start(f"redis://127.0.0.1:{port}")
        eventually("it says what is wrong", lambda: "6.2.14" in node.said() and "7.0" in node.said())
        assert node.says() == (503, "starting")
        assert node.client.post("/c/news", content="x").status_code == 503
    redis = Redis(port=port)
    try:
        eventually("it is ready by itself", lambda: node.says() == (200, "ready"))
        node.publish("news", "on a newer one")
    finally:
        redis.end()


@contextmanager
def old_redis(port: int) -> Iterator[None]:
    """Greets as a Redis 6.2 does, and answers our scripts as they answer there; it knows no other command."""
    greeting = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n"
    script = b"*2\r\n$7\r\nTOO OLD\r\n$6\r\n6.2.14\r\n"

    class Old(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.readline():
                words = [self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                name = words[0].upper()
                answer = {b"HELLO": greeting, b"EVALSHA": script}.get(name, b"-ERR unknown command\r\n")
                self.wfile.write(answer)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", port), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_a_full_redis_refuses_messages_delivery_goes_on_and_there_is_no_gap_when_it_has_room_again(serve, redis):
    nodes = [serve(**{"broker.url": f"redis://127.0.0.1:{redis.port}"}) for _ in range(2)]
    before = nodes[0].publish("news", "before")["id"]
    with Wire(nodes[1]) as stream:
        stream.request("GET /c/news", "Accept: text/event-stream", f"Last-Event-ID: {before}")
        stream.until(b"event: $ready\n")
        redis.ask("CONFIG", "SET", "maxmemory", "1mb")
        for node in nodes:
            refusal = node.client.post("/c/news", content="no room")
            assert (refusal.status_code, refusal.json()["code"]) == (507, "broker_full"), refusal.text
            assert node.client.get("/readyz").json()["status"] == "ready", "who listens is served"
            assert node.texts("news") == ["before"], "history is read"
        with Wire(nodes[0]) as newcomer:
            newcomer.request("GET /c/news?cursor=earliest", "Accept: text/event-stream")
            newcomer.until(b"data: before\n")
        redis.ask("CONFIG", "SET", "maxmemory", "0")
        receipt = nodes[0].publish("news", "after")
        told = stream.until(b"data: after\n") + stream.until(b"\n\n")
        assert b"$gap" not in told and receipt["id"].encode() in told, told
    assert nodes[1].poll("news", cursor=before)["gap"] is None


def test_f14_a_store_that_is_emptied_under_load_is_a_gap_to_everybody_and_goes_on(serve, redis):
    nodes = [serve(**{"broker.url": f"redis://127.0.0.1:{redis.port}"}) for _ in range(2)]

    async def story() -> Ledger:
        ledger = Ledger()
        cursor = nodes[0].poll(CHANNELS)["cursor"]
        async with listening(nodes, ledger, cursor), publishing(nodes, ledger) as stop, watching(nodes) as seen:
            await until("messages flow", lambda: len(ledger.acked) > 40)
            redis.ask("FLUSHALL")
            old = generation(cursor)
            async with asyncio.timeout(PROMISED_S):
                await until("everybody is told", lambda: all(story.gaps for story in ledger.stories))
                await until("messages flow again", lambda: reached_everybody(ledger, old))
            await stop()
            await until("every node is well", lambda: all(each[-1][1] == "ready" for each in seen))
        return ledger

    ledger = asyncio.run(story())
    print(ledger.tally())
    assert ledger.verdict(every=False) == [], "no id stands for two messages"
    for told in ledger.stories:
        assert {reason for _, reason, _ in told.gaps} <= {"store_reset", "failover", "4410"}, told.gaps
        assert len(told.gaps) == 1, (told.name, told.gaps)


def reached_everybody(ledger: Ledger, old: str) -> bool:
    """Whether everybody has heard a message of the new log."""
    new = {text for text, id in ledger.acked.items() if generation(id) != old}
    return all(new & {text for _, text in story.heard[-50:]} for story in ledger.stories)
