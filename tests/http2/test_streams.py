"""Streams of events over HTTP/2: many on one connection, each with its own back-pressure, and gone when they are reset."""

import json
import re
from collections.abc import Callable

import pytest
from frames import (
    CANCEL,
    FLOW_CONTROL_ERROR,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    WINDOW,
    Http2,
    settings,
    window_update,
)
from stage import Tidewire, eventually
from vitals import MIB, unharmed

DATA_LINE = re.compile(rb"^data: (\d+)$", re.MULTILINE)
ID_LINE = re.compile(rb"^id: (\S+)$", re.MULTILINE)


def whole(body: bytes) -> bytes:
    """The blocks of a stream that have their end."""
    return body[: body.rfind(b"\n\n") + 2]


def numbers(body: bytes) -> list[int]:
    """The numbers that were published, as a stream told them."""
    return [int(number) for number in DATA_LINE.findall(whole(body))]


def until_told(http: Http2, stream: int, number: int) -> None:
    """Reads until a stream has told a number, to the end of its block."""
    http.until_body(stream, f"data: {number}\n".encode())
    http.until("the end of its block", lambda: http.answers[stream].body.endswith(b"\n\n"))


def gauge(server: Tidewire, name: str) -> int:
    """A number of `/metrics`, summed over its labels."""
    text = server.client.get("/metrics").text
    return sum(int(each) for each in re.findall(rf"^tidewire_{name}(?:{{.*}})? (\d+)$", text, re.MULTILINE))


def listeners(server: Tidewire, channel: str = "x") -> int:
    """How many streams listen to a channel."""
    held = {each["channel"]: each["receivers"] for each in server.client.get("/v1/channels").json()["channels"]}
    return held.get(channel, {"sse": 0})["sse"]


def test_a_stream_is_what_it_is_over_http_1(server: Tidewire) -> None:
    with Http2(server) as http:
        stream = http.listen("x")
        answer = http.answers[stream]
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "content-length" not in answer.headers
        assert answer.body.startswith(b"retry: ")
        told = server.publish("x", "two\nlines", tidewire_event="trade")
        http.until_body(stream, f"event: trade\ndata: two\ndata: lines\nid: {told['id']}\n\n".encode())


def test_a_hundred_streams_of_one_connection_are_all_live(server: Tidewire) -> None:
    with Http2(server) as http:
        streams = [http.listen(f"own:{n},all") for n in range(100)]
        for n in range(100):
            server.publish(f"own:{n}", str(1_000 + n))
        server.publish("all", "7")
        for n, stream in enumerate(streams):
            until_told(http, stream, 7)
            assert numbers(http.answers[stream].body) == [1_000 + n, 7]
        assert listeners(server, "all") == 100


def test_a_connection_may_have_256_streams_and_no_more(server: Tidewire) -> None:
    """A page of a hundred EventSources loads; the 257th stream is refused in a way that says that it may be tried again."""
    with Http2(server) as http:
        http.ping()
        for n in range(256):
            http.request("GET", f"/c/c{n}", ("accept", "text/event-stream"))
        last = http.newest
        http.until_body(last, b"$ready")
        beyond = http.answer(http.request("GET", "/c/x", ("accept", "text/event-stream")))
        assert (beyond.status, beyond.reset) == (0, REFUSED_STREAM)
        assert not http.answers[last].over and not http.goaways
        http.reset(last)
        http.listen("again")


def test_the_bound_of_streams_is_that_of_the_configuration(serve) -> None:
    server = serve(**{"limits.streams_per_connection_max": 8})
    with Http2(server) as http, Http2(server) as other:
        http.ping()
        assert http.settings[MAX_CONCURRENT_STREAMS] == 8
        streams = [http.listen("x") for _ in range(8)]
        assert http.answer(http.request("GET", "/c/x")).reset == REFUSED_STREAM
        other.listen("x")
        for stream in streams:
            http.reset(stream)
        for _ in range(8):
            http.listen("x")


def test_who_opens_more_streams_than_it_may_before_it_could_know_is_refused_and_no_more(serve) -> None:
    """The client's settings and streams are on their way before the server's are there."""
    server = serve(**{"limits.streams_per_connection_max": 8})
    with Http2(server) as http:
        streams = [http.request("GET", "/c/x", ("accept", "text/event-stream")) for _ in range(12)]
        http.ping()
        refused = [stream for stream in streams if http.answers[stream].reset == REFUSED_STREAM]
        assert refused == streams[8:]
        assert not http.goaways


# What is not read is not sent


def test_without_a_window_nothing_comes_and_with_one_the_rest_does(server: Tidewire) -> None:
    with Http2(server, {INITIAL_WINDOW_SIZE: 0}, grants="never") as http, Http2(server) as reader:
        stream, told = http.request("GET", "/c/x", ("accept", "text/event-stream")), reader.listen("x")
        http.head_of(stream)
        eventually("it has subscribed", lambda: listeners(server) == 2)
        for n in range(50):
            server.publish("x", str(n))
        until_told(reader, told, 49)
        http.until_quiet(0.1)
        assert http.answers[stream].body == b"" and not http.answers[stream].over
        http.send(window_update(stream, 10))
        http.until("the first ten bytes", lambda: len(http.answers[stream].body) == 10)
        http.until_quiet(0.1)
        assert len(http.answers[stream].body) == 10, "not a byte more than was asked for"
        http.send(window_update(stream, WINDOW))
        until_told(http, stream, 49)
        assert numbers(http.answers[stream].body) == list(range(50)), "nothing lost, nothing twice, in order"


def test_a_window_that_opens_byte_by_byte_gets_every_byte(server: Tidewire) -> None:
    with Http2(server, {INITIAL_WINDOW_SIZE: 0}, grants="never") as http:
        stream = http.request("GET", "/livez")
        http.head_of(stream)
        for _ in range(200):
            if http.answers[stream].over:
                break
            had = len(http.answers[stream].body)
            http.send(window_update(stream, 1))
            http.until("another byte", lambda had=had: len(http.answers[stream].body) > had or http.answers[stream].over)
        assert http.answers[stream].ended
        assert http.answers[stream].body == server.client.get("/livez").content


def test_the_window_of_the_connection_holds_back_every_stream_and_loses_nothing(server: Tidewire) -> None:
    """Each stream has a window of a mebibyte, and all of them together 64 KiB."""
    with Http2(server, {INITIAL_WINDOW_SIZE: MIB}, grants="never") as http, Http2(server) as reader:
        streams, told = [http.listen("x") for _ in range(10)], reader.listen("x")
        for n in range(20):
            server.publish("x", f"{n}\n{'x' * 2_000}")
        until_told(reader, told, 19)
        http.until_quiet(0.1)
        assert sum(len(http.answers[stream].body) for stream in streams) == WINDOW
        http.send(window_update(0, MIB))
        for stream in streams:
            until_told(http, stream, 19)
            assert numbers(http.answers[stream].body) == list(range(20))


def test_a_stream_that_is_not_read_does_not_hold_back_the_one_beside_it(server: Tidewire) -> None:
    with Http2(server, {INITIAL_WINDOW_SIZE: 1_000}, grants="never") as http:
        shut, read = http.listen("x"), http.listen("x")
        http.send(window_update(0, MIB) + window_update(read, MIB))
        for n in range(100):
            server.publish("x", str(n))
        until_told(http, read, 99)
        assert numbers(http.answers[read].body) == list(range(100))
        assert len(http.answers[shut].body) <= 1_000 and not http.answers[shut].over


def test_a_smaller_window_may_be_announced_below_what_was_sent(server: Tidewire) -> None:
    """RFC 9113 section 6.9.2: the window is negative then, and has to be earned again."""
    with Http2(server, {INITIAL_WINDOW_SIZE: 1_000}, grants="never") as http:
        stream = http.listen("x")
        had = len(http.answers[stream].body)
        http.send(settings({INITIAL_WINDOW_SIZE: 0}))
        http.ping()
        server.publish("x", "1")
        http.send(window_update(stream, had))
        http.until_quiet(0.1)
        assert len(http.answers[stream].body) == had
        http.send(window_update(stream, 1_000))
        until_told(http, stream, 1)


SLOW = {
    # A bound, and how large the messages are that reach it.
    "too_many_messages": ({"limits.queue_messages_max": 100}, 1_000),
    "too_many_bytes": ({"limits.queue_bytes_max": "64KiB"}, 4_000),
    "too_old_a_message": ({"limits.queue_age_max": "500ms"}, 1_000),
}


@pytest.mark.parametrize("reason", SLOW)
def test_s35_who_reads_too_slowly_loses_that_stream_and_nothing_of_what_was_published(serve, reason: str) -> None:
    bounds, size = SLOW[reason]
    server = serve(**bounds)
    with Http2(server, {INITIAL_WINDOW_SIZE: 1_000}, grants="never") as http, Http2(server) as reader:
        slow, quick, told = http.listen("x"), http.listen("x"), reader.listen("x")
        http.send(window_update(0, 16 * MIB) + window_update(quick, 16 * MIB))
        # Beyond what sockets and the stream's own buffer hold.
        for n in range(200):
            server.publish("x", f"{n}\n{'x' * size}")
            until_told(reader, told, n)
            until_told(http, quick, n)
        eventually("the slow one is let go", lambda: listeners(server) == 2)
        http.send(window_update(slow, 16 * MIB))
        end = http.answer(slow)
        assert end.ended or end.reset in (NO_ERROR, CANCEL, REFUSED_STREAM, 0xB), end
        assert not http.goaways, "it costs only itself"
        heard = numbers(end.body)
        assert heard == list(range(len(heard))), "what it got it got in order"
        cursor = ID_LINE.findall(whole(end.body))[-1].decode()
        again = http.listen("x", ("last-event-id", cursor))
        http.send(window_update(again, 16 * MIB))
        until_told(http, again, 199)
        rest = numbers(http.answers[again].body)
        assert rest == list(range(len(heard), 200)), "with its cursor it gets the rest"
        assert numbers(http.answers[quick].body) == numbers(reader.answers[told].body) == list(range(200))


def test_s35_what_nobody_reads_stays_within_the_memory_budget(serve: Callable[..., Tidewire]) -> None:
    """A thousand streams and polls that ask for a mebibyte each, on ten connections without a window: those who have waited
    longest are sent away once a quarter of the budget waits for clients."""
    server = serve(**{"limits.memory_budget": "256MiB"})
    for n in range(16):
        server.publish("large", "x" * 60_000)
    with unharmed(server, growth_max=128 * MIB):
        wires = [Http2(server, {INITIAL_WINDOW_SIZE: 0}, grants="never") for _ in range(10)]
        for http in wires:
            for n in range(100):
                accept = "text/event-stream" if n % 2 else "application/json"
                http.request("GET", "/c/large?cursor=earliest", ("accept", accept))
        for http in wires:
            http.ping()
            http.until_quiet(0.1)
        for http in wires:
            http.close()


def test_s35_a_stream_without_a_window_holds_nothing_of_what_its_neighbours_have_read(server: Tidewire) -> None:
    """Each message leaves in one piece for all streams of a connection; what waits for one of them is its own part alone."""
    with unharmed(server, growth_max=24 * MIB), Http2(server, {INITIAL_WINDOW_SIZE: 0}, grants="never") as http:
        waits = http.request("GET", "/c/small", ("accept", "text/event-stream"))
        reads = [http.request("GET", "/c/large,small", ("accept", "text/event-stream")) for _ in range(50)]
        http.send(b"".join(window_update(stream, 1 << 30) for stream in [0, *reads]))
        for stream in [waits, *reads]:
            http.head_of(stream)
        eventually("all have subscribed", lambda: listeners(server, "small") == 51)
        for n in range(100):
            at_once = [{"channel": "small", "data": str(n)}, {"channel": "large", "data": "x" * 10_000 + f" {n}."}]
            assert server.client.post("/v1/publish", json={"messages": at_once}).status_code == 200
            for stream in reads:
                http.until_body(stream, f" {n}.".encode())
            for stream in reads:
                http.answers[stream].body = b""
        http.send(window_update(waits, 1 << 30))
        until_told(http, waits, 99)


# Who goes


def test_a_reset_frees_the_subscription_at_once(server: Tidewire) -> None:
    with Http2(server) as http:
        kept = http.listen("x")
        eventually("who looked whether it had started is gone", lambda: gauge(server, "sockets") == 2)
        streams = [http.listen("x") for _ in range(50)]
        assert (gauge(server, "connections"), gauge(server, "sockets")) == (51, 2)
        assert server.publish("x", "1")["receivers"]["sse"] == 51
        for stream in streams:
            http.reset(stream)
        http.ping()
        eventually("fifty are gone", lambda: server.publish("x", "2")["receivers"]["sse"] == 1)
        eventually("and are counted no more", lambda: gauge(server, "connections") == 1)
        assert gauge(server, "sockets") == 2, "the connection is another thing"
        until_told(http, kept, 2)


@pytest.mark.parametrize("code", [NO_ERROR, CANCEL, REFUSED_STREAM, STREAM_CLOSED, 0xFFFF])
def test_a_reset_with_any_code_is_a_reset(server: Tidewire, code: int) -> None:
    with Http2(server) as http:
        stream = http.listen("x")
        http.reset(stream, code)
        eventually("it is gone", lambda: listeners(server) == 0)
        http.listen("x")


def test_a_reset_of_a_long_poll_frees_it(server: Tidewire) -> None:
    cursor = server.publish("x", "seen")["id"]
    with Http2(server) as http:
        for _ in range(20):
            http.reset(http.request("GET", f"/c/x?wait=60&cursor={cursor}"))
        waits = http.request("GET", f"/c/x?wait=60&cursor={cursor}")
        eventually("one waits", lambda: server.publish("y", "") and polls(server) == 1)
        server.publish("x", "now")
        assert json.loads(http.answer(waits).body)["messages"][0]["data"] == "now"


def polls(server: Tidewire) -> int:
    held = {each["channel"]: each["receivers"] for each in server.client.get("/v1/channels").json()["channels"]}
    return held["x"]["poll"]


def test_a_stream_that_overflows_its_window_is_reset_alone(server: Tidewire) -> None:
    with Http2(server) as http:
        broken, kept = http.listen("x"), http.listen("x")
        http.send(window_update(broken, 0x7FFF_FFFF))
        assert http.answer(broken).reset == FLOW_CONTROL_ERROR
        server.publish("x", "goes on")
        http.until_body(kept, b"data: goes on\n")


def test_a_window_update_of_nothing_ends_at_least_its_stream(server: Tidewire) -> None:
    """RFC 9113 sections 6.9 and 5.4.1: a stream's error, which may be taken for one of the connection."""
    with Http2(server) as http, Http2(server) as other:
        broken, kept = http.listen("x"), other.listen("x")
        http.send(window_update(broken, 0))
        http.until_quiet(0.2)
        assert http.answers[broken].reset == PROTOCOL_ERROR or http.error() == PROTOCOL_ERROR
        eventually("its subscription is gone", lambda: listeners(server) == 1)
        server.publish("x", "goes on")
        other.until_body(kept, b"data: goes on\n")


# Coming back


def test_a_stream_resumes_with_its_cursor_over_another_transport(server: Tidewire) -> None:
    cursor = server.publish("x", "0")["id"]
    for n in range(1, 500):
        server.publish("x", str(n))
    with Http2(server) as http:
        resumed = http.listen("x", ("last-event-id", cursor))
        until_told(http, resumed, 499)
        assert numbers(http.answers[resumed].body) == list(range(1, 500))
        asked = http.listen(f"x?cursor={cursor}&format=json")
        http.until_body(asked, b'"data":"499"')
        tail = http.listen("x?tail=3")
        until_told(http, tail, 499)
        assert numbers(http.answers[tail].body) == [497, 498, 499]


def test_a_stream_is_told_of_a_gap(serve) -> None:
    server = serve(**{"history.messages_max": 3})
    cursor = server.publish("x", "0")["id"]
    for n in range(1, 10):
        server.publish("x", str(n))
    with Http2(server) as http:
        stream = http.listen("x", ("last-event-id", cursor))
        until_told(http, stream, 9)
        body = http.answers[stream].body
        assert body.index(b"event: $gap\n") < body.index(b"event: $ready\n")
        assert b'"reason":"trimmed"' in body and numbers(body) == [7, 8, 9]


def test_heartbeats_keep_quiet_streams_awake(serve) -> None:
    server = serve(**{"limits.heartbeat": "200ms"})
    with Http2(server) as http:
        streams = [http.listen("x") for _ in range(5)]
        for stream in streams:
            http.until("three heartbeats", lambda stream=stream: len(ID_LINE.findall(http.answers[stream].body)) >= 4)


def test_an_event_source_that_is_refused_for_good_is_told_by_a_status(server: Tidewire) -> None:
    with Http2(server) as http:
        for path, status in (("/c/no%20spaces", 400), ("/c/$x", 400), (f"/c/{','.join(f'c{n}' for n in range(101))}", 400)):
            answer = http.ask("GET", path, ("accept", "text/event-stream"))
            assert answer.status in (status, 200), answer
            assert answer.status == status or b"event: $refused" in answer.body
        refused = http.ask("GET", "/c/x", ("accept", "text/event-stream"), ("origin", "https://evil.example"))
        assert "access-control-allow-origin" not in refused.headers, "S7"
