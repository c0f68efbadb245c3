"""S33, S34: a client that floods its connection is told to go, costs little until then, and nobody else notices.

Limits are shown by an attack and not by reading them back: elsewhere (hyper, 2024) one knob's value went to another.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from floods import FLOODS, bombs, end
from frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    Http2,
    frame,
    window_update,
)
from sieges import CLIENTS, SCALES, Siege, describe, good_clients
from stage import PATIENCE, Tidewire, eventually
from vitals import MIB, unharmed, vitals

FLOODER = Path(__file__).resolve().with_name("floods.py")
ATTACK_S = 1.0

TLS_TOO = ("rapid_reset", "no_window", "full_continuations", "pings", "empty_data")
"""Those that are done with TLS as well: what reads frames is the same, what feeds it is not."""


@pytest.mark.parametrize("name", FLOODS)
def test_s34_who_floods_is_told_why_and_cut(server: Tidewire, name: str) -> None:
    flood = FLOODS[name]
    with unharmed(server), Http2(server) as http:
        http.push(flood.make(http))
        assert http.error() in flood.codes, http.goaways


@pytest.mark.parametrize("name, secure", [*((name, False) for name in FLOODS), *((name, True) for name in TLS_TOO)])
def test_s34_a_flood_costs_little_and_nobody_else_notices(plainly, name: str, secure: bool) -> None:
    server = plainly(*(["--tls-self-signed"] if secure else []))
    with unharmed(server, growth_max=32 * MIB), Http2(server) as bystander:
        stream = bystander.listen("good")
        attack = Attack(server, name)
        patience = good_clients(server, ATTACK_S)
        ends = attack.ends()
        print(f"{name}: {ends}; streams: {describe(patience.streams)}; publishes: {describe(patience.publishes)}")
        told = {f"goaway {code}" for code in FLOODS[name].codes}
        assert set(ends) <= told | {"closed"} and told & set(ends), ends
        patience.check()
        heard = lambda: bystander.answers[stream].body.count(b"data: hello\n")  # noqa: E731
        bystander.until("the bystander has heard everything", lambda: heard() == len(patience.publishes))
        assert not bystander.goaways and not bystander.answers[stream].over


class Attack:
    """A flooder, in a process of its own: its work must not slow the clock of the test."""

    def __init__(self, server: Tidewire, kind: str) -> None:
        command = [sys.executable, str(FLOODER), kind, str(server.port), str(ATTACK_S), *(["secure"] if server.secure else [])]
        path = {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}
        )
        self._process.stdin.write(json.dumps(dict(server.credentials)) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "begins\n"

    def ends(self) -> dict[str, int]:
        """How the connections of the flooder ended, once it is done."""
        said, _ = self._process.communicate(timeout=2 * PATIENCE)
        return json.loads(said)


def test_s34_a_bomb_of_fields_is_refused_before_it_is_large(server: Tidewire) -> None:
    """Ten kilobytes that would be forty megabytes, a hundred times on each of twenty connections."""
    with unharmed(server, growth_max=32 * MIB, processor_max_s=10):
        attackers = [Http2(server) for _ in range(20)]
        for http in attackers:
            http.push(bombs(http))
        for http in attackers:
            http.until_quiet(0.2)
            statuses = {answer.status for answer in http.answers.values() if answer.status}
            assert statuses <= {200, 400, 431}, statuses
            http.close()


def test_s34_heads_that_wait_for_their_end_cost_what_has_arrived(server: Tidewire) -> None:
    """The largest heads that are allowed, all but their last byte, on two hundred connections."""
    with unharmed(server, growth_max=32 * MIB):
        attackers = [Http2(server) for _ in range(200)]
        for http in attackers:
            opening = http.opening(http.head("GET", "/c/x", ("x-long", "~" * 15_000)), flags=END_STREAM)
            http.push(frame(HEADERS, http.newest, opening[9:8_000], END_STREAM))
            http.push(frame(CONTINUATION, http.newest, opening[8_000:-1]))
        for http in attackers:
            http.until_quiet(0.01)
            http.close()


@pytest.mark.parametrize("kind, secure", [("half_preface", False), ("half_hello", True), ("silence", True)])
def test_s33_two_thousand_halves_of_a_beginning_keep_nobody_out(plainly, kind: str, secure: bool) -> None:
    scale = SCALES["short"]
    server = plainly(*(["--tls-self-signed"] if secure else []), **scale.settings)
    server.publish("good", "warm")
    before = vitals(server).descriptors
    with unharmed(server, growth_max=128 * MIB), Siege(server, kind, scale) as siege:
        patience = good_clients(server, 1.5)
        siege.hold()
        eventually("all that they hold is given back", lambda: vitals(server).descriptors <= before, 2 * PATIENCE)
    print(f"{kind}: told {siege.told}; streams: {describe(patience.streams)}; publishes: {describe(patience.publishes)}")
    patience.check()
    assert siege.told.get("end", 0) >= CLIENTS, "each was cut at least once"


# What is no flood


def test_a_client_of_a_hundred_busy_streams_that_gives_back_what_it_got_is_no_flood(server: Tidewire) -> None:
    """Window by window, as much as was received: each DATA frame is worth one WINDOW_UPDATE."""
    with Http2(server, {INITIAL_WINDOW_SIZE: 1 << 20}, grants="never") as http:
        streams = [http.listen("x") for _ in range(100)]
        for n in range(50):
            server.publish("x", str(n))
            had = sum(http.answers[stream].frames for stream in streams)
            for stream in streams:
                http.until_body(stream, f"data: {n}\n".encode())
            for _ in range(sum(http.answers[stream].frames for stream in streams) - had):
                http.send(window_update(0, 40))
        assert not http.goaways
        assert server.publish("x", "all there")["receivers"]["sse"] == 100


def test_a_client_that_gives_back_every_window_twice_over_is_no_flood(server: Tidewire) -> None:
    """For each DATA frame one on its stream and one on the connection: the plainest way there is."""
    with Http2(server, grants="at once") as http:
        streams = [http.listen("x") for _ in range(100)]
        for n in range(20):
            server.publish("x", str(n))
            for stream in streams:
                http.until_body(stream, f"data: {n}\n".encode())
        assert not http.goaways
        assert server.publish("x", "all there")["receivers"]["sse"] == 100


def test_a_page_that_closes_a_hundred_and_fifty_streams_at_once_is_no_flood(server: Tidewire) -> None:
    with Http2(server) as http:
        streams = [http.listen("x") for _ in range(151)]
        for stream in streams[1:]:
            http.reset(stream)
        http.ping()
        eventually("they are gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 1)
        http.until_body(streams[0], b"data: probe\n")
        assert not http.goaways


def test_a_publisher_whose_bodies_end_in_an_empty_frame_is_no_flood(server: Tidewire) -> None:
    """So do httpx and others: the body first, and its end when there is no more."""
    with Http2(server) as http:
        for n in range(500):
            stream = http.begin(http.head("POST", "/c/x"), end=False)
            http.send(frame(DATA, stream, str(n).encode()) + frame(DATA, stream, b"", END_STREAM))
            assert http.answer(stream).status == 200
        assert not http.goaways
    assert server.texts("x") == [str(n) for n in range(500)]


def test_polls_and_publishes_without_end_are_no_flood(server: Tidewire) -> None:
    with Http2(server) as http:
        for _ in range(20):
            streams = [http.request("GET", "/c/x") for _ in range(100)] + [http.request("POST", "/c/x", body=b"x") for _ in range(50)]
            assert {http.answer(stream).status for stream in streams} == {200}
        assert not http.goaways


def test_a_flooder_takes_the_streams_of_its_own_connection_along_and_no_others(server: Tidewire) -> None:
    with Http2(server) as attacker, Http2(server) as other:
        mine, theirs = attacker.listen("x"), other.listen("x")
        attacker.push(FLOODS["pings"].make(attacker))
        assert end(attacker) == f"goaway {ENHANCE_YOUR_CALM}"
        eventually("its subscription is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 1)
        other.until_body(theirs, b"data: probe\n")
        assert b"data: probe" not in attacker.answers[mine].body


def test_the_default_bounds_leave_room_for_a_busy_page(server: Tidewire) -> None:
    """A hundred and ninety of each kind in ten seconds, all on one connection, is allowed."""
    with Http2(server) as http:
        stream = http.listen("x")
        held = http.begin(http.head("POST", "/c/y"), end=False)
        for _ in range(190):
            http.send(window_update(stream, 1) + frame(DATA, held))
        for word in range(150):
            http.ping(f"{word:08}".encode())
        for _ in range(90):
            http.reset(http.request("GET", "/c/x?wait=30"))
        http.ping()
        assert not http.goaways, http.goaways
