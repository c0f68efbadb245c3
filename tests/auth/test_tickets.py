"""S6, S20, S22, S24: a ticket opens one subscription, for whom it was sold to, and is not to be had without end."""

import json
import os
import resource
import signal
import socket
import time
from collections import Counter

import pytest
from keys import ORIGIN, OTHER_ORIGIN, Visit, bearer, token
from stage import Tidewire
from wire import Wire

RACERS = 8
UPGRADE = (
    "Accept: */*\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw=="
)
WAYS = ["Accept: application/json", "Accept: text/event-stream", UPGRADE, "Accept: application/json"] * 2
"""How each racer comes: polls, streams and WebSockets, of which no two may win."""

UNBOUNDED = {"limits.tickets_per_second_max": 0, "limits.tickets_outstanding_max": 0}


def buy(server: Tidewire, count: int = 1, credential: str | None = None, origin: str | None = None, **order) -> list[str]:
    """Buys tickets on one connection, asking for all before the first answer is read."""
    said = {**(bearer(credential) if credential else server.credentials), **({"Origin": origin} if origin else {})}
    with Wire(Visit(server, said)) as wire:
        for _ in range(count):
            wire.request("POST /v1/tickets", body=json.dumps(order).encode())
        answers = [wire.response() for _ in range(count)]
    assert {answer.status for answer in answers} == {200}, answers[0]
    return [json.loads(answer.body)["ticket"] for answer in answers]


def opened(server: Tidewire, ticket: str, *headers: str, way: str = WAYS[0], channel: str = "x") -> int:
    """Shows a ticket, and says with which status it was answered."""
    with Wire(Visit(server)) as wire:
        wire.request(f"GET /c/{channel}?ticket={ticket}", *way.split("\r\n"), *headers)
        return wire.head().status


def race(server: Tidewire, tickets: list[str]) -> Counter[str]:
    """Lets eight racers show each ticket at one moment. Counts the tickets by how many racers won them, and answers.

    The server is stopped while they ask, so that all its event loops wake up to all of them at once.
    """
    racers = [(ticket, n, connected(server, n)) for ticket in tickets for n in range(RACERS)]
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        for ticket, n, racer in racers:
            racer.sendall(f"GET /c/x?ticket={ticket} HTTP/1.1\r\nHost: 127.0.0.1\r\n{WAYS[n]}\r\n\r\n".encode())
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    tally: Counter[str] = Counter()
    won = Counter(dict.fromkeys(tickets, 0))
    for ticket, _, racer in racers:
        status = racer.recv(4096)[9:12].decode()
        racer.close()
        tally[f"answered {status}"] += 1
        won[ticket] += status in ("200", "101")
    return tally + Counter(f"won {times} times" for times in won.values())


def connected(server: Tidewire, n: int) -> socket.socket:
    """A connection from an address of the racer's own: ports of one address would run out."""
    return socket.create_connection(("127.0.0.1", server.port), 15, (f"127.0.0.{n + 2}", 0))


def test_s20_of_eight_racers_for_a_ticket_exactly_one_wins(serve, request):
    count, together = (10_000, 500) if request.config.getoption("--full") else (1_000, 100)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = serve(**UNBOUNDED)
    tally: Counter[str] = Counter()
    for _ in range(count // together):
        tally += race(server, buy(server, together))
    print(dict(tally))
    wins = {key: tally[key] for key in tally if key.startswith("won")}
    assert wins == {"won 1 times": count}
    assert tally["answered 401"] == count * (RACERS - 1)


@pytest.mark.parametrize("way", WAYS[:3], ids=["poll", "stream", "socket"])
def test_s6_a_page_that_may_not_come_in_does_not_burn_a_ticket(server, way):
    (ticket,) = buy(server, origin=ORIGIN)
    assert opened(server, ticket, "Origin: https://evil.example", way=way) == 403
    assert opened(server, ticket, "Origin: null", way=way) == 403
    assert opened(server, ticket, "Sec-Fetch-Site: cross-site", way=way) == 403, "an image of a page of evil"
    assert opened(server, ticket, f"Origin: {ORIGIN}", way=way) in (200, 101)
    assert opened(server, ticket, f"Origin: {ORIGIN}", way=way) == 401


@pytest.mark.parametrize("way", WAYS[:3], ids=["poll", "stream", "socket"])
def test_s22_a_page_of_another_origin_that_may_come_in_is_refused_and_burns_it(server, way):
    (ticket,) = buy(server, origin=ORIGIN)
    assert opened(server, ticket, f"Origin: {OTHER_ORIGIN}", way=way) == 403
    assert opened(server, ticket, f"Origin: {ORIGIN}", way=way) == 401


def test_s22_the_ticket_of_a_backend_is_for_any_page_that_may_come_in(server):
    for headers in ((f"Origin: {ORIGIN}",), (f"Origin: {OTHER_ORIGIN}",), ()):
        (ticket,) = buy(server)
        assert opened(server, ticket, *headers) == 200


def test_s19_a_ticket_opens_what_it_was_bought_for_and_no_more(server):
    alice = token("alice", "a", "b")
    (ticket,) = buy(server, credential=alice, channels=["a"])
    assert opened(server, ticket, channel="a,b") == 403
    (ticket,) = buy(server, credential=alice, channels=["a"])
    assert opened(server, ticket, channel="a") == 200
    (ticket,) = buy(server, credential=alice)
    assert opened(server, ticket, channel="a,b") == 200
    refused = server.client.post("/v1/tickets", json={"channels": ["c"]}, headers=bearer(alice))
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_s19_a_ticket_lasts_no_longer_than_the_token_that_bought_it(server):
    sold = server.client.post("/v1/tickets", headers=bearer(token("alice", "x", lasts_s=5))).json()
    assert sold["expires_in"] <= 5
    for ttl in (0, 121, -1, 1.5, "30"):
        assert server.client.post("/v1/tickets", json={"ttl": ttl}).status_code == 400, ttl
    assert server.client.post("/v1/tickets", json={"ttl": 120}).json()["expires_in"] == 120


def asked_for(server: Tidewire, credential: str, count: int) -> Counter[int]:
    """Asks for tickets, and counts the answers."""
    tally: Counter[int] = Counter()
    for _ in range(count):
        answer = server.client.post("/v1/tickets", headers=bearer(credential))
        tally[answer.status_code] += 1
        if answer.status_code == 429:
            assert answer.json()["code"] == "rate_limited"
            assert int(answer.headers["retry-after"]) >= 1
    return tally


def test_s24_a_subject_gets_so_many_tickets_a_second_and_others_their_own(serve):
    server = serve(**{"limits.tickets_outstanding_max": 0})
    alice, again, bob = token("alice", "x"), token("alice", "x", jti="another"), token("bob", "x")
    began = time.monotonic()
    sold = asked_for(server, alice, 40) + asked_for(server, again, 40)
    due = 10 + 10 * (time.monotonic() - began)
    assert sold[200] <= due, "ten at once, and ten for each second that they were asked for"
    assert sold[200] + sold[429] == 80 and sold[429] > 0
    assert asked_for(server, bob, 5) == {200: 5}


def test_s24_a_subject_holds_twenty_tickets_and_gets_another_for_each_that_is_spent(serve):
    server = serve(**{"limits.tickets_per_second_max": 0})
    alice = token("alice", "x")
    held = buy(server, 20, alice)
    assert asked_for(server, alice, 2) == {429: 2}
    assert opened(server, held[0]) == 200
    assert asked_for(server, alice, 2) == {200: 1, 429: 1}
    assert asked_for(server, token("bob", "x"), 1) == {200: 1}
