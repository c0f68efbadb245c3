"""S46, S47, S48: names, cursors and addresses that are not ours, and how the answer explains itself."""

import re

import httpx
import pytest

ACCEPTS = {"sse": "text/event-stream", "poll": "application/json"}
BAD_NAMES = ["a*b", "a{b}", "é", "a%20b", "a;b", "a|b", "$sys", "x" * 129, "a,,b", ",a", "a,"]


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["title"] and problem["detail"] and problem["hint"] and problem["type"]


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_s47_a_bad_name_is_refused_to_subscribers(server, name, accept):
    check_problem(server.client.get(f"/c/{name}", headers={"Accept": ACCEPTS[accept]}), 400, "channel_invalid")


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if "," not in name])
def test_s47_a_bad_name_is_refused_to_publishers(server, name):
    check_problem(server.client.post(f"/c/{name}", content="x"), 400, "channel_invalid")


def test_s47_every_letter_of_the_alphabet_makes_a_name(server):
    name = "AZaz09._:@=+~-"
    server.publish(name, "1")
    assert server.texts(name) == ["1"]
    server.publish("x" * 128, "2")
    assert server.texts("x" * 128) == ["2"]


def test_s36_a_connection_has_at_most_a_hundred_channels(server):
    assert server.poll(",".join(f"c{n}" for n in range(100)))["messages"] == []
    check_problem(server.client.get("/c/" + ",".join(f"c{n}" for n in range(101))), 400, "channel_count")


def test_a_publish_names_exactly_one_channel(server):
    check_problem(server.client.post("/c/a,b", content="x"), 400, "channel_count")
    assert server.client.post("/c/", content="x").status_code == 400


def test_a_stream_of_no_channel_is_for_v1_only(server):
    assert server.client.get("/c/").status_code == 400


@pytest.mark.parametrize("event", ["open", "error", "$ready", "$", "x" * 129])
def test_s46_an_event_name_that_is_taken_is_refused(server, event):
    check_problem(server.client.post("/c/x", content="x", headers={"Tidewire-Event": event}), 400, "event_invalid")


@pytest.mark.parametrize("channel", ["open", "error"])
def test_s46_a_channel_that_browsers_would_take_for_their_own_event_is_refused_beside_others(server, channel):
    stream = {"Accept": "text/event-stream"}
    check_problem(server.client.get(f"/c/{channel},x", headers=stream), 400, "event_invalid")
    for fine in (f"/c/{channel}", f"/c/{channel},x?format=json"):
        with server.client.stream("GET", fine, headers=stream) as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize("cursor", ["x", "1.1", "0.0", "1.01", "A.1", "9" * 5000, "1.3w5e11264sgsg", "é", "1.1\r\nX: y", "\0"])
def test_s48_a_cursor_that_is_not_ours_is_a_gap_and_never_an_error(server, cursor):
    newest = server.publish("x", "kept")["id"]
    page = server.poll("x", cursor=cursor)
    assert (page["gap"]["channels"], page["gap"]["reason"]) == (["x"], "epoch")
    assert [message["data"] for message in page["messages"]] == ["kept"]
    assert page["cursor"] == newest


def test_r7_a_cursor_above_the_log_is_an_epoch_gap(server):
    generation = server.publish("x", "1")["id"].split(".")[0]
    page = server.poll("x", cursor=f"{generation}.zzzz")
    assert page["gap"]["reason"] == "epoch"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/v1/nothing", 404, "not_found"),
        ("DELETE", "/c/x", 405, "method_not_allowed"),
        ("GET", "/v1/publish", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_says_so(server, method, path, status, code):
    check_problem(server.client.request(method, path), status, code)


@pytest.mark.parametrize("query", ["wait=soon", "wait=1.5", "wait=-1", "tail=many", "tail=-1", "tail=0", "tail=1001"])
def test_a_parameter_that_cannot_be_read_is_a_bad_request(server, query):
    check_problem(server.client.get(f"/c/x?{query}"), 400, "bad_request")


def test_an_id_is_short_and_needs_no_escaping_anywhere(server):
    for _ in range(3):
        assert re.fullmatch(r"[a-z0-9]{1,10}\.[a-z0-9]{1,13}", server.publish("x", "1")["id"])
