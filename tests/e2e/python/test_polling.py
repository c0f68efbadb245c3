"""Short and long polling, and what history promises to both (docs/protocol.md, "Polling")."""

import json
import threading
import time

import httpx
import pytest
from stage import PATIENCE, eventually
from wire import Wire


def data(page: dict) -> list[str]:
    return [message["data"] for message in page["messages"]]


def test_without_a_cursor_a_poll_answers_the_cursor_of_now(server):
    newest = server.publish("x", "before")["id"]
    page = server.poll("x")
    assert page == {"messages": [], "cursor": newest, "more": False, "gap": None}
    server.publish("x", "after")
    assert data(server.poll("x", cursor=page["cursor"])) == ["after"]


def test_an_envelope_says_where_what_and_when(server):
    receipt = server.publish("x", "hello", tidewire_event="greeting")
    (message,) = server.poll("x", cursor="earliest")["messages"]
    assert abs(message.pop("time") / 1000 - time.time()) < 60
    assert message == {"channel": "x", "id": receipt["id"], "event": "greeting", "data": "hello"}


def test_s44_a_short_poll_may_be_kept_only_by_the_one_who_asked(server):
    answer = server.client.get("/c/x")
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    long = server.client.get("/c/x", params={"wait": 0})
    assert "no-store" in long.headers["cache-control"]


def test_tail_and_earliest(server):
    for n in range(5):
        server.publish("x", str(n))
    assert data(server.poll("x", tail=2)) == ["3", "4"]
    assert data(server.poll("x", tail=99)) == ["0", "1", "2", "3", "4"]
    assert data(server.poll("x", cursor="earliest")) == ["0", "1", "2", "3", "4"]


def test_the_header_beats_the_cursor_and_the_cursor_beats_tail(server):
    ids = [server.publish("x", str(n))["id"] for n in range(4)]
    answer = server.client.get("/c/x", params={"cursor": ids[0], "tail": 4}, headers={"Last-Event-ID": ids[2]})
    assert data(answer.json()) == ["3"]
    assert data(server.poll("x", cursor=ids[1], tail=4)) == ["2", "3"]


def test_a_page_holds_a_mebibyte_and_more_says_that_there_is_more(server):
    sent = [f"{n} {'x' * 60_000}" for n in range(25)]
    for text in sent:
        server.publish("x", text)
    got, cursor, pages = [], "earliest", 0
    while True:
        page = server.poll("x", cursor=cursor)
        got += data(page)
        cursor, pages = page["cursor"], pages + 1
        if not page["more"]:
            break
    assert got == sent
    assert pages > 1


def test_an_etag_saves_the_body_until_something_changes(server):
    server.publish("x", "1")
    first = server.client.get("/c/x?cursor=earliest")
    etag = {"If-None-Match": first.headers["etag"]}
    same = server.client.get("/c/x?cursor=earliest", headers=etag)
    assert (same.status_code, same.content) == (304, b"")
    server.publish("elsewhere", "does not touch x")
    assert server.client.get("/c/x?cursor=earliest", headers=etag).status_code == 304
    server.publish("x", "2")
    changed = server.client.get("/c/x?cursor=earliest", headers=etag)
    assert (changed.status_code, data(changed.json())) == (200, ["1", "2"])
    assert changed.headers["etag"] != first.headers["etag"]


def test_r7_an_etag_of_before_a_restart_is_no_304(server):
    cursor = server.publish("x", "1")["id"]
    etag = server.client.get("/c/x", params={"cursor": cursor}).headers["etag"]
    server.restart()
    server.publish("x", "1")
    answer = server.client.get("/c/x", params={"cursor": cursor}, headers={"If-None-Match": etag})
    assert answer.status_code == 200
    assert answer.json()["gap"]["reason"] == "epoch"


def test_r5_a_trimmed_history_is_a_gap_with_a_cursor_to_go_on_from(serve):
    server = serve(**{"history.messages_max": 3})
    ids = [server.publish("x", str(n))["id"] for n in range(10)]
    page = server.poll("x", cursor=ids[0])
    assert (page["gap"]["reason"], page["gap"]["channels"]) == ("trimmed", ["x"])
    assert data(page) == ["7", "8", "9"]
    assert data(server.poll("x", cursor=page["gap"]["cursor"])) == ["7", "8", "9"]
    assert server.poll("x", cursor=page["gap"]["cursor"])["gap"] is None
    assert server.poll("x", cursor=ids[6])["gap"] is None, "the oldest that is kept follows it: nothing is missing"


def test_messages_older_than_the_ttl_are_gone_and_missed(serve):
    server = serve(**{"history.ttl": "1s"})
    start = server.poll("x")["cursor"]
    server.publish("x", "short-lived")
    assert data(server.poll("x", cursor=start)) == ["short-lived"]
    eventually("the message is trimmed", lambda: server.poll("x", cursor="earliest")["messages"] == [])
    assert server.poll("x", cursor=start)["gap"]["reason"] == "trimmed"


def test_history_can_be_switched_off_and_its_absence_is_a_gap(serve):
    server = serve(**{"history.messages_max": 0})
    start = server.poll("x")["cursor"]
    assert server.poll("x", cursor=start)["gap"] is None
    server.publish("x", "gone")
    page = server.poll("x", cursor=start)
    assert (data(page), page["gap"]["reason"]) == ([], "trimmed")


def test_a_long_poll_answers_when_something_arrives(server):
    cursor = server.poll("x,y")["cursor"]
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(httpx.get(f"{server.url}/c/x,y?wait=30&cursor={cursor}", timeout=PATIENCE, trust_env=False).json()))
    waiting.start()
    eventually("the poll waits", lambda: receivers(server, "y") == 1)
    receipt = server.publish("x", "now")
    waiting.join(PATIENCE)
    assert answers[0]["messages"][0]["id"] == receipt["id"]


def receivers(server, channel: str) -> int:
    """Polls that wait on a channel, as the server lists them."""
    listed = server.client.get("/v1/channels").json()["channels"]
    return next((one["receivers"]["poll"] for one in listed if one["channel"] == channel), 0)


def test_a_long_poll_that_has_something_to_say_does_not_wait(server):
    cursor = server.poll("x")["cursor"]
    server.publish("x", "already there")
    assert data(server.poll("x", cursor=cursor, wait=30)) == ["already there"]


def test_r6_a_long_poll_that_ends_empty_gives_a_cursor_not_below_its_own(server):
    cursor = server.publish("x", "seen")["id"]
    page = server.poll("x", cursor=cursor, wait=1)
    assert (page["messages"], page["gap"]) == ([], None)
    assert sequence(page["cursor"]) >= sequence(cursor)
    server.publish("x", "next")
    assert data(server.poll("x", cursor=page["cursor"])) == ["next"]


def sequence(cursor: str) -> int:
    return int(cursor.split(".")[1], 36)


def test_nothing_is_lost_between_one_long_poll_and_the_next(server):
    cursor, got = server.poll("x")["cursor"], []
    publisher = threading.Thread(target=lambda: [httpx.post(f"{server.url}/c/x", content=str(n), trust_env=False) for n in range(100)])
    publisher.start()
    while len(got) < 100:
        page = server.poll("x", cursor=cursor, wait=10)
        assert page["messages"], "nothing came for a long time"
        got += data(page)
        cursor = page["cursor"]
    publisher.join()
    assert got == [str(n) for n in range(100)]


def test_a_client_that_dies_waiting_frees_its_slot(server):
    cursor = server.publish("x", "makes the channel known")["id"]
    with Wire(server) as wire:
        wire.request(f"GET /c/x?wait=30&cursor={cursor}")
        eventually("the poll waits", lambda: receivers(server, "x") == 1)
        wire.reset()
    eventually("it is gone", lambda: receivers(server, "x") == 0)


def test_r29_a_client_that_has_said_all_it_will_say_still_gets_its_answer(server):
    cursor = server.publish("x", "makes the channel known")["id"]
    with Wire(server) as wire:
        wire.request(f"GET /c/x?wait=30&cursor={cursor}")
        wire.finish()
        eventually("the poll waits", lambda: receivers(server, "x") == 1)
        server.publish("x", "here it is")
        assert b"here it is" in wire.response().body


@pytest.mark.parametrize("first", ["", "GET /readyz"], ids=["at once", "on a connection in use"])
@pytest.mark.parametrize("ahead", [b"", b"GET /c/y HTTP/1.1\r\n"], ids=["", "something unread before the end"])
def test_r29_a_client_that_goes_politely_frees_its_place_soon(server, first, ahead):
    """FIN is all that closing sends. Without an answer to reset, it would hold its place for half a minute."""
    cursor = server.publish("x", "makes the channel known")["id"]
    with Wire(server) as wire:
        if first:
            wire.request(first)
            wire.response()
        wire.request(f"GET /c/x?wait=30&cursor={cursor}")
        eventually("the poll waits", lambda: receivers(server, "x") == 1)
        wire.send(ahead)
        wire.finish()
        page = json.loads(wire.response().body)
        assert (page["messages"], page["cursor"]) == ([], cursor)
    eventually("it is gone", lambda: receivers(server, "x") == 0)


def test_many_polls_share_one_connection(server):
    with Wire(server) as wire:
        for n in range(5):
            server.publish("x", str(n))
            wire.request("GET /c/x?tail=1")
            assert f'"data":"{n}"'.encode() in wire.response().body
        wire.request("GET /c/x?wait=0")
        assert wire.response().status == 200
        wire.request("GET /c/x", "Connection: close")
        assert wire.response().status == 200
        assert wire.rest() == b""


def test_requests_that_were_pipelined_are_answered_in_order(server):
    server.publish("x", "1")
    with Wire(server) as wire:
        host = f"Host: {wire.host}\r\n\r\n"
        wire.send(f"GET /c/x?tail=1 HTTP/1.1\r\n{host}GET /c/y?tail=1 HTTP/1.1\r\n{host}GET /nothing HTTP/1.1\r\n{host}".encode())
        assert b'"data":"1"' in wire.response().body
        assert b'"messages":[]' in wire.response().body
        assert wire.response().status == 404


def test_http_1_0_gets_a_whole_answer_and_then_the_end(server):
    with Wire(server) as wire:
        wire.request("GET /c/x HTTP/1.0")
        head = wire.head()
        assert head.status == 200 and "transfer-encoding" not in head.headers
        assert len(wire.rest()) == int(head.headers["content-length"])


@pytest.mark.parametrize("wait", ["0", "60", "61", "1e9", "99999999999999999999"])
def test_a_wait_has_a_longest(server, wait):
    """Whatever is asked for is either answered or refused: something to read is there at once."""
    cursor = server.poll("x")["cursor"]
    server.publish("x", "1")
    assert server.client.get("/c/x", params={"cursor": cursor, "wait": wait}).status_code in (200, 400)
