"""F2, M11: nodes are replaced one by one while everybody stays: nobody is refused, gives up, or misses anything.

Three nodes share a Redis behind a balancer. Each is asked to leave and is replaced, in turn, while publishers publish and
clients of every transport listen, among them a page in Chromium. `--full` has it done twenty times each way.
"""

import asyncio

import pytest
from handover import Activated
from rolling import NODES, hand_over, left, report, roll, shared

DEPLOYS_FULL = 20


@pytest.fixture
def deploys(request: pytest.FixtureRequest) -> int:
    return DEPLOYS_FULL if request.config.getoption("--full") else 1


@pytest.mark.parametrize("front", ["nginx", "haproxy"])
def test_f2_nodes_that_hand_their_sockets_over_are_replaced_and_nobody_notices(deploys, redis, sockets, behind, front):
    settings = shared(redis)
    nodes = [Activated(socket, **settings) for socket in sockets]

    def replace(at: int) -> None:
        hand_over(nodes, at, sockets[at], **settings)

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
