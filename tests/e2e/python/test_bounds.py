"""S32, S33, S37, S39: every bound has a name, and what is past it ends without harm to others."""

import json

import httpx
import pytest
from stage import eventually
from wire import Wire


def problem(answer) -> dict:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer
    return json.loads(answer.body)


@pytest.mark.parametrize("start", ["GET /c/x", "POST /c/x"])
def test_s32_a_head_past_16_kib_is_431(server, start):
    with Wire(server) as wire:
        wire.request(start, f"X-Large: {'x' * (17 << 10)}")
        answer = wire.response()
        assert (answer.status, problem(answer)["code"]) == (431, "head_too_large")


def test_s32_a_head_that_never_ends_is_431_as_soon_as_it_is_too_large(server):
    with Wire(server) as wire:
        wire.send(b"GET /c/x HTTP/1.1\r\nX-Large: " + b"x" * (20 << 10))
        assert wire.head().status == 431


def test_s32_more_than_100_headers_are_431(server):
    with Wire(server) as wire:
        wire.request("GET /c/x", *(f"X-{n}: 1" for n in range(101)))
        assert wire.head().status == 431


def test_s32_a_url_past_8_kib_is_414(server):
    with Wire(server) as wire:
        wire.request(f"GET /c/x?cursor={'9' * (9 << 10)}")
        answer = wire.response()
        assert (answer.status, problem(answer)["code"]) == (414, "target_too_long")


def test_s33_a_client_that_says_nothing_is_cut(serve):
    server = serve(**{"limits.first_byte_max": "300ms"})
    with Wire(server) as wire:
        assert wire.rest() == b""


def test_s33_a_head_that_trickles_in_is_cut(serve):
    server = serve(**{"limits.head_max": "500ms"})
    with Wire(server) as wire:
        wire.send(b"GET /c/x HTTP/1.1\r\nHost: 127.0")
        answer = wire.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer


@pytest.mark.parametrize("place", ["first", "second"])
def test_s33_a_body_that_does_not_come_is_408(serve, place):
    server = serve(**{"limits.body_max": "500ms"})
    with Wire(server) as wire:
        if place == "second":
            wire.request("POST /c/x", body=b"fine")
            assert wire.response().status == 200
        wire.request("POST /c/slow", "Content-Length: 10", body=b"only")
        assert wire.head().status == 408
    assert server.texts("slow") == []


def test_s33_an_idle_connection_is_closed(serve):
    server = serve(**{"limits.keep_alive_max": "300ms"})
    for start in ("POST /c/x", "GET /c/x"):
        with Wire(server) as wire:
            wire.request(start, body=b"x" if start.startswith("POST") else b"")
            assert wire.response().status == 200
            assert wire.rest() == b""


def test_s33_a_hundred_slow_heads_do_not_keep_anyone_else_out(server):
    slow = [Wire(server) for _ in range(100)]
    for wire in slow:
        wire.send(b"GET /c/x HTTP/1.1\r\nHost:")
    assert server.publish("x", "1")["channel"] == "x"
    for wire in slow:
        wire.request("GET /c/x", "X: the rest of a broken head")
        assert wire.head().status == 400


def test_s37_a_payload_of_64_kib_is_the_largest(server):
    server.publish("x", "y" * (64 << 10))
    answer = server.client.post("/c/x", content="y" * ((64 << 10) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert len(server.texts("x")) == 1


def test_s37_a_declared_length_is_refused_before_the_body_comes(server):
    with Wire(server) as wire:
        wire.request("POST /c/x", "Content-Length: 99999999999")
        answer = wire.response()
        assert (answer.status, problem(answer)["code"]) == (413, "too_large")


def test_s37_a_chunked_body_is_counted_as_it_comes(server):
    with Wire(server) as wire:
        wire.request("POST /c/x", "Transfer-Encoding: chunked")
        for _ in range(5):
            try:
                wire.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            except (BrokenPipeError, ConnectionResetError):
                break
        assert wire.head().status == 413


def test_s37_the_bound_moves_with_its_setting(serve):
    server = serve(**{"limits.message_bytes_max": "1KiB"})
    server.publish("x", "y" * 1024)
    assert server.client.post("/c/x", content="y" * 1025).status_code == 413


def test_s39_past_the_last_connection_a_stream_is_sent_away_in_its_own_language(serve):
    """EventSource closes for good on any status but 200, so overload is a stream that ends after its `retry:`."""
    server = serve(**{"limits.connections_max": 4, "engine.shards": 1})
    server.client.close()
    held: list[Wire] = []
    for _ in range(6):
        wire = Wire(server)
        wire.request("GET /c/x", "Accept: text/event-stream")
        head = wire.head()
        assert (head.status, head.headers["content-type"].split(";")[0]) == (200, "text/event-stream")
        blocks = b""
        while b"$ready" not in blocks and (chunk := wire.chunk()):
            blocks += chunk
        if b"$ready" not in blocks:
            assert blocks.startswith(b"retry: ")
            break
        held.append(wire)
    else:
        pytest.fail("six streams where four connections are allowed")
    for wire in held:
        wire.__exit__()
    eventually("there is room again", lambda: httpx.get(f"{server.url}/c/x", trust_env=False).status_code == 200)


def test_every_refusal_is_answered_and_closes_nothing_it_need_not(server):
    """A kept connection survives a refusal of its content, and every path ends its response."""
    with Wire(server) as wire:
        for start, body, status in [
            ("POST /c/bad*name", b"x", 400),
            ("POST /c/a,b", b"x", 400),
            ("POST /c/x", b"\xff\xfe", 400),
            ("POST /v1/publish", b"{", 400),
            ("POST /c/x", b"fine", 200),
        ]:
            wire.request(start, body=body)
            assert wire.response().status == status, start
