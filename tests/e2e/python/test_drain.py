"""F2: a process that is asked to end lets go of everyone politely, and a second signal is obeyed at once."""

import json

import httpx
from stage import PATIENCE, eventually
from wire import Wire


def test_streams_end_cleanly_after_a_retry_and_the_process_ends_with_0(serve):
    server = serve(drain_within="500ms")
    with Wire(server) as chunked, Wire(server) as plain:
        chunked.request("GET /c/x", "Accept: text/event-stream")
        plain.request("GET /c/x HTTP/1.0", "Accept: text/event-stream")
        for wire in (chunked, plain):
            wire.until(b"event: $ready\n")
        server.terminate()
        end = chunked.rest()
        assert b"retry: " in end and end.endswith(b"0\r\n\r\n"), end
        assert b"retry: " in plain.rest()
    assert server.process.wait(PATIENCE) == 0, server.said()


def test_a_waiting_poll_is_answered_with_its_cursor(serve):
    server = serve(drain_within="500ms")
    cursor = server.publish("x", "seen")["id"]
    with Wire(server) as wire:
        wire.request(f"GET /c/x?wait=60&cursor={cursor}")
        eventually("it waits", lambda: server.client.get("/v1/channels").json()["channels"][0]["receivers"]["poll"] == 1)
        server.terminate()
        answer = wire.response()
        assert answer.status in (200, 503), answer
        if answer.status == 200:
            assert json.loads(answer.body)["cursor"] == cursor


def test_r23_a_new_publish_is_not_taken_and_one_on_its_way_is_answered(serve):
    server = serve(drain_within="10s")
    with Wire(server) as kept, Wire(server) as on_its_way, Wire(server) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"$ready")
        kept.request("POST /c/x", body=b"before")
        assert kept.response().status == 200
        on_its_way.request("POST /c/x", "Content-Length: 6", body=b"hal")
        server.terminate()
        eventually("no newcomer is let in", lambda: not listening(server))
        on_its_way.send(b"ves")
        kept.request("POST /c/x", "Connection: close", body=b"too late")
        answer = kept.rest()
        assert answer == b"" or (answer.startswith(b"HTTP/1.1 503 ") and b'"draining"' in answer), answer
        assert on_its_way.head().status in (200, 503), "answered either way"


def test_readyz_is_red_while_draining(serve):
    server = serve(drain_within="10s")
    with Wire(server) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"$ready")
        assert listening(server)
        server.terminate()
        eventually("probes are refused or told 503", lambda: not listening(server))
        stream.rest()
    assert server.process.wait(PATIENCE) == 0, server.said()


def test_a_second_signal_ends_it_now(serve):
    server = serve(drain_within="60s")
    with Wire(server) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"$ready")
        server.terminate()
        eventually("it drains", lambda: not listening(server))
        server.terminate()
        server.process.wait(PATIENCE)


def test_websockets_are_closed_with_1012(serve):
    server = serve(drain_within="500ms")
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        server.terminate()
        assert wire.close_frame()[0] == 1012
    assert server.process.wait(PATIENCE) == 0, server.said()


def listening(server) -> bool:
    """Whether a newcomer is still let in and told that all is well."""
    try:
        return httpx.get(f"{server.url}/readyz", timeout=1, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
