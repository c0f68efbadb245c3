"""RFC 9113 sections 3 to 6: how a connection begins, what breaks it, and how it ends."""

import struct
import time

import pytest
from frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES_MAX,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW,
    WINDOW_UPDATE,
    Http2,
    frame,
    priority,
    reset,
    settings,
    window_update,
)
from stage import PATIENCE, Tidewire, eventually
from vitals import vitals


def test_it_begins_with_settings_that_say_what_the_server_takes(server: Tidewire) -> None:
    with Http2(server) as http:
        first = http.next()
        assert (first.kind, first.flags & ACK) == (SETTINGS, 0), "the server's preface is a SETTINGS frame"
        assert http.settings[MAX_CONCURRENT_STREAMS] == 256
        assert http.settings[MAX_HEADER_LIST_SIZE] == 16_384
        assert http.settings[ENABLE_CONNECT_PROTOCOL] == 1, "RFC 8441"
        assert http.settings.get(ENABLE_PUSH, 0) == 0
        assert http.settings.get(MAX_FRAME_SIZE, FRAME_BYTES_MAX) == FRAME_BYTES_MAX
        http.until("our settings are acknowledged", lambda: http.acknowledged == 1)


def test_every_settings_frame_is_acknowledged_once_and_in_turn(server: Tidewire) -> None:
    with Http2(server) as http:
        for values in ({}, {INITIAL_WINDOW_SIZE: 1_000}, {MAX_FRAME_SIZE: FRAME_BYTES_MAX}, {0xABCD: 7}):
            http.send(settings(values))
        http.until("all five are", lambda: http.acknowledged == 5)
        http.ping()
        assert http.acknowledged == 5
        assert http.ask("GET", "/livez").status == 200, "an unknown setting is passed over"


def test_a_preface_may_come_in_pieces(server: Tidewire) -> None:
    with Http2(server, begin=False) as http:
        for byte in PREFACE + settings():
            http.send(bytes([byte]))
        assert http.ask("GET", "/livez").status == 200


def test_requests_may_come_along_with_the_preface(server: Tidewire) -> None:
    """RFC 9113 section 3.4: a client need not wait for the server's settings."""
    with Http2(server, begin=False) as http:
        http.send(PREFACE + settings() + http.opening(http.head("GET", "/livez")))
        assert http.answer(http.newest).status == 200


def test_a_ping_is_answered_with_its_own_word(server: Tidewire) -> None:
    with Http2(server) as http:
        http.ping(b"\0one\xff\xfe\xfd2")
        http.ping(b"12345678")
        assert http.pongs == [b"\0one\xff\xfe\xfd2", b"12345678"]


def test_an_answer_to_a_ping_that_nobody_sent_is_passed_over(server: Tidewire) -> None:
    with Http2(server) as http:
        http.send(frame(PING, payload=b"unasked.", flags=ACK))
        http.ping()


def test_frames_and_flags_that_nobody_knows_are_passed_over(server: Tidewire) -> None:
    with Http2(server) as http:
        http.send(frame(0x0B, 0, b"unknown") + frame(0xFE, 1, b"", 0xFF) + frame(0x10, 0, b"\0\0\0\1u=1"))
        http.send(frame(PING, payload=b"eight...", flags=0xFE))
        assert http.ask("GET", "/livez").status == 200


def test_priorities_change_nothing(server: Tidewire) -> None:
    with Http2(server) as http:
        http.send(priority(7) + priority(9, 7))
        weight, flags = struct.pack(">IB", 0x8000_0000 | 7, 200), END_HEADERS | END_STREAM | PRIORITISED
        http.send(http.opening(http.head("GET", "/livez"), flags=flags, ahead=weight))
        assert http.answer(http.newest).status == 200


HEAD = "a whole head"
"""Stands for a header block that is right, in the payload of an attack."""

CONNECTION_ERRORS = {
    # What breaks a connection, and the codes that it may be told in. RFC 9113, by section.
    # 4.2
    "a_frame_that_is_too_long": (frame(PING, payload=b"x" * (FRAME_BYTES_MAX + 1)), {FRAME_SIZE_ERROR}),
    # 5.1
    "data_on_an_idle_stream": (frame(DATA, 1, b"x"), {PROTOCOL_ERROR}),
    "a_reset_of_an_idle_stream": (reset(1), {PROTOCOL_ERROR}),
    "window_for_an_idle_stream": (window_update(1, 1), {PROTOCOL_ERROR}),
    # 5.1.1
    "a_stream_of_the_server's": ((HEADERS, 2, HEAD, END_HEADERS | END_STREAM), {PROTOCOL_ERROR}),
    "a_stream_that_was_passed_over": (
        (HEADERS, 5, HEAD, END_HEADERS | END_STREAM, HEADERS, 3, HEAD, END_HEADERS | END_STREAM),
        {PROTOCOL_ERROR, STREAM_CLOSED},
    ),
    # 6.1
    "data_on_no_stream": (frame(DATA, 0, b"x"), {PROTOCOL_ERROR}),
    # 6.2
    "a_head_on_no_stream": ((HEADERS, 0, HEAD, END_HEADERS | END_STREAM), {PROTOCOL_ERROR}),
    "padding_longer_than_its_head": (frame(HEADERS, 1, b"\x06abcde", PADDED | END_HEADERS), {PROTOCOL_ERROR}),
    # 6.3
    "a_priority_on_no_stream": (priority(0), {PROTOCOL_ERROR}),
    # 6.4
    "a_reset_of_no_stream": (reset(0), {PROTOCOL_ERROR}),
    "a_short_reset": ((HEADERS, 1, HEAD, END_HEADERS, RST_STREAM, 1, b"\0\0\0", 0), {FRAME_SIZE_ERROR}),
    # 6.5
    "settings_on_a_stream": (frame(SETTINGS, 1), {PROTOCOL_ERROR}),
    "an_acknowledgement_with_settings": (frame(SETTINGS, 0, b"\0" * 6, ACK), {FRAME_SIZE_ERROR}),
    "half_a_setting": (frame(SETTINGS, 0, b"\0" * 5), {FRAME_SIZE_ERROR}),
    "a_push_of_two": (settings({ENABLE_PUSH: 2}), {PROTOCOL_ERROR}),
    "a_window_past_31_bits": (settings({INITIAL_WINDOW_SIZE: 1 << 31}), {FLOW_CONTROL_ERROR}),
    "frames_of_one_byte": (settings({MAX_FRAME_SIZE: 1}), {PROTOCOL_ERROR}),
    "frames_past_24_bits": (settings({MAX_FRAME_SIZE: 1 << 24}), {PROTOCOL_ERROR}),
    # 6.6
    "a_push_of_the_client's": ((PUSH_PROMISE, 1, HEAD, END_HEADERS), {PROTOCOL_ERROR}),
    # 6.7
    "a_short_ping": (frame(PING, payload=b"seven.."), {FRAME_SIZE_ERROR}),
    "a_ping_on_a_stream": (frame(PING, 1, b"eight..."), {PROTOCOL_ERROR}),
    # 6.8
    "a_goaway_on_a_stream": (frame(GOAWAY, 1, b"\0" * 8), {PROTOCOL_ERROR}),
    # 6.9
    "no_window_for_the_connection": (window_update(0, 0), {PROTOCOL_ERROR}),
    "a_window_that_overflows": (window_update(0, 0x7FFF_FFFF), {FLOW_CONTROL_ERROR}),
    "a_short_window": (frame(WINDOW_UPDATE, 0, b"\0\0\1"), {FRAME_SIZE_ERROR}),
    # 6.10
    "a_continuation_of_nothing": (frame(CONTINUATION, 1, b"", END_HEADERS), {PROTOCOL_ERROR}),
    "a_frame_amid_a_head": ((HEADERS, 1, HEAD, END_STREAM, PING, 0, b"eight...", 0), {PROTOCOL_ERROR}),
    "another_stream_amid_a_head": ((HEADERS, 1, HEAD, END_STREAM, CONTINUATION, 3, b"", END_HEADERS), {PROTOCOL_ERROR}),
    "an_end_of_a_head_twice": (
        (HEADERS, 1, HEAD, END_STREAM | END_HEADERS, CONTINUATION, 1, b"", END_HEADERS),
        {PROTOCOL_ERROR},
    ),
    # 4.3, and RFC 7541
    "a_field_of_no_table": (frame(HEADERS, 1, b"\xff\xff\xff\xff\x0f", END_HEADERS | END_STREAM), {COMPRESSION_ERROR}),
    "a_table_past_what_is_allowed": (frame(HEADERS, 1, b"\x3f\xe1\xff\x03\x82", END_HEADERS | END_STREAM), {COMPRESSION_ERROR}),
    "huffman_that_ends_in_its_middle": (frame(HEADERS, 1, b"\x00\x81\xff\x81\xff", END_HEADERS | END_STREAM), {COMPRESSION_ERROR}),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_what_breaks_a_connection_is_told_with_its_code_and_ends_it(shared: Tidewire, name: str) -> None:
    attack, codes = CONNECTION_ERRORS[name]
    with Http2(shared) as http, Http2(shared) as beside:
        stream = beside.listen("x")
        if isinstance(attack, tuple):
            pieces = zip(*(iter(attack),) * 4, strict=True)
            heads = lambda payload: http.block(http.head("GET", "/c/x")) if payload is HEAD else payload  # noqa: E731
            attack = b"".join(frame(kind, number, heads(payload), flags) for kind, number, payload, flags in pieces)
        http.push(attack)
        # The library that reads frames for us says PROTOCOL_ERROR of whatever it cannot decode.
        assert http.error() in codes | {PROTOCOL_ERROR}, http.goaways
        shared.publish("x", "others go on")
        beside.until_body(stream, b"others go on")


NO_PREFACES = {
    "a_frame": settings(),
    "a_wrong_end": PREFACE[:-4] + b"XX\r\n",
    "another_version": b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
    "no_settings_behind_it": PREFACE + frame(PING, payload=b"eight..."),
    "an_acknowledgement_behind_it": PREFACE + frame(SETTINGS, flags=ACK),
}


@pytest.mark.parametrize("name", NO_PREFACES)
def test_what_is_no_preface_is_refused_at_once(shared: Tidewire, name: str) -> None:
    with Http2(shared, begin=False) as http:
        http.push(NO_PREFACES[name])
        began = time.monotonic()
        said = b""
        while piece := http.receive():
            said += piece
        assert time.monotonic() - began < 3, "at once, and not when a deadline has passed"
        assert b"HTTP/1.1 200" not in said
    assert shared.publish("x", "well")["id"]


def test_s33_a_preface_that_does_not_end_is_cut(serve) -> None:
    server = serve(**{"limits.first_byte_max": "300ms", "limits.head_max": "500ms", "limits.linger_max": "100ms"})
    before = vitals(server).descriptors
    pieces = {PREFACE[:3], PREFACE[:15], PREFACE[:-1], PREFACE, PREFACE + settings()[:5], PREFACE + settings({3: 1})[:-1]}
    held = {piece: Http2(server, begin=False) for piece in pieces}
    for piece, http in held.items():
        http.push(piece)
    time.sleep(1)
    for http in held.values():
        http.until_quiet(0.01)
    assert [piece for piece, http in held.items() if not http.closed] == []
    eventually("all are given back, whether or not they are closed there", lambda: vitals(server).descriptors <= before)


HALF_HEADS = {
    # What is sent first, and what then drips for ever.
    "half_a_frame": (lambda opening: (opening[:20], b"x")),
    "a_frame_without_its_end": (lambda opening: (opening[:4] + bytes([END_STREAM]) + opening[5:], b"")),
    "frames_without_an_end": (
        lambda opening: (opening[:4] + bytes([END_STREAM]) + opening[5:], frame(CONTINUATION, 3, b"\x00\x01x\x01y"))
    ),
}


@pytest.mark.parametrize("name", HALF_HEADS)
def test_s33_a_head_that_does_not_end_is_cut(serve, name: str) -> None:
    """Also on a connection that has a stream, which is not idle."""
    server = serve(**{"limits.head_max": "500ms"})
    with Http2(server) as http:
        http.listen("x")
        first, drop = HALF_HEADS[name](http.opening(http.head("GET", "/c/x", ("x-long", "x" * 5_000))))
        http.push(first)
        began = time.monotonic()
        while not http.closed and time.monotonic() - began < 5:
            http.push(drop)
            http.until_quiet(0.1)
        assert http.closed and time.monotonic() - began < 3
    eventually("its stream is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)


def test_a_connection_without_streams_is_told_to_go_and_one_with_a_stream_stays(serve) -> None:
    server = serve(**{"limits.keep_alive_max": "500ms"})
    with Http2(server) as idle, Http2(server) as fresh, Http2(server) as busy:
        stream = busy.listen("x")
        assert idle.ask("GET", "/livez").status == 200
        assert idle.error() == NO_ERROR
        assert fresh.error() == NO_ERROR, "one that never asked for anything, too"
        server.publish("x", "still here")
        busy.until_body(stream, b"data: still here\n")
        busy.send(reset(stream))
        assert busy.error() == NO_ERROR, "idle it is only now"


@pytest.mark.full
def test_an_idle_client_that_answers_nothing_is_gone_too(serve) -> None:
    """A clean end has a ping in it, whose answer must not be waited for without end."""
    server = serve(**{"limits.keep_alive_max": "500ms"})
    with Http2(server) as http:
        http.answers_pings = False
        assert http.error() == NO_ERROR


def test_pings_do_not_keep_an_idle_connection(serve) -> None:
    server = serve(**{"limits.keep_alive_max": "500ms"})
    with Http2(server) as http:
        deadline = time.monotonic() + 5
        while not http.goaways and time.monotonic() < deadline:
            http.push(frame(PING, payload=b"alive..."))
            http.until_quiet(0.1)
        assert [code for _, code in http.goaways][:1] == [NO_ERROR]


def test_in_a_drain_goaway_comes_first_and_every_stream_ends_in_order(serve) -> None:
    server = serve(drain_within="1s")
    with Http2(server) as http:
        streams = [http.listen(f"c{n}") for n in range(20)]
        for n in range(20):
            server.publish(f"c{n}", f"last words {n}")
        server.terminate()
        http.until("it is told to go", lambda: bool(http.goaways))
        last, code = http.goaways[0]
        assert code == NO_ERROR and last >= streams[-1], "none of these is called unprocessed"
        assert not all(http.answers[stream].over for stream in streams), "it is told before they have all ended"
        for n, stream in enumerate(streams):
            answer = http.answer(stream)
            assert answer.ended and answer.reset is None
            end = answer.body.index(f"data: last words {n}\n".encode())
            assert b"retry: " in answer.body[end:], "when to come back is the last that is said"
        assert http.error() == NO_ERROR
    assert server.process.wait(PATIENCE) == 0, server.said()


def test_in_a_drain_a_new_stream_is_not_taken_for_one_that_was_served(serve) -> None:
    """Refused by its number in the last GOAWAY, by REFUSED_STREAM, or by an answer that says why."""
    server = serve(drain_within="1s")
    with Http2(server) as http:
        http.listen("x")
        server.terminate()
        http.until("it is told to go", lambda: bool(http.goaways))
        http.until_quiet(0.2)
        head = http.opening(http.head("POST", "/c/x"), flags=END_HEADERS)
        http.push(head + frame(DATA, http.newest, b"too late", END_STREAM))
        http.error()
        late, answer = http.newest, http.answers[http.newest]
        unprocessed = http.goaways[-1][0] < late or answer.reset is not None
        assert unprocessed or answer.status == 503, answer
    assert server.process.wait(PATIENCE) == 0, server.said()


def test_a_client_that_says_goaway_keeps_the_streams_that_it_has(server: Tidewire) -> None:
    with Http2(server) as http:
        stream = http.listen("x")
        http.send(frame(GOAWAY, payload=struct.pack(">II", 0, NO_ERROR)))
        http.ping()
        server.publish("x", "goes on")
        http.until_body(stream, b"data: goes on\n")


def test_a_client_that_is_gone_leaves_nothing_behind(server: Tidewire) -> None:
    server.publish("x", "the connection that publishes is there")
    before = vitals(server).descriptors
    http = Http2(server)
    for n in range(50):
        http.listen("x")
    assert server.publish("x", "probe")["receivers"]["sse"] == 50
    http.close()
    eventually("all fifty are gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)
    eventually("and the connection", lambda: vitals(server).descriptors <= before)


@pytest.mark.parametrize("size", [0, 64, 4_096, 65_536])
def test_any_header_table_of_the_client_will_do(server: Tidewire, size: int) -> None:
    with Http2(server, {HEADER_TABLE_SIZE: size}) as http:
        http.tables(size)
        for _ in range(5):
            assert http.ask("GET", "/livez").status == 200
        assert http.ask("GET", "/c/x").headers["content-type"] == "application/json"


def test_the_windows_that_a_client_announces_hold_from_their_acknowledgement(server: Tidewire) -> None:
    with Http2(server, {INITIAL_WINDOW_SIZE: 10}, grants="never") as http:
        stream = http.request("GET", "/livez")
        http.head_of(stream)
        http.until_quiet(0.1)
        assert len(http.answers[stream].body) <= 10
        http.send(settings({INITIAL_WINDOW_SIZE: WINDOW}))
        assert http.answer(stream).status == 200, "a window that was announced larger is larger for old streams too"


@pytest.mark.full
def test_pings_of_the_server_find_out_who_is_gone(server: Tidewire) -> None:
    """Every 20 s, answered within 10 s. The streams of who does not answer are ended."""
    with Http2(server) as alive, Http2(server) as dead:
        for http in (alive, dead):
            http.listen("x")
        dead.answers_pings = False
        began = time.monotonic()
        while server.publish("x", "probe")["receivers"]["sse"] == 2:
            assert time.monotonic() - began < 40
            alive.until_quiet(0.5)
            dead.until_quiet(0.5)
        assert time.monotonic() - began > 25
        alive.until_quiet(0.5)
        assert not alive.closed
