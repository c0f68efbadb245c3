"""Server-Sent Events, byte by byte and as httpx-sse reads them (docs/protocol.md, "Server-Sent Events")."""

import json

import httpx
import pytest
from httpx_sse import connect_sse
from stage import PATIENCE, dispatched, eventually
from wire import Wire

STREAM = "Accept: text/event-stream"


def test_httpx_sse_hears_what_was_missed_and_then_what_is_live(server):
    cursor = server.publish("x", "seen")["id"]
    server.publish("x", "missed", tidewire_event="trade")
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        connect_sse(client, "GET", f"{server.url}/c/x", headers={"Last-Event-ID": cursor}) as source,
    ):
        events = dispatched(source)
        ready = next(events)
        assert (ready.event, json.loads(ready.data)) == ("$ready", {"channels": ["x"], "cursor": cursor})
        missed = next(events)
        assert (missed.event, missed.data) == ("trade", "missed")
        receipt = server.publish("x", "live")
        live = next(events)
        assert (live.event, live.data, live.id) == ("message", "live", receipt["id"])


def test_the_head_and_a_jittered_retry_go_out_at_once(server):
    advised = set()
    for _ in range(8):
        with Wire(server) as wire:
            wire.request("GET /c/x", STREAM)
            wire.head()
            line = wire.until(b"\n\n")
            assert b"retry: " in line
            advised.add(int(line.split(b"retry: ")[1].split(b"\n")[0]))
    assert all(1000 <= retry <= 3000 for retry in advised), advised
    assert len(advised) > 1, "a thousand clients must not come back in the same instant"


@pytest.mark.parametrize("accept", ["text/event-stream", "TEXT/Event-Stream", "text/html;q=0.1, text/event-stream;q=0.9"])
def test_accept_asks_for_a_stream(server, accept):
    with Wire(server) as wire:
        wire.request("GET /c/x", f"Accept: {accept}")
        assert wire.head().headers["content-type"].split(";")[0] == "text/event-stream"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-streams", "text/*"])
def test_accept_asks_for_a_poll(server, accept):
    assert server.client.get("/c/x", headers={"Accept": accept}).headers["content-type"].split(";")[0] == "application/json"


def test_http_1_0_gets_a_stream_that_only_the_close_ends(server):
    """nginx speaks HTTP/1.0 to its upstream unless it is told otherwise."""
    with Wire(server) as wire:
        wire.request("GET /c/x HTTP/1.0", STREAM)
        head = wire.head()
        assert head.status == 200 and "transfer-encoding" not in head.headers and "content-length" not in head.headers
        wire.until(b"event: $ready\n")
        wire.until(b"\n\n")
        receipt = server.publish("x", "1")
        block = wire.until(b"\n\n")
        assert sorted(block.split(b"\n")) == sorted([b"data: 1", f"id: {receipt['id']}".encode(), b"", b""])


def test_http_1_1_gets_chunks(server):
    with Wire(server) as wire:
        wire.request("GET /c/x", STREAM)
        assert wire.head().headers["transfer-encoding"] == "chunked"
        while b"$ready" not in wire.chunk():
            pass
        server.publish("x", "1")
        assert b"data: 1\n" in wire.chunk()


def test_r6_a_quiet_stream_gets_heartbeats_that_hold_an_id_and_nothing_else(serve):
    server = serve(**{"limits.heartbeat": "200ms"})
    with Wire(server) as wire:
        wire.request("GET /c/x HTTP/1.0", STREAM)
        wire.until(b"event: $ready\n")
        wire.until(b"\n\n")
        published = server.publish("elsewhere", "1")["id"]
        while (block := wire.until(b"\n\n").decode()) != f"id: {published}\n\n":
            assert block.startswith("id: ") and block.count("\n") == 2, block


def test_last_event_id_beats_the_cursor_in_the_url(server):
    """EventSource reconnects to the URL it was given, cursor and all; what it heard since then counts more."""
    ids = [server.publish("x", str(n))["id"] for n in range(3)]
    with Wire(server) as wire:
        wire.request(f"GET /c/x?cursor={ids[0]} HTTP/1.0", STREAM, f"Last-Event-ID: {ids[1]}")
        wire.until(b"event: $ready\n")
        wire.until(b"\n\n")
        assert b"data: 2\n" in wire.until(b"\n\n")


def test_a_stream_on_a_connection_that_served_other_requests_before(server):
    """The browser loads a page and opens its EventSource on the same connection; nginx keeps upstream ones too."""
    with Wire(server) as wire:
        for _ in range(2):
            wire.request("POST /c/x", body=b"before")
            assert wire.response().status == 200
        wire.request("GET /c/x?tail=1", STREAM)
        head = wire.head()
        assert head.headers["content-type"].split(";")[0] == "text/event-stream"
        assert (head.headers["x-accel-buffering"], head.headers["cache-control"]) == ("no", "no-store, no-transform")
        wire.until(b"data: before\n")
        server.publish("x", "live")
        wire.until(b"data: live\n")


def test_a_closed_stream_on_such_a_connection_frees_its_slot_too(server):
    with Wire(server) as wire:
        wire.request("POST /c/x", body=b"before")
        wire.response()
        wire.request("GET /c/x", STREAM)
        wire.until(b"$ready")
        eventually("it is counted", lambda: server.publish("x", "probe")["receivers"]["sse"] == 1)
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)


def test_a_client_that_half_closes_ends_its_stream(server):
    """FIN ends a stream (R29)."""
    with Wire(server) as wire:
        wire.request("GET /c/x", STREAM)
        wire.until(b"$ready")
        wire.finish()
        wire.rest()
    assert server.publish("x", "probe")["receivers"]["sse"] == 0


def test_a_slow_reader_is_cut_and_costs_nobody_else(serve):
    """S35: it can come back with its cursor; the publisher never waited."""
    server = serve(**{"limits.queue_bytes_max": "256KiB", "limits.queue_age_max": "60s"})
    with Wire(server) as slow, Wire(server) as quick:
        for wire in (slow, quick):
            wire.request("GET /c/x HTTP/1.0", STREAM)
            wire.until(b"event: $ready\n")
        body = "x" * 60_000
        for n in range(400):
            receipt = server.publish("x", f"{n} {body}")
            quick.until(f"data: {n} x".encode())
            if receipt["receivers"]["sse"] == 1:
                break
        else:
            pytest.fail("24 MB were queued for a reader that does not read")
        assert b"data: 0 x" in slow.rest()
