"""Replacing nodes one by one, under the load of publishers and of clients of every transport, a page in Chromium among them."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from clients import CHANNELS, knock, listening, publishing, running, until
from fronts import Front
from handover import Activated
from ledger import Ledger
from page import page
from redis_server import Redis
from stage import PATIENCE, Tidewire

NODES, EACH, PUBLISHERS = 3, 3, 4
"""How many nodes there are, clients of each transport, and publishers."""
EVERY_S = 0.02
"""How long a publisher rests after each message."""


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """The listening sockets of all nodes, held by somebody who outlives them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096)) for _ in range(NODES)]


def shared(redis: Redis) -> dict[str, object]:
    return {"broker.url": f"redis://127.0.0.1:{redis.port}", "drain_within": "1s", "limits.retry": "300ms"}


def hand_over(nodes: list[Activated], at: int, socket: socket.socket, **settings: object) -> None:
    """Replaces a node by one that is given the same socket."""
    old = nodes[at]
    old.terminate()
    # Both have the socket now: whoever is in its queue waits for the one that still accepts.
    nodes[at] = Activated(socket, **settings)
    left(old)
    old.end()


def left(node: Tidewire) -> None:
    assert node.process.wait(PATIENCE) == 0, node.said()


async def roll(
    deploys: int, nodes: list[Tidewire], replace: Callable[[int], None], front: Front, knocks: bool = False
) -> Ledger:
    """Replaces each node in turn, so many times, under load; gives what everybody was told once all of it has arrived."""
    ledger = Ledger()
    now = nodes[0].poll(CHANNELS)["cursor"]
    doors = Ledger()
    knocking = [knock(node.port, doors.story(f"a knock at node {n}")) for n, node in enumerate(nodes) if knocks]
    with page(front.url, ledger):
        async with listening([front] * EACH, ledger, now), running(knocking):
            async with publishing([front], ledger, PUBLISHERS, EVERY_S) as stop:
                for at in [*range(len(nodes))] * deploys:
                    await asyncio.to_thread(replace, at)
                    before = len(ledger.acked)
                    await until("messages flow", lambda: len(ledger.acked) > before or ledger.problems)
                await stop()
            with contextlib.suppress(AssertionError):
                # The verdict says who has not.
                await until("everybody has heard everything", ledger.all_told)
    ledger.problems += [problem for door in doors.stories for problem in door.problems]
    for door in doors.stories:
        ledger.answers.update(door.ends)
    return ledger


def report(what: str, ledger: Ledger) -> None:
    print(f"{what}:\n{ledger.tally()}")
    stayed = [story.name for story in ledger.stories if not story.resumes and not story.name.startswith("poll")]
    assert not stayed, "whoever was connected had to come back, since every node was replaced"
    assert ledger.verdict() == []
