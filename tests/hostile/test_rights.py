"""How rights end on connections that live long: in time, at once when they are revoked, and for the past as for the present."""

import json
import time
from collections.abc import Iterator

import pytest
from keys import GUARDED, Visit, bearer, token
from stage import Tidewire
from wire import TEXT, Wire, frame

LATE_MAX_S = 5.0
"""How long rights may outlive their token (S25)."""

KICK_MAX_S = 1.0
"""How long they may outlive their revocation (S26)."""

V1 = "Sec-WebSocket-Protocol: tidewire.v1"


@pytest.fixture
def server() -> Iterator[Tidewire]:
    """A server that asks who comes."""
    server = Tidewire({}, (), GUARDED)
    yield server
    server.end()


class Listener:
    """Somebody who listens to `prices`, in one of the three ways that last."""

    def __init__(self, server: Tidewire, form: str, credential: str, channels: str = "prices") -> None:
        self.form = form
        self.wire = Wire(Visit(server, bearer(credential)))
        if form == "sse":
            self.wire.request(f"GET /c/{channels}", "Accept: text/event-stream")
            self.wire.until(b"event: $ready\n")
            return
        answer = self.wire.upgrade(f"/c/{channels}", *([V1] if form == "v1" else []))
        assert answer.status == 101, answer
        if form == "v1":
            assert self.hear()["type"] == "ready"

    def hear(self) -> dict:
        """The next frame of `tidewire.v1`."""
        opcode, payload = self.wire.frame()
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def ask(self, **said: object) -> dict:
        """Says something in `tidewire.v1`, and returns the answer."""
        self.wire.send(frame(TEXT, json.dumps({"id": 1, **said}).encode()))
        while (heard := self.hear()).get("id") != 1:
            pass
        return heard

    def ends_because(self, reason: str) -> None:
        """Waits for the end that this form has for rights that ended."""
        if self.form == "sse":
            self.wire.until(b"event: $expired\n")
            assert json.loads(self.wire.until(b"\n").removeprefix(b"data: ")) == {"reason": reason}
            # The last chunk: the stream has ended as it should, whether or not its connection goes on.
            self.wire.until(b"\r\n0\r\n\r\n")
            return
        if self.form == "v1":
            heard = self.hear()
            assert (heard["type"], heard["reason"]) == ("expired", reason)
        assert self.wire.close_frame()[0] == 4401


FORMS = ["sse", "raw", "v1"]


@pytest.mark.parametrize("form", FORMS)
def test_s25_a_connection_ends_with_its_token(server: Tidewire, form: str) -> None:
    short = token("alice", "prices", lasts_s=2)
    ends = int(time.time() + 2)
    listener = Listener(server, form, short)
    listener.ends_because("expired")
    assert ends - 0.1 <= time.time() <= ends + LATE_MAX_S


def test_s25_a_token_is_renewed_in_band_and_only_by_one_of_the_same_subject(server: Tidewire) -> None:
    listener = Listener(server, "v1", token("alice", "prices", "news", lasts_s=2), "prices,news")
    assert listener.ask(type="refresh", token=token("mallory", "prices"))["type"] == "error"
    assert listener.ask(type="refresh", token="no.token.atall")["type"] == "error"
    assert listener.ask(type="refresh", token=token("alice", "prices"))["type"] == "ack"
    ended = time.time() + 3
    while time.time() < ended:
        time.sleep(0.2)
    assert listener.ask(type="ping")["type"] == "pong", "the new token counts, not the old one's end"
    # What the new token does not hold has ended with the old one.
    server.publish("news", "not for alice any more")
    server.publish("prices", "for alice")
    heard = listener.hear()
    assert (heard["channel"], heard["data"]) == ("prices", "for alice")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["sub", "jti", "channel"])
def test_s26_revoked_rights_end_at_once_and_do_not_come_back(server: Tidewire, form: str, what: str) -> None:
    revoked = token("alice", "prices", jti="t-1")
    listeners = [Listener(server, form, revoked) for _ in range(10)]
    bystander = Listener(server, "v1", token("bob", "news", jti="t-2"), "news")
    value = {"sub": "alice", "jti": "t-1", "channel": "prices"}[what]
    began = time.monotonic()
    assert server.client.post("/v1/revoke", json={what: value}).status_code == 200
    for listener in listeners:
        listener.ends_because("revoked")
    assert time.monotonic() - began <= KICK_MAX_S
    for accept in ("text/event-stream", "*/*"):
        with Wire(Visit(server, bearer(revoked))) as wire:
            wire.request("GET /c/prices", f"Accept: {accept}")
            assert wire.response().status in (401, 403)
    with Wire(Visit(server, bearer(revoked))) as wire:
        assert wire.upgrade("/c/prices").status in (401, 403)
    assert bystander.ask(type="ping")["type"] == "pong"


def test_s27_the_past_is_read_with_the_rights_of_today(server: Tidewire) -> None:
    start = server.poll("prices,news")["cursor"]
    for number in range(3):
        server.publish("prices", f"price {number}")
        server.publish("news", f"news {number}")
    wide, narrow = token("alice", "prices", "news"), token("alice", "news")

    def read(credential: str, channels: str, cursor: str):
        return server.client.get(f"/c/{channels}", params={"cursor": cursor}, headers=bearer(credential))

    assert len(read(wide, "prices,news", start).json()["messages"]) == 6
    for channels in ("prices", "prices,news"):
        for cursor in (start, "earliest"):
            refused = read(narrow, channels, cursor)
            assert refused.status_code == 403 and "price " not in refused.text
    assert {message["channel"] for message in read(narrow, "news", start).json()["messages"]} == {"news"}

    # On an open connection, too: what was given up by a refresh cannot be resumed.
    listener = Listener(server, "v1", wide, "prices,news")
    assert listener.ask(type="refresh", token=narrow)["type"] == "ack"
    answer = listener.ask(type="subscribe", channels=["prices"], cursor=start)
    assert (answer["type"], answer["code"]) == ("error", "forbidden")
    assert listener.ask(type="subscribe", channels=["news"], cursor=start)["type"] == "ack"


def test_s27_a_cursor_of_another_is_no_key_to_the_past(server: Tidewire) -> None:
    server.publish("prices", "old")
    without = token("alice", "prices", history=[])
    for query in ({"cursor": "earliest"}, {"tail": 5}):
        assert server.client.get("/c/prices", params=query, headers=bearer(without)).status_code == 403
    assert server.client.get("/c/prices", headers=bearer(without)).json()["messages"] == []


def test_s32_only_get_opens_a_websocket(server: Tidewire) -> None:
    for method in ("POST", "PUT", "HEAD", "OPTIONS", "DELETE"):
        with Wire(server) as wire:
            wire.request(
                f"{method} /c/x",
                *("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw=="),
            )
            assert wire.head().status != 101, method


def test_s44_a_poll_is_json_whatever_a_script_asks_for(server: Tidewire) -> None:
    """JSONP is not offered: what a page may not read it may not run either."""
    server.publish("x", "</script><script>alert(1)</script>")
    for query in ("callback=alert", "jsonp=alert", "cb=alert&format=jsonp", "wait=1&callback=alert&cursor=earliest"):
        for accept in ("application/javascript", "text/javascript", "*/*"):
            answer = server.client.get(f"/c/x?{query}", headers={"Accept": accept})
            assert answer.headers["content-type"] == "application/json" and answer.text.startswith('{"messages":')
            assert answer.headers["x-content-type-options"] == "nosniff"
