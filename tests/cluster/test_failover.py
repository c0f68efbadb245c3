"""F8: a master dies with messages that its replica never had. Everybody is told of it, and nobody for long."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator

import pytest
from clients import CHANNELS, listening, publishing, until, watching
from ledger import Ledger, Story, generation
from sentinels import Sentinels
from stage import PATIENCE, Tidewire
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wire import Wire

PROMISED_S = 3.0
"""How soon after the sentinels' word messages flow again, and how soon `/readyz` says what is true."""
TAIL = 40
"""How many messages are acknowledged by a master whose replica hears nothing: all of them are lost but those on their way."""


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    sentinels = Sentinels()
    yield sentinels
    sentinels.end()


def test_f8_a_lost_tail_is_a_gap_to_everybody_and_messages_flow_again_within_three_seconds(sentinels, serve):
    nodes = [serve(**{"broker.url": sentinels.url}) for _ in range(2)]
    early = nodes[0].poll(CHANNELS)["cursor"]
    ledger = asyncio.run(fail_over(sentinels, nodes, early))
    print(ledger.tally())

    # Who comes back later with a place in the old log is told too, whether it is one that was lost or not.
    kept = set(nodes[0].texts(CHANNELS))
    lost = [id for text, id in ledger.acked.items() if text not in kept]
    assert len(lost) >= TAIL // 2 and {generation(id) for id in lost} == {generation(early)}, lost
    for node, cursor in itertools.product(nodes, [early, lost[-1]]):
        is_told_by_every_transport(node, cursor)
    # And who comes back with one in the new log is not.
    new = list(ledger.acked.values())[-1]
    assert all(node.poll(CHANNELS, cursor=new)["gap"] is None for node in nodes)


async def fail_over(sentinels: Sentinels, nodes: list[Tidewire], cursor: str) -> Ledger:
    ledger = Ledger()
    async with listening(nodes, ledger, cursor), watching(nodes) as seen, publishing(nodes, ledger) as stop:
        await until("messages flow", lambda: len(ledger.acked) > 40)
        kept = max(ledger.acked.values(), key=place)
        # The replica goes on living, and hears nothing more.
        sentinels.master.relay.silenced = lambda connection: connection.replicates
        had = len(ledger.acked)
        await until("there is a tail to lose", lambda: len(ledger.acked) > had + TAIL)
        sentinels.master.redis.process.kill()
        killed = time.monotonic()
        await until("nodes are without a master", lambda: all("degraded" in {word for _, word in each} for each in seen))

        successor = sentinels.replica.relay.port
        leads = asyncio.to_thread(wait_for, lambda: any(sentinels.leader(port) == successor for port in sentinels.ports))
        switched = await leads
        await until("messages flow again", lambda: newest(ledger) != generation(kept))
        flowing = {story.name: None for story in ledger.stories}

        def all_flow() -> bool:
            for story in ledger.stories:
                last = story.heard[-1][1]
                if flowing[story.name] is None and generation(ledger.acked.get(last, kept)) != generation(kept):
                    flowing[story.name] = time.monotonic() - switched
            return None not in flowing.values()

        await until("they reach everybody", all_flow)
        await until("every node says so", lambda: all(each[-1][1] == "ready" for each in seen))
        await stop()
        await until("everybody has heard all that is new", lambda: everything_new(ledger, kept))

    print(f"the sentinels' word came {switched - killed:.2f} s after the kill; then messages reached everybody within "
          f"{max(flowing.values()):.2f} s")  # fmt: skip
    for each in seen:
        said = [(f"{at - killed:.2f} s", word) for at, word in each]
        print("after the kill", [said[n] for n in range(len(said)) if n == 0 or said[n][1] != said[n - 1][1]])
    assert max(flowing.values()) <= PROMISED_S, flowing
    for each in seen:
        away = next(at for at, word in each if word == "degraded" and at > killed)
        back = next(at for at, word in each if word == "ready" and at > away)
        assert away - killed <= PROMISED_S and back - switched <= PROMISED_S, (away - killed, back - switched)
        assert {word for _, word in each} <= {"ready", "degraded"}, "nobody leaves the balancer for that"
    for story in ledger.stories:
        is_told_before_anything_new(story, generation(kept))
    assert ledger.verdict(every=False) == [], "no id stands for two messages"
    return ledger


def is_told_before_anything_new(story: Story, old: str) -> None:
    """A gap comes before the first message of the new log, and is the only one."""
    assert len(story.gaps) == 1, (story.name, story.gaps, story.ends)
    ((at, reason, cursor),) = story.gaps
    assert reason in ("failover", "4410") and generation(cursor) != old, (story.name, story.gaps)
    ids = [id and generation(id) for id, _ in story.heard]
    if any(ids):
        assert set(ids[:at]) == {old} and old not in ids[at:], story.name


def is_told_by_every_transport(node: Tidewire, cursor: str) -> None:
    gap = node.poll(CHANNELS, cursor=cursor)["gap"]
    assert gap["reason"] == "failover" and gap["channels"] == CHANNELS.split(","), gap
    with Wire(node) as wire:
        wire.request(f"GET /c/{CHANNELS} HTTP/1.0", "Accept: text/event-stream", f"Last-Event-ID: {cursor}")
        told = wire.until(b"event: $ready\n")
        assert told.count(b"event: $gap\n") == 1 and b'"reason":"failover"' in told and b"event: news" not in told, told
    address = f"{node.ws_url}/c/{CHANNELS}?cursor={cursor}"
    # However much comes: a client that stops reading does not see the other close, and waits for it.
    unbounded = {"proxy": None, "max_queue": None}
    with connect(address, subprotocols=["tidewire.v1"], **unbounded) as v1:
        first = json.loads(v1.recv(PATIENCE))
        assert (first["type"], first["reason"]) == ("gap", "failover"), first
    with connect(address, **unbounded) as raw, pytest.raises(ConnectionClosed):
        raw.recv(PATIENCE)
    assert raw.close_code == 4410
    with connect(f"{node.ws_url}/c/{CHANNELS}?cursor={raw.close_reason}", **unbounded) as again:
        assert again.recv(PATIENCE), "it goes on there, with what the new log has"


def wait_for(condition) -> float:
    """When it held."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the sentinels promote nobody"
    return time.monotonic()


def everything_new(ledger: Ledger, kept: str) -> bool:
    new = {text for text, id in ledger.acked.items() if generation(id) != generation(kept)}
    return all(new <= {text for _, text in story.heard} for story in ledger.stories)


def newest(ledger: Ledger) -> str:
    return generation(list(ledger.acked.values())[-1])


def place(id: str) -> int:
    return int(id.split(".")[1], 36)
