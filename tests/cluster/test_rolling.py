"""F2, M11: nodes are replaced one by one while everybody stays: nobody is refused, gives up, or misses anything.

Three nodes share a Redis behind a balancer. Each is asked to leave and is replaced, in turn, while publishers publish and
clients of every transport listen, among them a page in Chromium. `--full` has it done twenty times each way.
"""

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

DEPLOYS_FULL = 20


@pytest.fixture
def deploys(request: pytest.FixtureRequest) -> int:
    return DEPLOYS_FULL if request.config.getoption("--full") else 1


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """The listening sockets of all nodes, held by somebody who outlives them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096)) for _ in range(NODES)]


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
def test_f2_nodes_that_hand_their_sockets_over_are_replaced_and_nobody_notices(deploys, redis, sockets, behind, front):
    settings = shared(redis)
    nodes = [Activated(socket, **settings) for socket in sockets]

    def replace(at: int) -> None:
        old = nodes[at]
        old.terminate()
        # Both have the socket now: whoever is in its queue waits for the one that still accepts.
        nodes[at] = Activated(sockets[at], **settings)
        left(old)
        old.end()

    try:
        ledger = asyncio.run(roll(deploys, nodes, replace, behind(nodes, front), knocks=True))
    finally:
        for node in nodes:
            node.end()
    report(f"{deploys} deploys of {NODES} nodes that hand their sockets over, behind {front}", ledger)


@pytest.mark.parametrize("front", ["haproxy", "nginx"])
def test_f2_nodes_that_are_away_for_a_moment_are_replaced_and_nobody_notices(deploys, redis, serve, behind, front):
    nodes = [serve(**shared(redis)) for _ in range(NODES)]

    def replace(at: int) -> None:
        nodes[at].terminate()
        left(nodes[at])
        nodes[at].start()

    ledger = asyncio.run(roll(deploys, nodes, replace, behind(nodes, front)))
    report(f"{deploys} deploys of {NODES} nodes that are away meanwhile, behind {front}", ledger)


def shared(redis: Redis) -> dict[str, object]:
    return {"broker.url": f"redis://127.0.0.1:{redis.port}", "drain_within": "1s", "limits.retry": "300ms"}


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
