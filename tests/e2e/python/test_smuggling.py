"""S42, S43: what two parsers could read in two ways is refused, answered once, and the connection ends.

The corpus goes through real proxies in `tests/proxies`; here it meets us alone.
"""

import json
import re
from collections.abc import Iterator

import pytest
from smuggling import CORPUS, REFUSED, Target
from stage import Tidewire
from wire import Wire

HTTP2 = "the_preface_of_http_2"
GOAWAY_OF_A_BROKEN_PROTOCOL = bytes([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])

PATHS = ["/c/../livez", "/c/./smuggled", "/c/%2e%2e/livez", "/c/%2E%2E%2flivez", "/c/a%2fb", "/c/a%5cb", "/c/a\\b", "/c/%"]


@pytest.fixture(scope="module")
def attacked() -> Iterator[Tidewire]:
    """One server for the whole corpus: what an attack leaves behind would show in the next."""
    server = Tidewire({"limits.body_max": "500ms"}, ())
    yield server
    server.end()


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize("name", CORPUS)
def test_s42_an_attack_has_one_answer(attacked, name, place):
    """On a fresh connection, and after a request that was fine: the two are read by different code."""
    vector, server = CORPUS[name], attacked
    with Wire(server) as wire:
        credentials = "".join(f"{field}: {value}\r\n" for field, value in server.credentials.items())
        target = Target(wire.host, f"decoy-{name}-{place}", f"stolen-{name}-{place}", credentials)
        if place == "second":
            wire.request("POST /c/fine", body=b"fine")
            assert wire.response().status == 200
        wire.send(vector.bytes(target))
        if name == HTTP2 and place == "first":
            # There it is HTTP/2, in which a request of HTTP/1.1 is no frame.
            said = wire.rest()
            assert said.endswith(GOAWAY_OF_A_BROKEN_PROTOCOL) and b"HTTP/1" not in said
            assert server.texts(target.stolen) == []
            return
        answer = wire.response()
        assert answer.status in vector.statuses, answer
        closes = "close" in answer.headers.get("connection", "").lower()
        if vector.statuses == REFUSED:
            assert closes, "what follows has no meaning"
        if vector.lawful:
            assert json.loads(wire.response().body)["channel"] == target.stolen
        elif closes:
            assert not re.search(rb"HTTP/1\.\d \d{3} ", wire.rest()), "what was hidden was answered"
        else:
            wire.request("POST /c/after", body=name.encode())
            assert json.loads(wire.response().body)["channel"] == "after"
    assert server.texts(target.stolen) == (["stolen"] if vector.lawful else [])


def test_s42_the_refusal_is_a_problem_and_says_that_the_connection_ends(server):
    with Wire(server) as wire:
        wire.request("POST /c/x", "Content-Length: 1", "Content-Length: 2")
        answer = wire.response()
        assert answer.status == 400
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.headers["connection"].lower() == "close"
        assert json.loads(answer.body)["code"] == "malformed_request"
        assert wire.rest() == b""


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 64, b"hello\r\n\r\n", b"GET /c/x\r\n\r\n"])
def test_s42_what_is_not_http_at_all_is_not_waited_for(server, junk):
    with Wire(server) as wire:
        wire.send(junk)
        answer = wire.rest()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_s43_a_path_with_two_readings_is_refused(server, path, method):
    with Wire(server) as wire:
        wire.request(f"{method} {path}", body=b"x" if method == "POST" else b"")
        assert wire.response().status in (400, 404)


def test_a_well_formed_request_is_not_mistaken_for_an_attack(server):
    with Wire(server) as wire:
        wire.request("POST /c/fine", "Transfer-Encoding: chunked", body=b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        assert wire.response().status == 200
        wire.request("POST /c/fine", "X-Empty:", "X-Tab: a\tb", "X-Latin: \xe9", body=b"again")
        assert wire.response().status == 200
    assert server.texts("fine") == ["hello", "again"]
