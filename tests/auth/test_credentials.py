"""What wrong credentials, and right ones in the wrong place, get over the wire (S5, S9, S17, S18, S24, S38)."""

import time
from collections.abc import Callable

import pytest
from keys import ORIGIN, Visit, bearer, token
from stage import Tidewire, client
from wire import Wire


def test_s17_every_wrong_credential_gets_the_same_answer(serve: Callable[..., Tidewire]) -> None:
    server = serve()
    good = token("alice", "prices")
    wrong = {
        "expired": token("alice", "prices", lasts_s=-600),
        "forged": token("alice", "prices", secret="another-secret-another-secret-another"),
        "unsigned": good.rpartition(".")[0] + ".",
        "none": token("alice", "prices", header={"alg": "none"}),
        "no token": "x",
        "an api key": "tw_" + "A" * 43,
        "too long": "x" * 9_000,
        "of another type": token("alice", "prices", header={"typ": "dpop+jwt"}),
        "exp is text": token("alice", "prices", exp="9999999999"),
    }
    answers = {}
    with client(server.url) as stranger:
        for name, credential in wrong.items():
            answer = stranger.get("/c/prices", headers=bearer(credential))
            problem = answer.json()
            assert problem.pop("trace_id")
            fields = {field: value for field, value in answer.headers.items() if field not in ("date", "content-length")}
            answers[name] = (answer.status_code, problem, fields)
    assert all(answer == answers["expired"] for answer in answers.values()), answers
    assert answers["expired"][0] == 401
    assert server.client.get("/c/prices", headers=bearer(good)).status_code == 200


def test_s38_an_address_that_guesses_more_than_ten_times_a_minute_waits(serve: Callable[..., Tidewire]) -> None:
    server = serve(**{"limits.address_failures_per_minute_max": 10})
    with client(server.url) as stranger:
        for number in range(11):
            began = time.monotonic()
            assert stranger.get("/c/x", headers=bearer(f"guess-{number}")).status_code == 401
            assert time.monotonic() - began >= 0.1, "a wrong guess is answered late"
        locked = stranger.get("/c/x", headers=bearer("guess-11"))
        assert (locked.status_code, locked.json()["code"]) == (429, "rate_limited")
        assert int(locked.headers["retry-after"]) > 0


def test_s24_tickets_are_sold_ten_a_second_and_twenty_at_once(serve: Callable[..., Tidewire]) -> None:
    server = serve()
    sold = [server.client.post("/v1/tickets", headers=bearer(token("alice", "prices"))) for _ in range(60)]
    codes = [answer.status_code for answer in sold]
    assert set(codes) == {200, 429} and 10 <= codes.count(200) <= 20
    assert all(answer.headers["retry-after"] for answer in sold if answer.status_code == 429)
    other = server.client.post("/v1/tickets", headers=bearer(token("bob", "prices")))
    assert other.status_code == 200, "each subject has an account of its own"


@pytest.mark.parametrize("entry", ["stream", "poll", "websocket"])
def test_s5_a_cookie_opens_what_a_page_of_ours_asks_for_and_nothing_else(serve: Callable[..., Tidewire], entry: str) -> None:
    server = serve()
    cookie = f"Cookie: session={token('alice', 'prices')}"
    same, cross = "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"
    ours, foreign = f"Origin: {ORIGIN}", "Origin: https://evil.example"
    is_socket = entry == "websocket"
    for headers, opens in [
        ((ours,), True),
        ((ours, same), True),
        ((same,), not is_socket),
        ((f"Referer: {ORIGIN}/page",), not is_socket),
        ((), False),
        ((cross,), False),
        ((cross, f"Referer: {ORIGIN}/page"), False),
        (("Sec-Fetch-Site: same-site",), False),
        (("Sec-Fetch-Site: none",), False),
        (("Referer: https://evil.example/page",), False),
        ((foreign,), False),
        ((foreign, same), False),
        (("Origin: null",), False),
    ]:
        with Wire(Visit(server)) as wire:
            if is_socket:
                answer = wire.upgrade("/c/prices", cookie, *headers)
            else:
                wire.request("GET /c/prices", f"Accept: {'text/event-stream' if entry == 'stream' else '*/*'}", cookie, *headers)
                answer = wire.head()
            assert (answer.status in (101, 200)) == opens, (headers, answer)
            assert opens or answer.status in (401, 403), (headers, answer)


def test_s9_a_publish_looks_at_no_cookie(serve: Callable[..., Tidewire]) -> None:
    server = serve()
    cookie = f"session={token('alice', 'prices')}"
    page = {"Cookie": cookie, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    with client(server.url) as browser:
        for path in ("/c/prices", "/v1/publish", "/v1/revoke"):
            assert browser.post(path, content=b"x", headers=page).status_code == 401, path
        assert browser.get("/v1/channels", headers=page).status_code == 401
    assert server.texts("prices") == []


def test_s18_a_token_in_the_address_is_for_streams_and_behind_a_flag(serve: Callable[..., Tidewire]) -> None:
    held = token("alice", "prices")
    for flag in ("false", "true"):
        server = serve(**{"auth.query_token": flag})
        with Wire(Visit(server)) as wire:
            wire.request(f"GET /c/prices?access_token={held}", "Accept: text/event-stream")
            answer = wire.head()
        assert answer.status == (200 if flag == "true" else 401)
        if flag == "true":
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "no-store" in answer.headers["cache-control"]
        with client(server.url) as stranger:
            assert stranger.post(f"/c/prices?access_token={held}", content=b"x").status_code == 401
            assert stranger.post(f"/v1/tickets?access_token={held}").status_code == 401
        assert held not in server.said()
