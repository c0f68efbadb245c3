"""F3: nodes of two versions share a Redis, and everybody is served as if they were one.

`TIDEWIRE_PREVIOUS` names the binary of the other version, which `cargo xtask upgrade` builds. Every story is told both ways:
an upgrade, and the way back when it was regretted.
"""

import asyncio
import os
from collections.abc import Iterator

import httpx
import pytest
from handover import Activated
from keys import GUARDED, bearer, token
from redis_server import Redis
from rolling import NODES, hand_over, left, report, roll, shared
from stage import BINARY, Tidewire, eventually

PREVIOUS = os.environ["TIDEWIRE_PREVIOUS"]

BOTH_WAYS, BOTH_WAYS_FULL = 2, 20
"""Up and down, and ten times so."""


@pytest.fixture
def deploys(request: pytest.FixtureRequest) -> int:
    return BOTH_WAYS_FULL if request.config.getoption("--full") else BOTH_WAYS


@pytest.fixture(params=["new, then old", "old, then new"])
def pair(request: pytest.FixtureRequest, redis: Redis) -> Iterator[list[Tidewire]]:
    """A node of each version, over one Redis, that let in whoever has a key."""
    settings = {**shared(redis), "namespace.chat.presence": "true", "limits.presence_grace": "1s"}
    binaries = [BINARY, PREVIOUS] if request.param.startswith("new") else [PREVIOUS, BINARY]
    nodes = [Tidewire(settings, (), GUARDED, binary=binary) for binary in binaries]
    yield nodes
    for node in nodes:
        node.end()


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
def test_f3_an_upgrade_with_sockets_handed_over_and_its_way_back_are_noticed_by_nobody(
    deploys, redis, sockets, behind, front
):
    settings = shared(redis)
    nodes = [Activated(socket, binary=PREVIOUS, **settings) for socket in sockets]

    def replace(at: int) -> None:
        hand_over(nodes, at, sockets[at], binary=other(nodes[at].binary), **settings)

    try:
        ledger = asyncio.run(roll(deploys, nodes, replace, behind(nodes, front), knocks=True))
    finally:
        for node in nodes:
            node.end()
    report(f"{deploys} deploys of {NODES} nodes, up and down, that hand their sockets over, behind {front}", ledger)


@pytest.mark.parametrize("front", ["haproxy", "nginx"])
def test_f3_an_upgrade_of_nodes_that_are_away_for_a_moment_and_its_way_back_are_noticed_by_nobody(
    deploys, redis, behind, front
):
    nodes = [Tidewire(shared(redis), (), binary=PREVIOUS) for _ in range(NODES)]

    def replace(at: int) -> None:
        node = nodes[at]
        node.terminate()
        left(node)
        node.binary = other(node.binary)
        node.start()

    try:
        ledger = asyncio.run(roll(deploys, nodes, replace, behind(nodes, front)))
    finally:
        for node in nodes:
            node.end()
    report(f"{deploys} deploys of {NODES} nodes, up and down, that are away meanwhile, behind {front}", ledger)


def test_f3_a_publish_repeated_at_another_version_happens_once(pair):
    one, another = pair
    first = one.publish("orders:1", "paid", idempotency_key="k")
    assert another.publish("orders:1", "paid", idempotency_key="k")["id"] == first["id"]
    refused = another.client.post("/c/orders:1", content="else", headers={"Idempotency-Key": "k"})
    assert refused.status_code == 409, refused.text


def test_f3_a_cursor_of_one_version_is_good_at_another(pair):
    one, another = pair
    kinds = [("text", "text/plain"), ("{}", "application/json"), (b"\0\xff", "application/octet-stream")]
    cursor = one.poll("prices")["cursor"]
    for data, kind in kinds:
        one.publish("prices", data, content_type=kind, tidewire_event="quote")
        another.publish("prices", data, content_type=kind)
    pages = [node.poll("prices", cursor=cursor) for node in pair]
    assert pages[0]["gap"] is None and len(pages[0]["messages"]) == 2 * len(kinds)
    told = [[without_additions(message) for message in page["messages"]] for page in pages]
    assert told[0] == told[1] and pages[0]["cursor"] == pages[1]["cursor"]


def test_f3_a_ticket_of_one_version_is_spent_once_at_any(pair):
    one, another = pair
    ticket = one.client.post("/v1/tickets", json={"channels": ["prices"]}).json()["ticket"]
    with httpx.Client(base_url=another.url, trust_env=False) as stranger:
        assert stranger.get("/c/prices", params={"ticket": ticket}).status_code == 200
    with httpx.Client(base_url=one.url, trust_env=False) as stranger:
        assert stranger.get("/c/prices", params={"ticket": ticket}).status_code == 401


def test_f3_rights_revoked_at_one_version_are_void_at_another(pair):
    one, another = pair
    alice = bearer(token("alice", "prices"))
    assert another.client.get("/c/prices", headers=alice).status_code == 200
    revoked = one.client.post("/v1/revoke", json={"sub": "alice"})
    assert revoked.status_code == 200, revoked.text
    eventually("it is known", lambda: another.client.get("/c/prices", headers=alice).status_code == 401)


def test_f3_whoever_is_present_at_one_version_is_seen_at_another(pair):
    one, another = pair
    stream = {"Accept": "text/event-stream", **bearer(token("bob", "chat:1"))}

    def seen() -> list[str]:
        answer = another.client.get("/v1/channels/chat:1/presence").json()
        return [member["subject"] for member in answer["members"]]

    with one.client.stream("GET", "/c/chat:1", headers=stream):
        eventually("bob is seen", lambda: seen() == ["bob"])
    eventually("bob has left", lambda: seen() == [])


def other(binary: str) -> str:
    return BINARY if binary == PREVIOUS else PREVIOUS


def without_additions(message: dict) -> dict:
    """What every version tells of a message: a newer one may tell more."""
    return {name: message[name] for name in message.keys() & {"channel", "id", "event", "data", "base64", "time"}}
