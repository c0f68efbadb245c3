"""RFC 8441: a WebSocket on a stream of HTTP/2, beside whatever else the connection carries."""

import struct
from collections.abc import Callable

import pytest
from frames import DATA, END_STREAM, INITIAL_WINDOW_SIZE, NO_ERROR, PROTOCOL_ERROR, Http2, frame, window_update
from keys import GUARDED, ORIGIN, token
from stage import PATIENCE, Tidewire, eventually
from tunnel import Tunnel
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire
from wire import frame as said

V1 = ("sec-websocket-protocol", "tidewire.v1")


def sockets(server: Tidewire, channel: str = "x") -> int:
    """How many WebSockets listen to a channel."""
    return server.publish(channel, "probe")["receivers"]["ws"]


def test_an_extended_connect_opens_a_raw_websocket(server: Tidewire) -> None:
    with Http2(server) as http, Wire(server) as old:
        tunnel = Tunnel(http, "/c/x")
        assert tunnel.answer.status == 200
        for field in ("sec-websocket-accept", "upgrade", "connection", "content-length", "sec-websocket-extensions"):
            assert field not in tunnel.answer.headers, "those belong to HTTP/1.1"
        assert "sec-websocket-protocol" not in tunnel.answer.headers
        assert old.upgrade("/c/x").status == 101
        for opcode, payload in ((TEXT, "grüße".encode()), (BINARY, b"\0\xff"), (TEXT, b""), (TEXT, b"x" * 65_536)):
            tunnel.send(said(opcode, payload))
            assert tunnel.frame() == old.frame() == (opcode, payload), "it is published, and comes back to everybody"
            old.send(said(opcode, payload))
            assert tunnel.frame() == old.frame() == (opcode, payload)
        assert server.publish("x", "from elsewhere")["receivers"]["ws"] == 2
        assert tunnel.frame() == (TEXT, b"from elsewhere")


def test_tidewire_v1_is_spoken_as_over_http_1(server: Tidewire) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x", ("sec-websocket-protocol", "other, tidewire.v1"))
        assert (tunnel.answer.status, tunnel.answer.headers["sec-websocket-protocol"]) == (200, "tidewire.v1")
        assert tunnel.heard("ready")["channels"] == ["x"]
        tunnel.say(type="ping", id=1)
        assert tunnel.heard("pong")["id"] == 1
        tunnel.say(type="subscribe", id=2, channels=["y"])
        assert tunnel.heard("ack")["cursor"]
        told = server.publish("y", "both ways", tidewire_event="trade")
        message = tunnel.heard("message")
        assert (message["channel"], message["id"], message["event"], message["data"]) == ("y", told["id"], "trade", "both ways")
        tunnel.say(type="publish", id=3, channel="x", data="by frame")
        assert {tunnel.heard("message")["data"], tunnel.heard("ack")["channel"]} == {"by frame", "x"}
        tunnel.say(type="publish", id=4, channel="no spaces", data="")
        assert tunnel.heard("error")["code"] == "channel_invalid"


def test_a_connection_is_not_idle_while_a_websocket_is_open_on_it(serve: Callable[..., Tidewire]) -> None:
    server = serve(**{"limits.keep_alive_max": "300ms"})
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x")
        http.until_quiet(1.0)
        assert not http.goaways, "although its request was answered long ago"
        server.publish("x", "still here")
        assert tunnel.frame() == (TEXT, b"still here")


def test_a_connection_without_channels_may_have_them_later(server: Tidewire) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/", V1)
        assert tunnel.answer.status == 200
        tunnel.say(type="subscribe", id=1, channels=["x"])
        tunnel.heard("ack")
        server.publish("x", "later")
        assert tunnel.heard("message")["data"] == "later"


def test_a_websocket_begins_where_its_cursor_says(server: Tidewire) -> None:
    cursor = server.publish("x", "0")["id"]
    for n in range(1, 5):
        server.publish("x", str(n))
    with Http2(server) as http:
        resumed, tail = Tunnel(http, f"/c/x?cursor={cursor}"), Tunnel(http, "/c/x?tail=2", V1)
        assert [resumed.frame()[1] for _ in range(4)] == [b"1", b"2", b"3", b"4"]
        assert [tail.heard("message")["data"] for _ in range(2)] == ["3", "4"]


def test_frames_are_cut_as_the_windows_have_it_and_joined_again(server: Tidewire) -> None:
    with Http2(server, {INITIAL_WINDOW_SIZE: 100}, grants="never") as http:
        tunnel = Tunnel(http, "/c/x")
        server.publish("x", "x" * 1_000)
        server.publish("x", "behind it")
        http.until_quiet(0.1)
        assert len(tunnel.answer.body) == 100
        http.send(window_update(tunnel.stream, 50_000))
        assert tunnel.frame() == (TEXT, b"x" * 1_000)
        assert tunnel.frame() == (TEXT, b"behind it")


def test_a_frame_may_come_byte_by_byte_and_many_at_once(server: Tidewire) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x")
        for byte in said(TEXT, b"slow"):
            http.send(frame(DATA, tunnel.stream, bytes([byte])))
        assert tunnel.frame() == (TEXT, b"slow")
        tunnel.send(b"".join(said(TEXT, str(n).encode()) for n in range(100)))
        assert [tunnel.frame()[1] for _ in range(100)] == [str(n).encode() for n in range(100)]
        tunnel.send(said(TEXT, b"in ", fin=False) + said(PING, b"amid") + said(CONTINUATION, b"pieces"))
        assert {tunnel.frame(), tunnel.frame()} == {(PONG, b"amid"), (TEXT, b"in pieces")}


def test_the_server_pings_and_ends_who_is_silent(serve) -> None:
    server = serve(**{"limits.ping": "200ms", "limits.silence_max": "1s"})
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x")
        opcode, payload = tunnel.frame()
        assert opcode == PING
        tunnel.send(said(PONG, payload))
        assert tunnel.close_frame()[0] == 4408


CLOSES = {
    # What a client sends, and the code that it is closed with.
    "a_close": (said(CLOSE, struct.pack(">H", 1000) + b"bye"), 1000),
    "a_close_of_its_own": (said(CLOSE, struct.pack(">H", 3456)), 3456),
    "no_mask": (said(TEXT, b"x", mask=False), 1002),
    "a_reserved_bit": (said(TEXT, b"x", rsv=4), 1002),
    "an_opcode_of_nobody's": (said(3, b"x"), 1002),
    "no_text": (said(TEXT, b"\xff"), 1007),
    "too_long_a_message": (said(BINARY, b"", declared=65_537), 1009),
    "a_code_of_nobody's": (said(CLOSE, struct.pack(">H", 1005)), 1002),
}


@pytest.mark.parametrize("name", CLOSES)
def test_a_close_is_answered_with_its_code_and_ends_the_stream_alone(server: Tidewire, name: str) -> None:
    sent, code = CLOSES[name]
    with Http2(server) as http:
        beside = http.listen("x")
        tunnel = Tunnel(http, "/c/x")
        tunnel.send(sent)
        assert tunnel.close_frame()[0] == code
        end = http.answer(tunnel.stream)
        assert end.ended or end.reset is not None
        eventually("the subscription is gone", lambda: sockets(server) == 0)
        http.until_body(beside, b"data: probe\n")


def test_a_stream_that_we_have_ended_makes_room_although_its_client_never_ends_its_half(serve) -> None:
    server = serve(**{"limits.streams_per_connection_max": 1})
    with Http2(server) as http:
        for n in range(5):
            tunnel = Tunnel(http, "/c/x")
            tunnel.send(said(TEXT, str(n).encode()))
            assert tunnel.frame() == (TEXT, str(n).encode())
            tunnel.send(said(CLOSE, struct.pack(">H", 1000)))
            assert tunnel.close_frame()[0] == 1000
            http.until("we let go of it", lambda answer=tunnel.answer: answer.reset is not None)
            assert tunnel.answer.ended and tunnel.answer.reset == NO_ERROR


def test_sending_to_several_channels_is_4400(server: Tidewire) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x,y")
        tunnel.send(said(TEXT, b"to whom?"))
        assert tunnel.close_frame()[0] == 4400


def test_a_gap_closes_a_raw_websocket_with_4410(serve) -> None:
    server = serve(**{"history.messages_max": 2})
    cursor = server.publish("x", "0")["id"]
    for n in range(5):
        server.publish("x", str(n))
    with Http2(server) as http:
        code, reason = Tunnel(http, f"/c/x?cursor={cursor}").close_frame()
        assert code == 4410
        assert Tunnel(http, f"/c/x?cursor={reason}").frame() == (TEXT, b"3")


def test_a_drain_closes_websockets_with_1012(serve) -> None:
    server = serve(drain_within="500ms")
    with Http2(server) as http:
        raw, v1 = Tunnel(http, "/c/x"), Tunnel(http, "/c/x", V1)
        server.terminate()
        assert raw.close_frame()[0] == v1.close_frame()[0] == 1012
    assert server.process.wait(PATIENCE) == 0, server.said()


@pytest.mark.parametrize("way_to_go", ["a_reset", "an_end", "the_connection"])
def test_who_goes_without_a_close_is_gone(server: Tidewire, way_to_go: str) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x")
        assert sockets(server) == 1
        if way_to_go == "a_reset":
            http.reset(tunnel.stream)
        elif way_to_go == "an_end":
            http.send(frame(DATA, tunnel.stream, b"", END_STREAM))
            assert http.answer(tunnel.stream).over
        else:
            http.close()
        eventually("it is gone", lambda: sockets(server) == 0)


def test_streams_and_websockets_share_a_connection(server: Tidewire) -> None:
    with Http2(server) as http:
        tunnels = [Tunnel(http, "/c/x") for _ in range(20)]
        streams = [http.listen("x") for _ in range(20)]
        tunnels[0].send(said(TEXT, b"to all"))
        for tunnel in tunnels:
            assert tunnel.frame() == (TEXT, b"to all")
        for stream in streams:
            http.until_body(stream, b"data: to all\n")
        assert http.ask("POST", "/c/x", body=b"again").status == 200
        assert tunnels[-1].frame() == (TEXT, b"again")


# Who may not


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_s1_a_foreign_origin_is_refused(server: Tidewire, origin: str) -> None:
    with Http2(server) as http:
        tunnel = Tunnel(http, "/c/x", ("origin", origin))
        assert tunnel.answer.status == 403
        assert Tunnel(http, "/c/x", ("origin", "http://localhost:3000")).answer.status == 200
        assert Tunnel(http, "/c/x", authority="evil.example").answer.status in (400, 403)


REFUSALS = {
    "another_version": ([("sec-websocket-version", "12")], {}, {426, 400}),
    "no_channel": ([], {"path": "/c/no%20spaces"}, {400}),
    "no_channels_at_all": ([], {"path": "/c/"}, {400}),
    "nothing_there": ([], {"path": "/nothing"}, {404, 405}),
    "a_page": ([], {"path": "/livez"}, {404, 405, 501}),
    "another_protocol": ([], {"protocol": "connect-udp"}, {400, 501}),
    "no_protocol": ([], {"protocol": ""}, {400, 501}),
    "two_of_them": ([], {"protocol": "websocket, h2c"}, {400, 501}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_websocket_is_refused_by_a_status(server: Tidewire, name: str) -> None:
    fields, pseudo, statuses = REFUSALS[name]
    with Http2(server) as http:
        beside = http.listen("x")
        version = [] if fields else [("sec-websocket-version", "13")]
        head = http.head("CONNECT", "/c/x", *version, *fields, **{"protocol": "websocket", **pseudo})
        answer = http.head_of(http.begin(head, end=False))
        assert answer.status in statuses or answer.reset == PROTOCOL_ERROR, answer
        server.publish("x", "others go on")
        http.until_body(beside, b"others go on")


@pytest.mark.parametrize("left_out", ["scheme", "path", "authority"])
def test_an_extended_connect_has_a_scheme_a_path_and_an_authority(server: Tidewire, left_out: str) -> None:
    with Http2(server) as http:
        head = http.head("CONNECT", "/c/x", ("sec-websocket-version", "13"), protocol="websocket")
        answer = http.head_of(http.begin([field for field in head if field[0] != f":{left_out}"], end=False))
        assert answer.status in (400, 403) or answer.reset == PROTOCOL_ERROR, answer


def test_a_connect_that_ends_at_once_is_no_websocket(server: Tidewire) -> None:
    with Http2(server) as http:
        head = http.head("CONNECT", "/c/x", ("sec-websocket-version", "13"), protocol="websocket")
        stream = http.begin(head)
        assert http.answer(stream).over
        eventually("nobody listens", lambda: sockets(server) == 0)


def test_a_token_may_come_as_a_subprotocol(plainly, way: str) -> None:
    flags = ("--tls-self-signed",) if way == "tls" else ()
    server = plainly(*flags, access=GUARDED)
    with Http2(server) as http:
        http.forget_credentials()
        assert Tunnel(http, "/c/x", ("origin", ORIGIN)).answer.status == 401
        offer = ("sec-websocket-protocol", f"tidewire.v1, bearer.{token('alice', 'x')}")
        tunnel = Tunnel(http, "/c/x", ("origin", ORIGIN), offer)
        assert (tunnel.answer.status, tunnel.answer.headers["sec-websocket-protocol"]) == (200, "tidewire.v1")
        assert tunnel.heard("ready")["channels"] == ["x"]
        cookie = ("cookie", f"session={token('alice', 'x')}")
        assert Tunnel(http, "/c/x", cookie).answer.status in (401, 403), "S5: a cookie without an Origin is no browser's"
        assert Tunnel(http, "/c/x", cookie, ("origin", ORIGIN)).answer.status == 200
