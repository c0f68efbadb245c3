"""nginx and HAProxy between browsers' HTTP/2 and us: HTTP/1.1 to us, HTTP/2 without TLS, and HTTP/2 with it."""

import json
from collections.abc import Callable

import pytest
from certificates import Authority
from frames import Http2
from fronts import Front, behind
from stage import Tidewire, eventually
from tunnel import Tunnel
from wire import TEXT, Wire, frame

__all__ = ["behind"]

ROADS = {
    # The proxy, how we are started, and what the proxy is told of us.
    "nginx_to_http_1": ("nginx", (), ""),
    "haproxy_to_http_1": ("haproxy", (), ""),
    "haproxy_to_h2c": ("haproxy", (), "proto h2"),
    "haproxy_to_h2": ("haproxy", ("--tls-self-signed",), "ssl verify none alpn h2"),
    "haproxy_to_http_1_with_tls": ("haproxy", ("--tls-self-signed",), "ssl verify none alpn http/1.1"),
}


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(plainly: Callable[..., Tidewire], road: str) -> Tidewire:
    return plainly(*ROADS[road][1])


@pytest.fixture
def proxy(server: Tidewire, behind: Callable[..., Front], authority: Authority, road: str) -> Front:
    """A proxy that clients come to by TLS and HTTP/2."""
    name, _, options = ROADS[road]
    pair = authority.issue("localhost", "127.0.0.1")
    both = pair.cert.with_name("both.pem")
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    return behind(server, name, certificate=both, server_options=options)


def test_a_stream_and_a_publish_pass(server: Tidewire, proxy: Front) -> None:
    with Http2(proxy) as http:
        stream = http.listen("x")
        receipt = http.ask("POST", "/c/x", ("content-type", "text/plain"), body=b"through a proxy")
        assert receipt.status == 200
        told = json.loads(receipt.body)
        assert told["receivers"]["sse"] == 1
        http.until_body(stream, f"data: through a proxy\nid: {told['id']}\n".encode())
        http.reset(stream)
        eventually("who leaves the proxy leaves us", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)


def test_a_hundred_streams_of_a_page_pass(server: Tidewire, proxy: Front) -> None:
    """HAProxy takes a hundred streams of a client at once, and nginx 128."""
    with Http2(proxy) as http:
        streams = [http.listen(f"c{n}") for n in range(90)]
        for n in range(90):
            server.publish(f"c{n}", f"to {n}")
        for n, stream in enumerate(streams):
            http.until_body(stream, f"data: to {n}\n".encode())


def test_polls_and_refusals_pass(server: Tidewire, proxy: Front) -> None:
    cursor = server.publish("x", "seen")["id"]
    with Http2(proxy) as http:
        waits = http.request("GET", f"/c/x?wait=30&cursor={cursor}")
        http.ping()
        refused = http.ask("POST", "/c/no%20spaces", body=b"x")
        assert (refused.status, json.loads(refused.body)["code"]) == (400, "channel_invalid")
        server.publish("x", "now")
        assert json.loads(http.answer(waits).body)["messages"][0]["data"] == "now"


def test_many_clients_of_a_proxy_come_and_go(server: Tidewire, proxy: Front) -> None:
    """Where a proxy shares its connections to us, what one client does must not cut the others."""
    with Http2(proxy) as stays:
        stream = stays.listen("x")
        for round_ in range(5):
            clients = [Http2(proxy) for _ in range(10)]
            held = [[http.listen("x") for _ in range(6)] for http in clients]
            for http, streams in zip(clients, held, strict=True):
                for each in streams:
                    http.reset(each)
                http.close()
            eventually("they are gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 1)
            server.publish("x", f"round {round_}")
            stays.until_body(stream, f"data: round {round_}\n".encode())
        assert not stays.answers[stream].over


def test_websockets_of_http_1_pass(server: Tidewire, proxy: Front) -> None:
    with Wire(proxy) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(frame(TEXT, b"through a proxy"))
        assert wire.frame() == (TEXT, b"through a proxy")


def test_websockets_of_http_2_pass_where_a_proxy_can(server: Tidewire, proxy: Front, road: str) -> None:
    with Http2(proxy) as http:
        http.ping()
        if road.startswith("nginx"):
            assert 8 not in http.settings, "nginx does not offer them"
            return
        tunnel = Tunnel(http, "/c/x")
        assert tunnel.answer.status == 200, tunnel.answer
        tunnel.send(frame(TEXT, b"through a proxy"))
        assert tunnel.frame() == (TEXT, b"through a proxy")
