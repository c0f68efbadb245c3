"""F10: the Pub/Sub link of one node goes on living, and carries nothing any more. It is noticed, and nothing is lost."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from clients import CHANNELS, listening, publishing, until, watching
from ledger import Ledger
from relay import Relay

PROMISED_S = 3.0
"""How soon a deaf link is noticed, and `/readyz` says what is true."""


BARRIER_S = 6.0
"""Longer than a barrier holds before it gives up waiting (R13)."""

KEPT = 20_000
"""More than the fastest machine publishes while a node is deaf: what has been trimmed meanwhile is a gap, and rightly so."""


@pytest.fixture
def relay(redis) -> Iterator[Relay]:
    relay = Relay(redis.port)
    yield relay
    relay.end()


@pytest.fixture
def nodes(serve, redis, relay):
    """One node whose way to Redis may be cut, and one whose may not."""
    kept = {"history.messages_max": KEPT}
    return [serve(**{"broker.url": f"redis://127.0.0.1:{port}"} | kept) for port in (relay.port, redis.port)]


def test_f10_a_deaf_link_is_given_up_within_three_seconds_and_what_it_swallowed_is_read_again(nodes, relay):
    async def story() -> tuple[Ledger, float]:
        ledger = Ledger()
        async with listening(nodes, ledger, nodes[0].poll(CHANNELS)["cursor"]), publishing(nodes, ledger) as stop:
            await until("messages flow", lambda: len(ledger.acked) > 20)
            deaf = [connection for connection in relay.connections if connection.listens and connection.is_open]
            assert len(deaf) == 1, "one Pub/Sub link a partition and node (R18)"
            relay.silenced = lambda connection: connection in deaf
            since = time.monotonic()
            await until("the link is given up", lambda: not deaf[0].is_open)
            took = time.monotonic() - since
            await stop()
            assert deaf[0].swallowed > 1_000, "it would have carried messages"
            await until("everybody has heard everything", ledger.all_told)
        return ledger, took

    ledger, took = asyncio.run(story())
    print(f"noticed after {took:.2f} s\n{ledger.tally()}")
    assert took <= PROMISED_S
    assert ledger.verdict() == [], "nothing lost, nothing out of order, and no gap"
    assert not any(story.resumes for story in ledger.stories if "poll" not in story.name), "nobody had to come back"


def test_f10_a_node_that_stays_deaf_says_so_within_three_seconds_and_misses_nothing_once_it_hears(nodes, relay):
    async def story() -> tuple[Ledger, list[list[tuple[float, str]]]]:
        ledger = Ledger()
        async with (
            watching(nodes) as seen,
            listening(nodes, ledger, nodes[0].poll(CHANNELS)["cursor"]),
            publishing(nodes, ledger) as stop,
        ):
            await until("messages flow", lambda: len(ledger.acked) > 20)
            # Those that it dials anew are deaf too.
            relay.silenced = lambda connection: connection.listens
            since = time.monotonic()
            await until("it says so", lambda: seen[0][-1][1] == "deaf")
            assert seen[0][-1][0] - since <= PROMISED_S, seen[0][-1][0] - since
            await asyncio.sleep(BARRIER_S)
            relay.silenced = lambda _: False
            healed = time.monotonic()
            await until("it is ready again", lambda: seen[0][-1][1] == "ready")
            assert seen[0][-1][0] - healed <= PROMISED_S, seen[0][-1][0] - healed
            await stop()
            await until("everybody has heard everything", ledger.all_told)
        return ledger, seen

    ledger, seen = asyncio.run(story())
    print(ledger.tally())
    assert {word for _, word in seen[1]} == {"ready"}, "the other node lacked nothing"
    assert ledger.verdict() == [], "nothing lost, nothing out of order, and no gap"
