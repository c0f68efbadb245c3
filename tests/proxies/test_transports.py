"""M11, F25, F26, F28: what a real nginx and a real HAProxy do to streams, polls and WebSockets."""

import json
import threading
import time

import httpx
import pytest
from fronts import EVERY, RECOMMENDED, Front
from httpx_sse import connect_sse
from stage import PATIENCE, dispatched, eventually
from websockets.sync.client import connect
from wire import Wire

STREAM = "Accept: text/event-stream"


def open_stream(client: httpx.Client, path: str, **headers: str):
    return connect_sse(client, "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def open_socket(proxy: Front, path: str, **how: object):
    return connect(f"{proxy.ws_url}{path}", open_timeout=PATIENCE, proxy=None, additional_headers=proxy.credentials, **how)


@pytest.mark.parametrize("front", EVERY)
def test_f26_the_first_event_and_every_other_pass_at_once(server, behind, front):
    """nginx buffers by default; `X-Accel-Buffering: no` is what tells it not to. A buffered stream shows nothing at all
    of events this small, so a deadline of 50 ms for the quickest of several tells the two apart on a busy machine."""
    proxy = behind(server, front)
    with open_stream(proxy.client, "/c/x") as source:
        events = dispatched(source)
        assert next(events).event == "$ready"
        took = []
        for n in range(10):
            began = time.monotonic()
            server.publish("x", str(n))
            event = next(events)
            took.append(time.monotonic() - began)
            assert event.data == str(n)
        assert min(took) <= 0.050, took


@pytest.mark.parametrize("front", EVERY)
def test_publishing_and_both_polls_pass(server, behind, front):
    proxy = behind(server, front)
    receipt = proxy.client.post("/c/x", content="through a proxy").json()
    page = proxy.client.get("/c/x", params={"tail": 1}).json()
    assert page["messages"][0]["id"] == receipt["id"]
    late = threading.Timer(0.2, server.publish, ("x", "later"))
    late.start()
    waited = proxy.client.get("/c/x", params={"cursor": page["cursor"], "wait": 10}).json()
    assert [message["data"] for message in waited["messages"]] == ["later"]
    etag = proxy.client.get("/c/x?tail=1").headers["etag"]
    assert proxy.client.get("/c/x?tail=1", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("front", EVERY)
def test_a_stream_resumes_through_a_proxy(server, behind, front):
    proxy = behind(server, front)
    cursor = server.publish("x", "seen")["id"]
    missed = [server.publish("x", str(n))["id"] for n in range(300)]
    with open_stream(proxy.client, "/c/x", Last_Event_ID=cursor) as source:
        events = dispatched(source)
        assert next(events).event == "$ready"
        assert [next(events).id for _ in missed] == missed


@pytest.mark.parametrize("front", EVERY)
def test_f25_heartbeats_keep_a_quiet_stream_through_an_idle_cut(serve, behind, front):
    """The read timeout stands for the proxy's 60 s as the heartbeat does for our 15 s, both shortened alike."""
    server = serve(**{"limits.heartbeat": "250ms"})
    proxy = behind(server, front, read_timeout="1s")
    with Wire(proxy) as wire:
        wire.request("GET /c/x", STREAM)
        wire.until(b"event: $ready\n")
        for _ in range(16):
            wire.until(b"id: ")
        server.publish("x", "still here")
        wire.until(b"data: still here\n")


@pytest.mark.parametrize("front", RECOMMENDED)
def test_websocket_passes_with_the_recommended_configuration(server, behind, front):
    proxy = behind(server, front)
    with open_socket(proxy, "/c/x") as socket:
        for message in ("text", b"\x00\xff", "x" * 65_536):
            socket.send(message)
            assert socket.recv(PATIENCE) == message
    with open_socket(proxy, "/c/", subprotocols=["tidewire.v1"]) as socket:
        socket.send(json.dumps({"type": "ping", "id": 1}))
        while json.loads(socket.recv(PATIENCE))["type"] != "pong":
            pass


@pytest.mark.parametrize("front", RECOMMENDED)
def test_streams_and_sockets_on_kept_upstream_connections_work_like_any_other(server, behind, front):
    """A proxy first uses its upstream connections for publishes, then for whatever comes next."""
    proxy = behind(server, front)
    for n in range(10):
        assert proxy.client.post("/c/x", content=str(n)).status_code == 200
    with open_stream(proxy.client, "/c/x?tail=1") as source:
        events = dispatched(source)
        assert [next(events).event, next(events).data] == ["$ready", "9"]
        assert proxy.client.post("/c/x", content="live").json()["receivers"]["sse"] == 1
        assert next(events).data == "live"
    eventually("the stream is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)
    for n in range(10):
        assert proxy.client.post("/c/y", content=str(n)).status_code == 200
    with open_socket(proxy, "/c/y") as socket:
        socket.send("upgraded on a kept connection")
        assert socket.recv(PATIENCE) == "upgraded on a kept connection"
    eventually("the socket is gone", lambda: server.publish("y", "probe")["receivers"]["ws"] == 0)


@pytest.mark.parametrize("front", EVERY)
def test_m13_a_client_that_leaves_the_proxy_leaves_us_too(server, behind, front):
    proxy = behind(server, front)
    with Wire(proxy) as wire:
        wire.request("GET /c/x", STREAM)
        wire.until(b"$ready")
        eventually("it is counted", lambda: server.publish("x", "probe")["receivers"]["sse"] == 1)
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)


def test_f28_while_we_are_away_nginx_by_itself_would_close_event_sources_for_good(server, behind):
    default = behind(server, "nginx-default")
    server.process.kill()
    server.process.wait()
    assert default.client.get("/c/x", headers={"Accept": "text/event-stream"}).status_code == 502


@pytest.mark.parametrize("front", RECOMMENDED)
def test_f28_while_we_are_away_the_recommended_configuration_keeps_event_sources_alive(server, behind, front):
    recommended = behind(server, front)
    server.process.kill()
    server.process.wait()
    headers = {"Accept": "text/event-stream"}
    away = recommended.client.get("/c/x", headers=headers)
    assert (away.status_code, away.headers["content-type"], away.text) == (200, "text/event-stream", "retry: 1000\n\n")
    assert "access-control-allow-origin" not in away.headers
    # A page of another origin than the proxy's: its EventSource, too, has to be able to read that.
    elsewhere = recommended.client.get("/c/x", headers={**headers, "Origin": "https://app.example"})
    assert elsewhere.headers["access-control-allow-origin"] == "https://app.example"
    assert elsewhere.headers["access-control-allow-credentials"] == "true"
    assert recommended.client.post("/c/x", content="x").status_code == 503
    server.start()
    # HAProxy asks once a second who is there.
    eventually("it lets through again", lambda: recommended.client.get("/livez").status_code == 200)
    with open_stream(recommended.client, "/c/x") as source:
        assert next(dispatched(source)).event == "$ready"


@pytest.mark.parametrize("front", RECOMMENDED)
def test_f2_a_drain_ends_streams_through_a_proxy_as_cleanly_as_without(serve, behind, front):
    server = serve(drain_within="500ms")
    proxy = behind(server, front)
    with Wire(proxy) as wire:
        wire.request("GET /c/x", STREAM)
        wire.until(b"event: $ready\n")
        server.terminate()
        end = wire.until(b"0\r\n\r\n")
        assert b"retry: " in end
