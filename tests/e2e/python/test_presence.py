"""Presence: who is connected to a channel, over every way to see it (docs/protocol.md, "Presence")."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from keys import GUARDED, Visit, bearer, token
from stage import ACCESSES, PATIENCE, Tidewire, eventually
from websockets.sync.client import connect
from wire import Wire

STREAM = "Accept: text/event-stream"
KEPT = {"namespace.chat.presence": "true", "limits.presence_grace": "1s"}


def rights(*channels: str, presence: list[str] | None = None) -> dict:
    """What a token says that may listen to `channels`, and see the presence of all or of `presence`."""
    seen = list(channels) if presence is None else presence
    return {"channels": {"subscribe": list(channels), "publish": list(channels), "presence": seen}}


@pytest.fixture
def chat(serve) -> Tidewire:
    return serve(access=GUARDED, **KEPT)


def as_one(server: Tidewire, sub: str, **claims: object) -> Visit:
    return Visit(server, bearer(token(sub, **{**rights("chat:1"), **claims})))


@contextmanager
def stream(visit: Visit, channels: str = "chat:1") -> Iterator[Wire]:
    """An open stream that has said `$ready`."""
    with Wire(visit) as wire:
        wire.request(f"GET /c/{channels} HTTP/1.0", STREAM)
        wire.until(b"event: $ready\n")
        wire.until(b"\n\n")
        yield wire


@contextmanager
def socket(visit: Visit, path: str = "/c/chat:1"):
    options = {"additional_headers": dict(visit.credentials), "subprotocols": ["tidewire.v1"]}
    with connect(f"{visit.server.ws_url}{path}", open_timeout=PATIENCE, proxy=None, **options) as open_socket:
        frame = json.loads(open_socket.recv(PATIENCE))
        assert frame["type"] == "ready", frame
        yield open_socket


def ask(socket, channel: str = "chat:1") -> dict:
    """The answer to a `presence` frame, past what is told meanwhile."""
    socket.send(json.dumps({"type": "presence", "channel": channel, "id": "?"}))
    while (frame := json.loads(socket.recv(PATIENCE))).get("id") != "?":
        pass
    return frame


def told(wire: Wire) -> dict:
    """The next change that a stream is told, past heartbeats."""
    while not (block := wire.until(b"\n\n").decode()).startswith("event: $presence\n"):
        pass
    assert "\nid:" not in block
    return json.loads(block.split("data: ", 1)[1])


def members(server: Tidewire, channel: str = "chat:1") -> dict[str, int]:
    answer = server.client.get(f"/v1/channels/{channel}/presence")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["channel"] == channel and body["count"] == len(body["members"]) and not body["more"], body
    return {member["subject"]: member["sessions"] for member in body["members"]}


def test_a_subject_is_a_member_once_however_it_is_connected(chat):
    alice = as_one(chat, "alice")
    assert members(chat) == {}
    with stream(alice), socket(alice), Wire(alice) as raw, Wire(as_one(chat, "bob")) as poll:
        assert raw.upgrade("/c/chat:1").status == 101
        poll.request("GET /c/chat:1?wait=30")
        eventually("all are counted", lambda: members(chat) == {"alice": 3, "bob": 1})
    eventually("all are gone", lambda: members(chat) == {})


def test_a_stream_is_told_who_comes_and_goes(chat):
    with stream(as_one(chat, "alice")) as alice:
        with stream(as_one(chat, "bob")), stream(as_one(chat, "bob")):
            assert told(alice) == {"channel": "chat:1", "event": "join", "subject": "bob"}
        assert told(alice) == {"channel": "chat:1", "event": "leave", "subject": "bob"}


def test_v1_is_told_and_may_ask(chat):
    with socket(as_one(chat, "alice")) as alice:
        with stream(as_one(chat, "bob")):
            joined = json.loads(alice.recv(PATIENCE))
            assert joined == {"type": "presence", "channel": "chat:1", "event": "join", "subject": "bob"}
            answer = ask(alice)
            assert (answer["type"], answer["count"], answer["more"]) == ("ack", 2, False)
            assert answer["members"] == [{"subject": "alice", "sessions": 1}, {"subject": "bob", "sessions": 1}]
        left = json.loads(alice.recv(PATIENCE))
        assert left == {"type": "presence", "channel": "chat:1", "event": "leave", "subject": "bob"}


def test_joining_and_leaving_by_frame_counts_too(chat):
    with stream(as_one(chat, "alice")) as alice, socket(as_one(chat, "bob"), "/c/") as bob:
        subscribe = {"type": "subscribe", "channels": ["chat:1"]}
        for _ in range(2):
            bob.send(json.dumps(subscribe))
            json.loads(bob.recv(PATIENCE))
        assert told(alice)["event"] == "join"
        eventually("twice is once", lambda: members(chat) == {"alice": 1, "bob": 1})
        bob.send(json.dumps({"type": "unsubscribe", "channels": ["chat:1"]}))
        assert told(alice) == {"channel": "chat:1", "event": "leave", "subject": "bob"}


def test_who_is_back_within_the_grace_has_never_been_away(serve):
    server = serve(access=GUARDED, **{**KEPT, "limits.presence_grace": "30s"})
    with stream(as_one(server, "alice")) as alice:
        with stream(as_one(server, "bob")):
            assert told(alice)["event"] == "join"
        eventually("bob may still come back", lambda: members(server) == {"alice": 1, "bob": 0})
        with stream(as_one(server, "bob")), stream(as_one(server, "carol")):
            # What comes next is about somebody else.
            assert told(alice) == {"channel": "chat:1", "event": "join", "subject": "carol"}


def test_s6_a_refused_request_never_joins(chat):
    with stream(as_one(chat, "alice")) as alice:
        for visit, path, status in [
            (Visit(chat), "/c/chat:1", 401),
            (as_one(chat, "mallory", **rights("news")), "/c/chat:1", 403),
            (as_one(chat, "mallory"), "/c/chat:1,news", 403),
        ]:
            with Wire(visit) as wire:
                wire.request(f"GET {path}", STREAM)
                assert wire.response().status == status
        assert members(chat) == {"alice": 1}
        with stream(as_one(chat, "bob")):
            assert told(alice)["subject"] == "bob", "nobody else was told of"


def test_a_short_poll_is_no_member(chat):
    with Wire(as_one(chat, "alice")) as wire:
        wire.request("GET /c/chat:1")
        assert wire.response().status == 200
    assert members(chat) == {}


def test_s27_presence_needs_a_right_of_its_own(chat):
    blind = as_one(chat, "blind", **rights("chat:1", presence=[]))
    answer = chat.client.get("/v1/channels/chat:1/presence", headers=dict(blind.credentials))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    with stream(blind) as deaf, socket(blind) as asking:
        assert ask(asking)["code"] == "forbidden"
        with stream(as_one(chat, "bob")):
            chat.publish("chat:1", "mark")
            assert deaf.until(b"\n\n").startswith(b"data: mark\n"), "nothing came before it"


def test_a_token_that_may_see_a_channels_presence_needs_no_api_key(chat):
    alice = as_one(chat, "alice")
    with stream(as_one(chat, "bob")):
        answer = chat.client.get("/v1/channels/chat:1/presence", headers=dict(alice.credentials))
    assert answer.status_code == 200, answer.text
    assert [member["subject"] for member in answer.json()["members"]] == ["bob"]
    assert chat.client.get("/v1/channels", headers=dict(alice.credentials)).status_code == 403


def test_where_no_presence_is_kept_it_cannot_be_asked_for(chat):
    answer = chat.client.get("/v1/channels/news/presence")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "namespace.news" in answer.json()["detail"]


def test_a_stream_of_several_channels_is_told_which(chat):
    alice = as_one(chat, "alice", **rights("chat:1", "chat:2", "news"))
    with stream(alice, "chat:1,chat:2,news") as both, stream(as_one(chat, "bob", **rights("chat:2")), "chat:2"):
        assert told(both) == {"channel": "chat:2", "event": "join", "subject": "bob"}
    eventually("all are gone", lambda: members(chat, "chat:1") == members(chat, "chat:2") == {})


def test_s26_revoked_rights_end_membership(chat):
    with stream(as_one(chat, "alice")) as alice, stream(as_one(chat, "bob")) as bob:
        assert told(alice)["event"] == "join"
        assert chat.client.post("/v1/revoke", json={"sub": "bob"}).status_code == 200
        assert b"$expired" in bob.rest()
        assert told(alice) == {"channel": "chat:1", "event": "leave", "subject": "bob"}


def test_rights_that_are_renewed_to_less_end_membership_of_what_they_lost(chat):
    bob = as_one(chat, "bob", **rights("chat:1", "chat:2"))
    with stream(as_one(chat, "alice")) as alice, socket(bob, "/c/chat:1,chat:2") as renewed:
        assert told(alice)["event"] == "join"
        renewed.send(json.dumps({"type": "refresh", "token": token("bob", **rights("chat:2"))}))
        assert told(alice) == {"channel": "chat:1", "event": "leave", "subject": "bob"}
        assert members(chat, "chat:2") == {"bob": 1}


def test_s29_a_member_is_called_as_its_credentials_say(chat):
    odd = "\"},\n\ndata: é <script>"
    with stream(as_one(chat, "alice")) as alice, stream(as_one(chat, odd)), stream(Visit(chat, chat.credentials)):
        assert [told(alice)["subject"], told(alice)["subject"]] == [odd, "key:tests"]
        assert members(chat) == {"alice": 1, odd: 1, "key:tests": 1}


def test_in_dev_mode_everybody_is_a_guest(serve):
    server = serve(access=ACCESSES["dev"], **KEPT)
    with stream(Visit(server)), stream(Visit(server)):
        names = list(members(server))
        assert len(set(names)) == 2 and all(name.startswith("guest-") for name in names), names


def test_a_crowd_is_told_of_in_part_and_the_rest_as_missed(chat):
    crowd = [as_one(chat, f"one-{n:03}") for n in range(160)]
    with stream(as_one(chat, "alice")) as alice:
        wires = [Wire(visit) for visit in crowd]
        for wire in wires:
            wire.request("GET /c/chat:1 HTTP/1.0", STREAM)
        heard = []
        while not heard or heard[-1]["event"] == "join":
            heard.append(told(alice))
        eventually("all are counted", lambda: len(members(chat)) == 161)
        for wire in wires:
            wire.close()
    eventually("all are gone", lambda: members(chat) == {})
    assert heard[-1] == {"channel": "chat:1", "event": "missed"} and len(heard) <= 101, heard[-1]


def test_f19_a_client_that_vanishes_is_no_member_for_long(serve):
    server = serve(access=GUARDED, **KEPT, **{"limits.ping": "200ms", "limits.silence_max": "600ms"})
    with Wire(as_one(server, "alice")) as silent:
        assert silent.upgrade("/c/chat:1").status == 101
        assert members(server) == {"alice": 1}
        started = time.monotonic()
        eventually("it is reaped", lambda: members(server) == {})
        assert time.monotonic() - started < 10
