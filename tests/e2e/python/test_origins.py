"""S1, S2, S7, S8, S9, S10: in dev mode the loopback is trusted, and nobody else through a visitor's browser."""

import pytest
from wire import Wire

FOREIGN_ORIGINS = [
    "http://evil.example",
    "https://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example:80@127.0.0.1",
    "http://127.0.0.1@evil.example",
    "http://localhost, http://evil.example",
    "http://evil.example/localhost",
    "http://localhostt",
    "null",
    "file://",
    "localhost",
    "chrome-extension://localhost",
]
OWN_ORIGINS = ["http://localhost:5173", "http://127.0.0.1:3000", "https://localhost", "http://[::1]:8080", "http://app.localhost:1234"]
FOREIGN_HOSTS = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:8080", "128.0.0.1", ""]
OWN_HOSTS = ["127.0.0.1", "localhost", "localhost:8080", "[::1]:8080", "app.localhost", "127.9.8.7:1"]

ENTRIES = ["sse", "ws", "poll", "publish"]


def knock(wire: Wire, entry: str, *headers: str):
    """Enters by one of the ways in, and returns the head of the answer."""
    if entry == "ws":
        return wire.upgrade("/c/x", *headers)
    if entry == "publish":
        wire.request("POST /c/x", *headers, body=b"forged")
    else:
        wire.request("GET /c/x", f"Accept: {'text/event-stream' if entry == 'sse' else '*/*'}", *headers)
    return wire.head()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_s2_a_foreign_origin_is_refused_at_every_entry(server, entry, origin):
    with Wire(server) as wire:
        answer = knock(wire, entry, f"Origin: {origin}")
        assert answer.status in (400, 403), answer
        assert "access-control-allow-origin" not in answer.headers, "S7: an unlisted origin is never reflected"
    assert server.texts("x") == []


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("origin", OWN_ORIGINS)
def test_a_page_on_the_developers_own_machine_is_let_in(server, entry, origin):
    with Wire(server) as wire:
        answer = knock(wire, entry, f"Origin: {origin}")
        assert answer.status in (101, 200), answer
        if entry != "ws":
            assert answer.headers["access-control-allow-origin"] == origin
            assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_s10_a_foreign_host_is_refused_at_every_entry(server, entry, host):
    with Wire(server) as wire:
        assert knock(wire, entry, f"Host: {host}").status in (400, 403)
    assert server.texts("x") == []


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_every_name_of_the_loopback_is_ours(server, host):
    with Wire(server) as wire:
        assert knock(wire, "poll", f"Host: {host}").status == 200


def test_s42_two_origins_are_refused(server):
    with Wire(server) as wire:
        assert knock(wire, "sse", "Origin: http://localhost", "Origin: http://evil.example").status in (400, 403)


def test_s8_a_preflight_is_answered_without_credentials(server):
    asked = ["Last-Event-ID", "Authorization", "Content-Type", "Idempotency-Key", "Tidewire-Event", "traceparent", "If-None-Match"]
    origin = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "POST"}
    answer = server.client.options("/c/x", headers={**origin, "Access-Control-Request-Headers": ", ".join(asked)})
    assert answer.status_code in (200, 204)
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed >= {name.lower() for name in asked}
    assert {"GET", "POST"} <= {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
    assert int(answer.headers["access-control-max-age"]) <= 7200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


def test_s8_a_foreign_preflight_is_allowed_nothing(server):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in server.client.options("/c/x", headers=headers).headers


def test_s44_a_page_may_read_the_etag(server):
    answer = server.client.get("/c/x", headers={"Origin": "http://localhost:5173"})
    assert "etag" in answer.headers["access-control-expose-headers"].lower()


def test_a_client_without_an_origin_is_no_browser_and_is_let_in(server):
    for entry in ENTRIES:
        with Wire(server) as wire:
            assert knock(wire, entry).status in (101, 200)
