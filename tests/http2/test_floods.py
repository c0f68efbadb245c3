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
    priority,
    window_update,
)
from sieges import CLIENTS, SCALES, Siege, describe, good_clients
from stage import PATIENCE, Tidewire, eventually
from vitals import MIB, at_rest, unharmed, vitals

FLOODER = Path(__file__).resolve().with_name("floods.py")
ATTACK_S = 1.0

SIEGES = {
    "resets": [name for name in FLOODS if name.startswith("rapid_reset")],
    "made_to_reset": [
        *("no_window", "a_window_that_overflows", "on_itself", "data_on_half_closed", "a_head_on_half_closed"),
        *("malformed_heads", "more_streams_than_allowed"),
    ],
    "heads": ["empty_continuations", "short_continuations", "full_continuations"],
    "answers": ["pings", "pongs", "settings", "empty_settings", "settings_acks"],
    "nothing": ["empty_data", "padding", "empty_data_on_many_streams"],
    "trifles": ["priorities", "priorities_of_one", "windows_of_the_connection", "windows_of_a_stream"],
}
"""Floods that are done one after the other while good clients come and go."""


@pytest.mark.parametrize("name", FLOODS)
def test_s34_who_floods_is_told_why_and_cut(server: Tidewire, name: str) -> None:
    flood = FLOODS[name]
    with unharmed(server), Http2(server) as http:
        http.push(flood.make(http))
        assert http.error() in flood.codes, http.goaways


@pytest.mark.parametrize("siege, secure", [*((name, False) for name in SIEGES), ("heads", True), ("answers", True)])
def test_s34_floods_cost_little_and_nobody_else_notices(plainly, siege: str, secure: bool) -> None:
    server = plainly(*(["--tls-self-signed"] if secure else []))
    server.publish("good", "warm")
    with unharmed(server, growth_max=32 * MIB), Http2(server) as bystander:
        stream = bystander.listen("good")
        attack = Attack(server, SIEGES[siege])
        patience = good_clients(server, ATTACK_S)
        ends = attack.ends()
        print(f"{siege}: {ends}; streams: {describe(patience.streams)}; publishes: {describe(patience.publishes)}")
        for name, told in ends.items():
            codes = {f"goaway {code}" for code in FLOODS[name].codes}
            assert set(told) <= codes | {"closed"} and codes & set(told), (name, told)
        patience.check()
        heard = lambda: bystander.answers[stream].body.count(b"data: hello\n")  # noqa: E731
        bystander.until("the bystander has heard everything", lambda: heard() == len(patience.publishes))
        assert not bystander.goaways and not bystander.answers[stream].over


def test_every_flood_is_part_of_a_siege() -> None:
    assert sorted(name for names in SIEGES.values() for name in names) == sorted(FLOODS)


class Attack:
    """A flooder, in a process of its own: its work must not slow the clock of the test."""

    def __init__(self, server: Tidewire, kinds: list[str]) -> None:
        command = [sys.executable, str(FLOODER), ",".join(kinds), str(server.port), str(ATTACK_S), *(["secure"] if server.secure else [])]
        path = {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}
        )
        self._process.stdin.write(json.dumps(dict(server.credentials)) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "begins\n"

    def ends(self) -> dict[str, dict[str, int]]:
        """How the flooder's connections of each kind ended, once it is done."""
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
        # The first head of a connection is the same for all of them.
        opening = attackers[0].opening(attackers[0].head("GET", "/c/x", ("x-long", "x" * 15_000)), flags=END_STREAM)
        head = frame(HEADERS, 1, opening[9:8_000], END_STREAM) + frame(CONTINUATION, 1, opening[8_000:-1])
        for http in attackers:
            http.push(head)
        at_rest(server)
        for http in attackers:
            http.close()


HALVES = [
    ("half_preface", False),
    ("silence", True),
    # Whose deadline is ten seconds, and no setting.
    pytest.param("half_hello", True, marks=pytest.mark.full),
]


@pytest.mark.parametrize("kind, secure", HALVES)
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
    """Almost two hundred of each kind in ten seconds, all on one connection, are allowed."""
    with Http2(server) as http:
        stream = http.listen("x")
        for _ in range(190):
            http.send(window_update(stream, 1) + priority(stream))
        held = http.begin(http.head("POST", "/c/y"), end=False)
        http.send(frame(DATA, held) * 50)
        for _ in range(190):
            # The server has seen it before it is reset, or it would be the flood that is called rapid reset.
            waits = http.request("GET", "/c/x?wait=30")
            http.ping()
            http.reset(waits)
        http.ping()
        assert not http.goaways, http.goaways
