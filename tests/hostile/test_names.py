"""Names, ids and cursors that were something else to other programs. Each test names the advisories that it remembers."""

import json
import random
import string

import pytest
from vitals import unharmed
from wire import TEXT, Wire, frame

V1 = "Sec-WebSocket-Protocol: tidewire.v1"

PROTOTYPES = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "__defineGetter__", "valueOf"]
"""What every object of JavaScript has already."""


@pytest.mark.parametrize("name", PROTOTYPES)
def test_s47_engine_io_cve_2026_59724_and_phoenix_cve_2026_56812_a_name_is_a_value_and_never_a_key(server, name):
    """There, a name that every object knows stood for a session, or for somebody who was present."""
    with unharmed(server), Wire(server) as stream:
        stream.request(f"GET /c/{name},other", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        receipt = server.publish(name, name, tidewire_event=name, idempotency_key=name)
        assert receipt["channel"] == name
        assert server.publish(name, name, tidewire_event=name, idempotency_key=name)["id"] == receipt["id"]
        assert f"event: {name}\n".encode() in stream.until(f"data: {name}\n".encode())
        (message,) = server.poll(name, cursor="earliest")["messages"]
        assert (message["channel"], message["event"], message["data"]) == (name, name, name)
        assert set(message) == {"channel", "id", "event", "data", "time"}
        rows = server.client.get("/v1/channels").json()["channels"]
        assert [row["messages"] for row in rows if row["channel"] == name] == [1]
        assert server.client.get(f"/v1/channels/{name}/history").json()["messages"] == [message]


@pytest.mark.parametrize("name", PROTOTYPES)
def test_s48_engine_io_cve_2026_59724_a_name_that_every_object_knows_is_no_session(server, name):
    server.publish("x", "kept")
    with unharmed(server):
        page = server.client.get("/c/x", params={"sid": name, "cursor": name, name: name}).json()
        assert page["gap"]["reason"] == "epoch"
        page = server.client.get("/c/x", headers={"Last-Event-ID": name}).json()
        assert page["gap"]["reason"] == "epoch"


@pytest.mark.parametrize("name", PROTOTYPES)
def test_s29_phoenix_cve_2026_56812_frames_that_speak_of_such_names_are_answered(server, name):
    frames = {
        "ack": {"type": "subscribe", "channels": [name], "id": name},
        "pong": {"type": "ping", "id": name},
        "error": {"type": "ping", "id": name, name: {name: name}},
    }
    with unharmed(server), Wire(server) as wire:
        assert wire.upgrade("/c/", V1).status == 101
        for answer, asked in frames.items():
            wire.send(frame(TEXT, json.dumps(asked).encode()))
            while (told := json.loads(wire.frame()[1])).get("id") != name:
                assert told["type"] == "ready", told
            assert told["type"] == answer
        # Who is present may be told one day; that somebody has this name is then no surprise either.
        wire.send(frame(TEXT, json.dumps({"type": "presence", "channel": name, "id": 1}).encode()))
        while json.loads(wire.frame()[1]).get("id") != 1:
            pass


def cursors_at_random(chance: random.Random, known: str) -> str:
    """An id of ours that chance has had its way with, or something that never was one."""
    match chance.randrange(5):
        case 0:
            return "".join(chance.choices(string.printable[:94], k=chance.randrange(1, 200)))
        case 1:
            at = chance.randrange(len(known))
            return known[:at] + chance.choice(string.printable[:94]) + known[at + 1 :]
        case 2:
            return known * chance.randrange(1, 40)
        case 3:
            generation, _, seq = known.partition(".")
            return chance.choice([f"{generation}.", f".{seq}", f"{generation}.{'z' * 13}", f"{generation}.-1", f"{seq}.{generation}"])
        case _:
            return f"{chance.randrange(1 << 70)}.{chance.randrange(1 << 70)}"


def test_s48_nchan_1_3_1_to_1_3_7_no_message_id_ends_the_process(server):
    """There, ids that were cut, too long, or of another life of the log crashed the worker that read them."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    known = server.publish("x", "kept")["id"]
    with unharmed(server):
        for _ in range(300):
            cursor = cursors_at_random(chance, known)
            pages = [
                server.client.get("/c/x", params={"cursor": cursor}),
                server.client.get("/c/x", headers={"Last-Event-ID": cursor.strip() or "x"}),
                server.client.get("/c/x", params={"cursor": cursor, "wait": 0}),
                server.client.get("/v1/channels/x/history", params={"cursor": cursor}),
            ]
            assert [page.status_code for page in pages] == [200] * 4, cursor
            assert all("cursor" in page.json() for page in pages), cursor


def test_s48_nchan_the_same_ids_on_streams_and_sockets(server):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    known = server.publish("x", "kept")["id"]
    with unharmed(server), Wire(server) as v1:
        assert v1.upgrade("/c/", V1).status == 101
        for n in range(100):
            cursor = cursors_at_random(chance, known)
            with Wire(server) as stream:
                stream.request("GET /c/x", "Accept: text/event-stream", f"Last-Event-ID: {cursor.strip() or 'x'}")
                stream.until(b"event: $ready\n")
            v1.send(frame(TEXT, json.dumps({"type": "subscribe", "id": n, "channels": ["x"], "cursor": cursor}).encode()))
            while (told := json.loads(v1.frame()[1])).get("id") != n:
                pass
            assert told["type"] == "ack", (cursor, told)
