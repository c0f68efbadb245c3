"""S38, S41: whose connection it is, where a proxy says so with the PROXY protocol."""

import hashlib
import secrets
import socket
import struct

import pytest
from stage import Access, Tidewire, eventually, free_port
from wire import Wire

PROXY = "127.0.0.2"
"""The proxy that is trusted. Whoever comes from another address is anybody."""

KEY = f"tw_{secrets.token_urlsafe(32)}"
AUTHORIZED = f"Authorization: Bearer {KEY}"

ENGINES = ["epoll", "tokio"]


@pytest.fixture(params=ENGINES)
def guarded(request):
    """A server that counts addresses, believes one proxy, and lets each client have one WebSocket."""
    yield from server_with(request.param, "--admin-listen", "same")


def server_with(engine: str, *flags: str):
    settings = {
        "auth.api_keys": f"test:publish+subscribe:{hashlib.sha256(KEY.encode()).hexdigest()}",
        "trusted_proxies": PROXY,
        "proxy_protocol": "true",
        "limits.address_connections_max": 1,
        "engine.io": engine,
    }
    access = Access(credentials={"Authorization": f"Bearer {KEY}"})
    server = Tidewire(settings, flags, access)
    yield server
    server.end()


def header(client: str, command: int = 1) -> bytes:
    """What a proxy sends ahead of a connection of `client`."""
    addresses = socket.inet_aton(client) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 4000, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, 0x11]) + struct.pack(">H", len(addresses)) + addresses


def introduced(server: Tidewire, client: str, *more: str) -> tuple[int, Wire]:
    """A WebSocket of `client` through the proxy: the status of its answer."""
    wire = Wire(server, PROXY)
    wire.send(header(client))
    return listen(wire, *more), wire


def listen(wire: Wire, *more: str) -> int:
    """The status of a WebSocket's answer. A stream's would be 200 whatever it says."""
    return wire.upgrade("/c/x", AUTHORIZED, *more).status


def test_s41_limits_count_the_client_that_the_proxy_names(guarded):
    first, held = introduced(guarded, "203.0.113.1")
    second, other = introduced(guarded, "203.0.113.2")
    assert (first, second) == (101, 101), "two clients of one proxy are two"
    assert introduced(guarded, "203.0.113.1")[0] == 429
    assert introduced(guarded, "203.0.113.1", "X-Forwarded-For: 203.0.113.9")[0] == 429, "the header has the last word"
    held.close()
    eventually("its place is free", lambda: introduced(guarded, "203.0.113.1")[0] == 101)
    other.close()


def test_s41_a_connection_that_first_asks_for_something_else_keeps_its_client(guarded):
    """The engine hands it to the API server, which relays the stream that follows."""
    status, held = introduced(guarded, "203.0.113.1")
    assert status == 101
    for client, expected in (("203.0.113.1", 429), ("203.0.113.2", 101)):
        with Wire(guarded, PROXY) as wire:
            wire.send(header(client))
            wire.request("POST /c/x", AUTHORIZED, body=b"hello")
            assert wire.response().status == 200
            assert listen(wire) == expected
    held.close()


def test_s41_without_a_header_the_proxy_is_closed_and_with_one_anybody_else_is_refused(guarded):
    with Wire(guarded, PROXY) as wire:
        wire.request("GET /c/x")
        assert wire.rest() == b""
    with Wire(guarded, "127.0.0.3") as wire:
        wire.send(header("203.0.113.1"))
        assert listen(wire) == 400
    with Wire(guarded, "127.0.0.3") as wire:
        assert listen(wire) == 101, "without one it is a client like any other"
    assert introduced(guarded, "203.0.113.1")[0] == 101, "and none of them took a place"


def test_s41_a_connection_of_the_proxys_own_is_the_proxys(guarded):
    with Wire(guarded, PROXY) as first, Wire(guarded, PROXY) as second:
        for wire, expected in ((first, 101), (second, 429)):
            wire.send(header("0.0.0.0", command=0))
            assert listen(wire) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_s43_the_admin_listener_expects_no_header(engine, monkeypatch):
    admin = free_port()
    monkeypatch.setattr(Tidewire, "_ready", lambda _: can_connect(admin))
    for server in server_with(engine, "--admin-listen", f"127.0.0.1:{admin}"):
        server.port = admin
        with Wire(server, PROXY) as wire:
            wire.request("GET /livez")
            assert wire.response().status == 200
        with Wire(server, PROXY) as wire:
            wire.send(header("203.0.113.1"))
            wire.request("GET /livez")
            assert wire.head().status == 400


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_s41_behind_haproxy_each_client_counts_for_itself(guarded, behind):
    proxy = behind(guarded, "haproxy", server_options=f"send-proxy-v2 source {PROXY}")
    held = []
    for source, expected in (("127.0.0.3", 101), ("127.0.0.4", 101), ("127.0.0.3", 429)):
        wire = Wire(proxy, source)
        assert listen(wire) == expected, source
        held.append(wire)
    for wire in held:
        wire.close()
