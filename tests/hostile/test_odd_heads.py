"""Heads that a library behind our own check would refuse without a word: each is answered with a problem, and an end.

The requests come to both listeners: that of the engine, which hands over what is no subscription, and that of the API
server. `crates/server/tests/odd_heads.rs` thinks of many more.
"""

import json
from collections.abc import Callable

import pytest
from stage import Tidewire
from wire import Wire

FINE = b"POST /c/fine HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nfine"

TARGETS = [f"/c/a{byte}b" for byte in '<>`{}^"\\#'] + [f"/c/a?b={byte}" for byte in '<>"#'] + ["http://{host}:1:2/c/a", "/c/%zz"]
LENGTHS = ["9" * 20, "18446744073709551615", "18446744073709551614", "9223372036854775808", "9" * 400, "+4", "4,4", ""]
CODINGS = [",chunked", "chunked,", ", chunked ,", "chunked,,", ",", "", "chunked\r\nTransfer-Encoding:", "identity", "chunked;q=1"]

HEADS = {
    **{f"target {target}": f"{{method}} {target} HTTP/1.1\r\nHost: {{host}}\r\n\r\n" for target in TARGETS},
    **{f"length {it[:24]}": f"POST /c/a HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: {it}\r\n\r\n" for it in LENGTHS},
    **{f"coding {it}": f"POST /c/a HTTP/1.1\r\nHost: {{host}}\r\nTransfer-Encoding: {it}\r\n\r\n0\r\n\r\n" for it in CODINGS},
    **{
        f"host {it}": f"{{method}} /c/a HTTP/1.1\r\nHost: {it}\r\n\r\n"
        for it in ["a:b", "[::1", "a]", "a:1:2", "a%41", "[a@b]", "u@a"]
    },
    "too_many_fields": "{method} /c/a HTTP/1.1\r\nHost: {host}\r\n" + "X: 1\r\n" * 1_001 + "\r\n",
    "too_long_a_target": "{method} /c/" + "a" * 70_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
}


@pytest.fixture(params=["epoll", "tokio"])
def listener(request: pytest.FixtureRequest, serve: Callable[..., Tidewire]) -> Tidewire:
    """A server whose connections come in by the engine, or past it."""
    return serve(**{"engine.io": request.param})


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_s52_no_odd_head_is_refused_without_a_word(listener: Tidewire, place: str, method: str) -> None:
    for name, head in HEADS.items():
        host = f"127.0.0.1:{listener.port}"
        with Wire(listener) as wire:
            if place == "second":
                wire.push(FINE.replace(b"{host}", host.encode()))
                assert wire.response().status == 200
            wire.push(head.replace("{host}", host).replace("{method}", method).encode())
            answer = wire.response()
            problem = json.loads(answer.body)
            assert (answer.status in (400, 414, 431, 501)) and problem["status"] == answer.status, (name, answer)
            assert answer.headers["content-type"] == "application/problem+json", (name, answer)
            assert answer.headers["connection"] == "close", (name, answer)
            assert all(problem[field] for field in ("code", "detail", "hint", "trace_id")), (name, problem)
            assert wire.rest() == b"", f"{name}: the connection goes on"


@pytest.mark.parametrize("path", ["/demo/%ff", "/inspector/%ff", "/v1/channels/%ff/history", "/c/%ff"])
def test_s52_a_path_that_cannot_be_decoded_is_refused_in_our_words(serve: Callable[..., Tidewire], path: str) -> None:
    answer = serve("--demo").client.get(path)
    assert answer.status_code in (400, 404) and answer.json()["code"] in ("not_found", "channel_invalid"), answer.text
