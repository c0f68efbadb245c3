"""S42 through a real nginx, HAProxy and Caddy: an attacker and a victim share a connection between the proxy and us.

Whatever the two of us make of an attack, the victim's publishes are there once each, every answer is the victim's own,
and the request that was hidden in the attack, which no proxy lets in, has not arrived.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from fronts import RECOMMENDED, Front
from relay import Relay
from smuggling import CORPUS, Target
from stage import PATIENCE, Tidewire
from wire import Wire

QUIET_S = 0.15
"""How long an attacker waits for more of an answer. Some attacks have a proxy wait for a body that never comes."""


@dataclass
class Victim:
    """Somebody who publishes and polls in good faith, on a kept connection and on new ones."""

    front: Front
    channel: str
    receipts: dict[str, str] = field(default_factory=dict)
    """The id of each text, as the victim was told."""

    def publishes(self) -> None:
        for _ in range(2):
            with Wire(self.front) as fresh:
                self.publish(fresh)
                self.publish(fresh)
                fresh.request(f"GET /c/{self.channel}?tail=1")
                (newest,) = json.loads(fresh.response().body)["messages"]
            assert newest["data"] == str(len(self.receipts) - 1)

    def publish(self, wire: Wire) -> None:
        text = str(len(self.receipts))
        wire.request(f"POST /c/{self.channel}", body=text.encode())
        answer = wire.response()
        assert answer.status == 200, answer
        receipt = json.loads(answer.body)
        assert receipt["channel"] == self.channel, answer
        self.receipts[text] = receipt["id"]


@dataclass
class Arena:
    """A server that is spoken to by way of a proxy, and directly."""

    server: Tidewire
    front: Front

    def target(self, name: str) -> Target:
        credentials = "".join(f"{field}: {value}\r\n" for field, value in self.server.credentials.items())
        return Target("127.0.0.1", f"decoy-{name}", f"stolen-{name}", credentials)

    def kept(self, channel: str) -> list[tuple[str, str]]:
        """The texts and ids in a channel's history, asked of the server itself."""
        page = self.server.poll(channel, cursor="earliest")
        return [(message["data"], message["id"]) for message in page["messages"]]


@pytest.fixture(scope="module", params=RECOMMENDED)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """One server and one proxy for the whole corpus: what an attack leaves behind would show in the next."""
    server = Tidewire({}, ())
    front = Front(server, request.param)
    yield Arena(server, front)
    front.end()
    server.end()


class Way(NamedTuple):
    """The way to a server, as a proxy is told of it."""

    port: int
    credentials: Mapping[str, str]


@pytest.mark.parametrize("proxy", RECOMMENDED)
def test_attacker_and_victim_share_a_connection_to_the_server(server, behind, proxy):
    """Without this the rest would show nothing.

    A busy proxy opens another one for who comes before it has laid the last one back. The victim comes twice for each time
    that the attacker does, so that two connections which are taken by turns carry both of them, too.
    """
    relay = Relay(server.port)
    front = behind([Way(relay.port, server.credentials)], proxy)
    victim = Victim(front, "shared")
    for _ in range(10):
        with Wire(front) as attacker, Wire(front) as fresh:
            attacker.request("POST /c/decoy", body=b"harmless so far")
            assert attacker.response().status == 200
            victim.publish(fresh)
        with Wire(front) as fresh:
            victim.publish(fresh)
    relay.end()
    asked = [connection.asked for connection in relay.connections]
    assert any(b"POST /c/decoy " in each and b"POST /c/shared " in each for each in asked), asked


@pytest.mark.parametrize("name", CORPUS)
def test_s42_an_attack_does_not_reach_past_the_proxy(arena, name):
    target, victim = arena.target(name), Victim(arena.front, f"victim-{name}")
    victim.publishes()
    with Wire(arena.front) as attacker:
        attacker.send(CORPUS[name].bytes(target))
        attacker.until_quiet(QUIET_S)
        victim.publishes()
    victim.publishes()
    assert arena.kept(victim.channel) == list(victim.receipts.items())
    assert arena.kept(target.stolen) == [], "what the proxy keeps out has come in"


def test_s42_attacks_that_come_all_at_once_do_not_reach_past_the_proxy(arena):
    """The whole corpus, some of it unfinished, on connections that stay open while the victim goes on."""
    victim = Victim(arena.front, "victim-of-all")
    target = arena.target("all")
    attackers = [Wire(arena.front) for _ in CORPUS]
    for at, (attacker, vector) in enumerate(zip(attackers, CORPUS.values(), strict=True)):
        attack = vector.bytes(target)
        attacker.send(attack if at % 2 else attack[:-1])
        if at % 10 == 0:
            victim.publishes()
    for attacker in attackers:
        attacker.close()
    victim.publishes()
    assert arena.kept(victim.channel) == list(victim.receipts.items())
    assert arena.kept(target.stolen) == []


def test_the_guard_itself_stands(arena):
    """A request that says openly what it is for is stopped by the proxy, so that nothing above is an accident."""
    assert arena.front.client.post("/c/stolen", content="x").status_code == 403
    with socket.create_connection(("127.0.0.1", arena.front.port), timeout=PATIENCE) as openly:
        openly.sendall(arena.target("openly").smuggled.encode())
        assert openly.recv(64).startswith(b"HTTP/1.1 403 ")
    assert arena.kept("stolen-openly") == []
