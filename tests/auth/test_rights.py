"""S25, S26, S27: rights end when they are over or taken back, on connections that are open, and for whoever comes back."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from httpx_sse import ServerSentEvent, connect_sse
from keys import Visit, bearer, token
from stage import Tidewire, dispatched, eventually
from wire import TEXT, Wire, frame

ENDS_WITHIN_S = 5.0
"""Of the end of a token (S25)."""

CLOCKS_DIFFER_S = 0.1
"""The server counts on from when it read the token, on another clock."""

CUT_WITHIN_S = 1.0
"""Of a revocation (S26)."""


def stream_end(server: Tidewire, credential: str, channels: str) -> Callable[[], str]:
    """Opens a stream. What comes back waits for its end, and says why it came."""
    wire = Wire(Visit(server, bearer(credential)))
    wire.request(f"GET /c/{channels}", "Accept: text/event-stream")
    wire.until(b"event: $ready\n")

    def end() -> str:
        wire.until(b"event: $expired\ndata: ")
        reason = json.loads(wire.until(b"\n\n"))["reason"]
        assert b"data:" not in wire.until(b"0\r\n\r\n"), "a clean end"
        return reason

    return end


def v1_end(server: Tidewire, credential: str, channels: str) -> Callable[[], str]:
    """The same for a WebSocket that speaks `tidewire.v1`."""
    socket = V1(server, credential, channels)

    def end() -> str:
        said = socket.hears()
        assert said["type"] == "expired" and socket.wire.close_frame()[0] == 4401
        return said["reason"]

    return end


def raw_end(server: Tidewire, credential: str, channels: str) -> Callable[[], str]:
    """The same for a raw WebSocket, which has no words for it but a code."""
    wire = Wire(Visit(server, bearer(credential)))
    assert wire.upgrade(f"/c/{channels}").status == 101

    def end() -> str:
        assert wire.close_frame()[0] == 4401
        return ""

    return end


def poll_end(server: Tidewire, credential: str, channels: str) -> Callable[[], str]:
    """The same for a poll that waits, which is answered as if its time were over."""
    wire = Wire(Visit(server, bearer(credential)))
    wire.request(f"GET /c/{channels}?wait=60")

    def end() -> str:
        response = wire.response()
        assert (response.status, json.loads(response.body)["messages"]) == (200, [])
        return ""

    return end


WAYS = {"stream": stream_end, "v1": v1_end, "raw": raw_end, "poll": poll_end}


def everywhere(server: Tidewire, credential: str, channels: str) -> dict[str, Callable[[], str]]:
    """Opens one subscription of each kind, and waits until all of them have joined."""
    ends = {name: way(server, credential, channels) for name, way in WAYS.items()}
    want = {"sse": 1, "ws": 2, "poll": 1}
    eventually("all have joined", lambda: receivers(server).get(channels.split(",")[0]) == want)
    return ends


class V1:
    """A WebSocket that speaks `tidewire.v1`, and is ready."""

    def __init__(self, server: Tidewire, credential: str, channels: str) -> None:
        self.wire = Wire(Visit(server, bearer(credential)))
        assert self.wire.upgrade(f"/c/{channels}", "Sec-WebSocket-Protocol: tidewire.v1").status == 101
        assert self.hears()["type"] == "ready"

    def hears(self) -> dict:
        """The next frame."""
        opcode, payload = self.wire.frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def asks(self, type: str, **fields: object) -> dict:
        """Sends a frame, and gives its answer; what else comes meanwhile is passed over."""
        self.wire.send(frame(TEXT, json.dumps({"type": type, "id": type, **fields}).encode()))
        while (said := self.hears()).get("id") != type:
            pass
        return said


def stream_of(server: Tidewire, *headers: str, path: str = "/c/x") -> int:
    """A stream of somebody who shows these header fields alone, and its status."""
    with Wire(Visit(server)) as wire:
        wire.request(f"GET {path}", "Accept: text/event-stream", *headers)
        return wire.head().status


def receivers(server: Tidewire) -> dict[str, dict[str, int]]:
    listed = server.client.get("/v1/channels").json()["channels"]
    return {channel["channel"]: channel["receivers"] for channel in listed}


@contextmanager
def resumed(server: Tidewire, credential: str, channels: str, cursor: str) -> Iterator[Iterator[ServerSentEvent]]:
    """A stream as a browser that comes back opens it: its events."""
    headers = {"Last-Event-ID": cursor, **bearer(credential)}
    with connect_sse(server.client, "GET", f"/c/{channels}", headers=headers) as source:
        yield dispatched(source)


def asks(server: Tidewire, credential: str, channels: str, **query: object) -> int:
    """A poll of somebody, and its status."""
    return server.client.get(f"/c/{channels}", params=query, headers=bearer(credential)).status_code


def a_second_later() -> None:
    """Tokens say in whole seconds when they were issued: one of this second is not newer than a revocation of it."""
    until = int(time.time()) + 1
    eventually("the next second has begun", lambda: time.time() >= until)


def test_s25_a_connection_ends_with_its_token(server):
    over = int(time.time()) + 2
    ends = everywhere(server, token("alice", "x", exp=over), "x")
    for name, reason in {"stream": "expired", "v1": "expired", "raw": "", "poll": ""}.items():
        assert ends[name]() == reason
        assert -CLOCKS_DIFFER_S <= time.time() - over <= ENDS_WITHIN_S, name
    assert receivers(server) == {}


def test_s25_a_new_token_keeps_a_websocket_open_and_another_ones_does_not(server):
    over = int(time.time()) + 2
    alice = V1(server, token("alice", "x", exp=over), "x")
    other = V1(server, token("alice", "x", exp=over), "x")
    assert alice.asks("refresh", token=token("alice", "x"))["type"] == "ack"
    assert other.asks("refresh", token=token("bob", "x"))["code"] == "forbidden"
    assert other.asks("refresh", token=token("alice", "x", secret="x" * 40))["code"] == "unauthorized"
    assert other.hears()["reason"] == "expired"
    assert other.wire.close_frame()[0] == 4401
    assert time.time() >= over - CLOCKS_DIFFER_S
    server.publish("x", "still here")
    assert alice.hears()["data"] == "still here"


def test_s25_a_new_token_brings_its_own_rights(server):
    socket = V1(server, token("alice", "x", "y"), "x,y")
    assert socket.asks("refresh", token=token("alice", "x", "z"))["type"] == "ack"
    assert socket.hears() == {"type": "expired", "channels": ["y"]}
    server.publish("y", "not for Alice any more")
    server.publish("x", "for Alice")
    assert socket.hears()["data"] == "for Alice"
    assert socket.asks("subscribe", channels=["y"])["code"] == "forbidden"
    assert socket.asks("publish", channel="y", data="")["code"] == "forbidden"
    assert socket.asks("subscribe", channels=["z"])["type"] == "ack"


REVOCATIONS = {
    # What is revoked, and a token that it does not concern.
    "sub": ({"sub": "alice"}, token("bob", "x", jti="b")),
    "jti": ({"jti": "a"}, token("alice", "x", jti="b")),
    "channel": ({"channel": "x"}, token("alice", "y", jti="b")),
}


@pytest.mark.parametrize("kind", REVOCATIONS)
def test_s26_a_revocation_cuts_who_listens_and_bars_the_return(server, kind):
    revoked, other = REVOCATIONS[kind]
    alice = token("alice", "x", jti="a")
    ticket = server.client.post("/v1/tickets", headers=bearer(alice)).json()["ticket"]
    shows = [(f"Authorization: Bearer {alice}",), (f"Cookie: session={alice}", "Sec-Fetch-Site: same-origin")]
    for shown in shows:
        assert stream_of(server, *shown) == 200
    elsewhere = "y" if kind == "channel" else "x"
    ends = everywhere(server, alice, "x")
    stays = V1(server, other, elsewhere)
    began = time.monotonic()
    assert server.client.post("/v1/revoke", json=revoked).status_code == 200
    for name, reason in {"stream": "revoked", "v1": "revoked", "raw": "", "poll": ""}.items():
        assert ends[name]() == reason
        assert time.monotonic() - began <= CUT_WITHIN_S, name
    server.publish(elsewhere, "for who stays")
    assert stays.hears()["data"] == "for who stays"
    for query in ({}, {"wait": 1}, {"cursor": "earliest"}, {"tail": 1}):
        assert asks(server, alice, "x", **query) == 401, query
    for shown in shows:
        assert stream_of(server, *shown) == 401, shown[1:]
    assert stream_of(server, path=f"/c/x?ticket={ticket}") == 401, "one that was bought before"
    a_second_later()
    assert asks(server, token("alice", "x", jti="c"), "x") == 200, "a new token is as good as any"


@pytest.mark.parametrize("kind", ["sub", "jti"])
def test_s26_who_was_revoked_cannot_publish_buy_tickets_or_refresh(server, kind):
    alice = token("alice", "x", jti="a")
    socket = V1(server, token("alice", "x", jti="b", iat=int(time.time()) + 2), "x")
    assert server.client.post("/v1/revoke", json=REVOCATIONS[kind][0]).status_code == 200
    assert server.client.post("/c/x", content="x", headers=bearer(alice)).status_code == 401
    assert server.client.post("/v1/publish", json={"messages": []}, headers=bearer(alice)).status_code == 401
    assert server.client.post("/v1/tickets", headers=bearer(alice)).status_code == 401
    assert socket.asks("refresh", token=alice)["type"] == "error"
    assert server.texts("x") == []


def test_s26_a_channel_that_was_taken_back_is_out_of_reach_for_who_is_still_here(server):
    alice = token("alice", "x", "y", jti="a")
    ticket = server.client.post("/v1/tickets", headers=bearer(alice)).json()["ticket"]
    socket = V1(server, alice, "y")
    assert server.client.post("/v1/revoke", json={"channel": "x"}).status_code == 200
    assert socket.asks("subscribe", channels=["x"])["code"] == "revoked"
    assert socket.asks("subscribe", channels=["x"], cursor="earliest")["code"] == "revoked"
    assert socket.asks("publish", channel="x", data="")["code"] == "revoked"
    assert server.client.post("/c/x", content="", headers=bearer(alice)).status_code == 401
    batch = {"messages": [{"channel": "x", "data": ""}, {"channel": "y", "data": ""}]}
    results = server.client.post("/v1/publish", json=batch, headers=bearer(alice)).json()["results"]
    assert results[0]["code"] == "revoked" and results[1]["id"]
    assert stream_of(server, path=f"/c/x?ticket={ticket}") == 401
    assert server.texts("x") == []


def test_s26_the_cookie_of_a_ticket_does_not_outlive_a_revocation(server):
    ticket = server.client.post("/v1/tickets", headers=bearer(token("alice", "x"))).json()["ticket"]
    path = f"/c/x?ticket={ticket}"
    with Wire(Visit(server)) as wire:
        wire.request(f"GET {path}", "Accept: text/event-stream")
        cookie = f"Cookie: {wire.head().headers['set-cookie'].split(';')[0]}"
    assert stream_of(server, cookie, path=path) == 200
    server.client.post("/v1/revoke", json={"sub": "alice"})
    assert stream_of(server, cookie, path=path) == 401


def test_s26_only_an_admin_revokes(server):
    alice = token("alice", "x")
    for headers, status in ((bearer(alice), 403), ({"Authorization": ""}, 401)):
        assert server.client.post("/v1/revoke", json={"sub": "bob"}, headers=headers).status_code == status
    assert asks(server, token("bob", "x"), "x") == 200


def test_s27_whoever_comes_back_with_less_sees_nothing_of_what_was_taken(server):
    old = token("alice", "x", "y")
    cursor = server.publish("x", "seen")["id"]
    with resumed(server, old, "x,y", cursor) as events:
        assert next(events).event == "$ready"
    for n in range(3):
        server.publish("x", f"x{n}")
        server.publish("y", f"y{n}")
    less = token("alice", "x", history=[])
    assert asks(server, less, "x,y", cursor=cursor) == 403
    assert asks(server, less, "y", cursor=cursor) == 403
    page = server.client.get("/c/x", params={"cursor": cursor}, headers=bearer(less)).json()
    assert [message["data"] for message in page["messages"]] == ["x0", "x1", "x2"]
    for query in ({"cursor": "earliest"}, {"tail": 1}):
        assert asks(server, less, "x", **query) == 403, query
    with resumed(server, less, "x", cursor) as events:
        assert next(events).event == "$ready"
        assert [next(events).data for _ in range(3)] == ["x0", "x1", "x2"]
    socket = V1(server, less, "x")
    answer = socket.asks("subscribe", channels=["y"], cursor=cursor)
    assert (answer["type"], answer["code"]) == ("error", "forbidden")
    assert socket.asks("subscribe", channels=["x"], cursor="earliest")["code"] == "forbidden"


def test_s27_a_cursor_of_one_channel_opens_no_other(server):
    """An id is the same for every subscriber, and so it is no credential."""
    server.publish("secret", "not for Bob")
    cursor = server.publish("x", "for Bob")["id"]
    bob = token("bob", "x")
    assert asks(server, bob, "secret", cursor=cursor) == 403
    assert asks(server, bob, "x,secret", cursor=cursor) == 403
    assert asks(server, bob, "x", cursor=cursor) == 200


def test_s28_a_channel_of_one_user_is_nobody_elses_whatever_a_pattern_says(server):
    server.publish("user:alice", "for Alice")
    greedy = token("bob", "*", "user:*", "user:alice")
    assert asks(server, greedy, "user:alice", tail=1) == 403
    assert asks(server, greedy, "user:bob", tail=1) == 200
    assert asks(server, token("alice"), "user:alice") == 200
