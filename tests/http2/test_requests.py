"""RFC 9113 section 8: requests and answers, well-formed and not, and that they mean what they mean over HTTP/1.1."""

import json

import pytest
from frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEADERS,
    NO_ERROR,
    PADDED,
    PROTOCOL_ERROR,
    Answer,
    Http2,
    frame,
    window_update,
)
from keys import GUARDED, bearer, token
from stage import Tidewire
from wire import Wire

REQUESTS = {
    "a_poll": ("GET", "/c/known?cursor=earliest", {}, None),
    "a_poll_of_nothing": ("GET", "/c/unknown", {}, None),
    "a_poll_of_no_channel": ("GET", "/c/no%20spaces", {}, None),
    "a_long_poll": ("GET", "/c/known?wait=1&cursor=earliest", {}, None),
    "a_page": ("GET", "/", {"accept": "text/html"}, None),
    "a_page_of_a_channel": ("GET", "/c/known", {"accept": "text/html"}, None),
    "a_poll_without_a_body": ("HEAD", "/c/known", {}, None),
    "health": ("GET", "/livez", {}, None),
    "health_without_a_body": ("HEAD", "/livez", {}, None),
    "readiness": ("GET", "/readyz", {}, None),
    "nothing": ("GET", "/nothing/here", {}, None),
    "another_method": ("DELETE", "/c/known", {}, None),
    "a_method_of_nobody's": ("BREW", "/c/known", {}, None),
    "options": ("OPTIONS", "/c/known", {}, None),
    "a_preflight": ("OPTIONS", "/c/known", {"origin": "http://localhost:1", "access-control-request-method": "POST"}, None),
    "a_listed_origin": ("GET", "/c/known", {"origin": "http://localhost:1"}, None),
    "a_foreign_origin": ("GET", "/c/known", {"origin": "https://evil.example"}, None),
    "a_stream_of_a_foreign_origin": ("GET", "/c/known", {"origin": "https://evil.example", "accept": "text/event-stream"}, None),
    "an_empty_publish": ("POST", "/c/other", {}, b""),
    "a_publish_of_no_text": ("POST", "/c/other", {"content-type": "text/plain"}, b"\xff"),
    "a_publish_that_is_too_large": ("POST", "/c/other", {}, b"x" * 65_537),
    "a_batch": ("POST", "/v1/publish", {}, b'{"messages":[{"channel":"$x","data":""}]}'),
    "half_a_batch": ("POST", "/v1/publish", {}, b'{"messages":['),
    "channels": ("GET", "/v1/channels", {}, None),
    "a_dot_segment": ("GET", "/c/../livez", {}, None),
    "an_encoded_slash": ("GET", "/c%2fknown", {}, None),
    "what_cannot_be_decoded": ("GET", "/c/%zz", {}, None),
    "an_odd_target": ("GET", "/c/a<b", {}, None),
    "a_websocket_without_an_upgrade": ("GET", "/c/known", {"sec-websocket-version": "13"}, None),
}
SAID_OF_THE_MOMENT = {"date", "connection", "transfer-encoding", "content-length", "keep-alive"}
"""Fields that belong to a version of HTTP, or to a moment."""


@pytest.mark.parametrize("name", REQUESTS)
def test_what_http_1_answers_http_2_answers(shared: Tidewire, name: str) -> None:
    method, path, fields, body = REQUESTS[name]
    shared.publish("known", "something")
    with Wire(shared) as wire, Http2(shared) as http:
        wire.request(f"{method} {path}", *(f"{field}: {value}" for field, value in fields.items()), body=body or b"")
        old = wire.head()
        if method != "HEAD" and old.status != 204:
            length = old.headers.get("content-length")
            old.body = wire.exactly(int(length)) if length else b"".join(iter(wire.chunk, b""))
        new = http.ask(method, path, *fields.items(), body=body)
        if old.status == 400 and new.reset == PROTOCOL_ERROR:
            # What cannot be read at all is malformed, and HTTP/2 has a word of its own for that.
            return
        assert new.status == old.status, (old, new)
        theirs = {name: value for name, value in old.headers.items() if name not in SAID_OF_THE_MOMENT}
        assert {name: value for name, value in new.headers.items() if name not in SAID_OF_THE_MOMENT} == theirs
        assert comparable(new.body) == comparable(old.body)
        assert "connection" not in new.headers and "transfer-encoding" not in new.headers
        assert http.ask("GET", "/livez").status == 200, "the connection goes on, whatever was refused"


def comparable(body: bytes) -> object:
    """A body without what is of its moment: traces, and ids of new messages."""
    try:
        said = json.loads(body)
    except ValueError:
        return body
    return {name: value for name, value in said.items() if name not in ("trace_id", "id")} if isinstance(said, dict) else said


def test_a_publish_is_heard_over_either_version(server: Tidewire) -> None:
    with Http2(server) as http, Wire(server) as wire:
        stream = http.listen("x")
        wire.request("GET /c/x", "Accept: text/event-stream")
        wire.until(b"$ready")
        fields = (("content-type", "text/plain"), ("tidewire-event", "trade"), ("idempotency-key", "k-1"))
        receipt = http.ask("POST", "/c/x", *fields, body=b"42.10")
        assert (receipt.status, receipt.headers["content-type"]) == (200, "application/json")
        told = json.loads(receipt.body)
        assert (told["channel"], told["receivers"]) == ("x", {"sse": 2, "ws": 0, "poll": 0})
        expected = f"event: trade\ndata: 42.10\nid: {told['id']}\n".encode()
        http.until_body(stream, expected)
        wire.until(expected)
        again = http.ask("POST", "/c/x", *fields, body=b"42.10")
        assert json.loads(again.body)["id"] == told["id"], "the same key, the same message"
    assert server.texts("x") == ["42.10"]


def test_a_publish_may_come_in_many_frames_padded_and_with_trailers(server: Tidewire) -> None:
    with Http2(server) as http:
        stream = http.begin(http.head("POST", "/c/x", ("content-length", "12"), ("trailer", "x-sum")), end=False)
        for piece in (b"in ", b"many", b"", b" pie"):
            http.send(frame(DATA, stream, bytes([9]) + piece + b"\0" * 9, PADDED))
        http.send(frame(DATA, stream, b"c"))
        http.send(frame(HEADERS, stream, http.block([("x-sum", "7")]), END_HEADERS | END_STREAM))
        assert http.answer(stream).status == 200, http.answers[stream]
    assert server.texts("x") == ["in many piec"]


def test_a_payload_of_the_largest_size_waits_for_the_servers_window(server: Tidewire) -> None:
    """64 KiB are one byte more than the window that everybody begins with."""
    with Http2(server) as http:
        for n in range(5):
            text = str(n) * 65_536
            assert http.ask("POST", "/c/x", ("content-type", "text/plain"), body=text.encode()).status == 200
            assert server.texts("x")[-1] == text


def test_the_servers_window_is_given_back_for_what_it_refuses(server: Tidewire) -> None:
    with Http2(server) as http:
        for _ in range(12):
            refused = http.ask("POST", "/c/no%20spaces", body=b"x" * 30_000)
            assert refused.status == 400 or refused.reset == NO_ERROR, refused
        assert http.ask("POST", "/c/x", body=b"x" * 60_000).status == 200


def test_many_publishes_at_once_keep_the_order_of_their_answers_to_themselves(server: Tidewire) -> None:
    with Http2(server) as http:
        streams = {http.request("POST", f"/c/c{n}", body=str(n).encode()): n for n in range(200)}
        for stream, n in streams.items():
            assert json.loads(http.answer(stream).body)["channel"] == f"c{n}"
    assert all(server.texts(f"c{n}") == [str(n)] for n in range(0, 200, 20))


def test_a_page_is_not_longer_than_a_frame_in_any_frame(server: Tidewire) -> None:
    for n in range(10):
        server.publish("x", f"{n}{'x' * 60_000}")
    with Http2(server) as http:
        page = http.ask("GET", "/c/x?cursor=earliest")
        assert page.frames >= len(page.body) / FRAME_BYTES_MAX
        assert [message["data"][0] for message in json.loads(page.body)["messages"]] == [str(n) for n in range(10)]


def test_a_long_poll_is_answered_by_what_comes_and_another_at_the_end_of_its_wait(server: Tidewire) -> None:
    cursor = server.publish("x", "before")["id"]
    with Http2(server) as http:
        heard = http.request("GET", f"/c/x?wait=30&cursor={cursor}")
        waits = http.request("GET", f"/c/y?wait=1&cursor={server.poll('y')['cursor']}")
        http.ping()
        server.publish("x", "now")
        assert [message["data"] for message in json.loads(http.answer(heard).body)["messages"]] == ["now"]
        assert json.loads(http.answer(waits).body)["messages"] == []


def test_a_poll_that_says_nothing_new_is_304_without_a_body(server: Tidewire) -> None:
    server.publish("x", "something")
    with Http2(server) as http:
        tag = http.ask("GET", "/c/x?tail=1").headers["etag"]
        same = http.ask("GET", "/c/x?tail=1", ("if-none-match", tag))
        assert (same.status, same.body) == (304, b"")


# Who is meant


def test_the_authority_is_the_host(server: Tidewire) -> None:
    with Http2(server) as http:
        ours = http.authority
        for authority, host, status in (
            (ours, None, {200}),
            ("localhost", None, {200}),
            ("app.localhost:1234", None, {200}),
            (ours, ours, {200}),
            (None, ours, {200}),
            (None, "localhost", {200}),
            ("evil.example", None, {400, 403}),
            ("evil.example", ours, {400, 403}),
            (ours, "evil.example", {400, 403}),
            (None, "evil.example", {400, 403}),
            (None, None, {400, 403}),
            ("user@localhost", None, {400, 403}),
            ("127.0.0.1.evil.example", None, {400, 403}),
        ):
            fields = [("host", host)] if host is not None else []
            answer = http.ask("GET", "/c/x", *fields, authority=authority)
            told = answer.status in status or (200 not in status and answer.reset == PROTOCOL_ERROR)
            assert told, (authority, host, answer)


def test_crumbs_of_a_cookie_are_one_cookie(plainly, way) -> None:
    """RFC 9113 section 8.2.3: browsers split it, so that each crumb is compressed by itself."""
    flags = ("--tls-self-signed",) if way == "tls" else ()
    server = plainly(*flags, access=GUARDED)
    session = token("alice", "x")
    fields = [("origin", "https://app.example")]
    with Http2(server) as http:
        http.forget_credentials()
        assert http.ask("GET", "/c/x", *fields).status == 401
        for crumbs in ([f"a=b; session={session}"], ["a=b", f"session={session}", "c=d"], [f"session={session}", "theme=dark"]):
            answer = http.ask("GET", "/c/x", *fields, *(("cookie", crumb) for crumb in crumbs))
            assert answer.status == 200, (crumbs, answer)
        assert http.ask("GET", "/c/x", ("authorization", bearer(session)["Authorization"])).status == 200


# What is malformed

PLAIN = (":method", "GET"), (":scheme", "{scheme}"), (":path", "/c/x"), (":authority", "{authority}")
POST = (":method", "POST"), (":scheme", "{scheme}"), (":path", "/c/{stolen}"), (":authority", "{authority}")

MALFORMED = {
    # Section 8.2: fields.
    "a_name_in_capitals": (*PLAIN, ("X-Name", "x")),
    "an_empty_name": (*PLAIN, ("", "x")),
    "a_name_with_a_space": (*PLAIN, ("x name", "x")),
    "a_name_with_a_colon": (*PLAIN, ("x:name", "x")),
    "a_value_with_a_line_end": (*PLAIN, ("x-name", "x\r\nhost: evil.example")),
    "a_value_with_a_line_feed": (*PLAIN, ("x-name", "x\ny")),
    "a_value_with_a_nul": (*PLAIN, ("x-name", "x\0y")),
    "connection": (*PLAIN, ("connection", "close")),
    "keep_alive": (*PLAIN, ("keep-alive", "timeout=5")),
    "proxy_connection": (*PLAIN, ("proxy-connection", "keep-alive")),
    "transfer_encoding": (*POST, ("transfer-encoding", "chunked")),
    "upgrade": (*PLAIN, ("upgrade", "websocket")),
    "te_that_asks_for_more_than_trailers": (*PLAIN, ("te", "gzip")),
    # Section 8.3: pseudo-header fields.
    "no_method": PLAIN[1:],
    "no_scheme": (PLAIN[0], *PLAIN[2:]),
    "no_path": (*PLAIN[:2], PLAIN[3]),
    "an_empty_path": (*PLAIN[:2], (":path", ""), PLAIN[3]),
    "a_path_that_does_not_begin": (*PLAIN[:2], (":path", "c/x"), PLAIN[3]),
    "a_path_with_a_space": (*PLAIN[:2], (":path", "/c/x HTTP/1.1"), PLAIN[3]),
    "a_path_with_a_line_end": (*PLAIN[:2], (":path", "/c/x\r\nx: y"), PLAIN[3]),
    "two_methods": (*PLAIN, (":method", "POST")),
    "two_paths": (*PLAIN, (":path", "/c/y")),
    "two_authorities": (*PLAIN, (":authority", "{authority}")),
    "a_pseudo_field_of_nobody's": (*PLAIN, (":nobody", "x")),
    "a_status": (*PLAIN, (":status", "200")),
    "a_protocol_without_connect": (*PLAIN, (":protocol", "websocket")),
    "a_pseudo_field_at_the_end": (*PLAIN[:3], ("x-name", "x"), PLAIN[3]),
    "a_method_with_a_space": ((":method", "GET /livez"), *PLAIN[1:]),
    "a_method_with_a_line_end": ((":method", "GET\r\n"), *PLAIN[1:]),
    "an_authority_with_a_line_end": (*PLAIN[:3], (":authority", "localhost\r\nx: y")),
    # Section 8.1.1: lengths.
    "a_length_of_words": (*POST, ("content-length", "six")),
    "a_negative_length": (*POST, ("content-length", "-6")),
    "two_lengths": (*POST, ("content-length", "6"), ("content-length", "7")),
    "a_length_of_two": (*POST, ("content-length", "6, 7")),
}


BREAKS_THE_CONNECTION = {
    # What cannot be decoded is no field, and whoever lost its place in a header block knows no other stream any more.
    *("a_name_in_capitals", "an_empty_name", "a_name_with_a_space", "a_name_with_a_colon", "a_pseudo_field_of_nobody's"),
    *("a_value_with_a_line_end", "a_value_with_a_line_feed", "a_value_with_a_nul"),
    *("a_method_with_a_space", "a_method_with_a_line_end"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused(shared: Tidewire, name: str) -> None:
    """By a status or a reset, and the connection goes on, unless it is worse."""
    stolen = f"stolen-{list(MALFORMED).index(name)}"
    with Http2(shared) as http, Http2(shared) as other:
        streams = [(each, each.listen("x")) for each in (http, other)]
        said = {"scheme": http.scheme, "authority": http.authority, "stolen": stolen}
        fields = [(field, value.format(**said)) for field, value in MALFORMED[name]]
        stream = http.begin(fields, end=fields[0] != (":method", "POST"))
        if fields[0] == (":method", "POST"):
            http.send(frame(DATA, stream, b"stolen", END_STREAM))
        if name in BREAKS_THE_CONNECTION:
            assert http.error() == PROTOCOL_ERROR
            del streams[0]
        else:
            refused(http.answer(stream))
        shared.publish("x", "others go on")
        for each, beside in streams:
            each.until_body(beside, b"others go on")
    assert shared.texts(stolen) == []


def refused(answer: Answer) -> None:
    assert answer.status in (400, 403, 404, 405, 501) or (answer.status == 0 and answer.reset == PROTOCOL_ERROR), answer


@pytest.mark.parametrize("length, body", [(5, b"stolen"), (7, b"stolen"), (6, b""), (0, b"stolen"), (1 << 62, b"stolen")])
def test_a_body_of_another_length_than_was_said_is_not_published(shared: Tidewire, length: int, body: bytes) -> None:
    """Section 8.1.1: the frames and the field have to agree, or nobody knows what was meant."""
    stolen = f"stolen-of-{length}-{len(body)}"
    with Http2(shared) as http:
        stream = http.begin(http.head("POST", f"/c/{stolen}", ("content-length", str(length))), end=False)
        http.send(frame(DATA, stream, body, END_STREAM))
        answer = http.answer(stream)
        assert answer.status in (400, 413) or answer.reset == PROTOCOL_ERROR, answer
        assert http.ask("GET", "/livez").status == 200
    assert shared.texts(stolen) == []


def test_a_length_without_a_body_is_malformed(server: Tidewire) -> None:
    with Http2(server) as http:
        stream = http.begin(http.head("POST", "/c/stolen", ("content-length", "6")))
        answer = http.answer(stream)
        assert answer.status == 400 or answer.reset == PROTOCOL_ERROR, answer
    assert server.texts("stolen") == []


TRAILERS = {
    "that_do_not_end_the_stream": ([("x-sum", "7")], END_HEADERS),
    "in_capitals": ([("X-Sum", "7")], END_HEADERS | END_STREAM),
    "with_a_connection": ([("connection", "close")], END_HEADERS | END_STREAM),
}


@pytest.mark.parametrize("name", TRAILERS)
def test_trailers_that_are_malformed_publish_nothing(shared: Tidewire, name: str) -> None:
    stolen = f"stolen-{name}"
    fields, flags = TRAILERS[name]
    with Http2(shared) as http:
        stream = http.begin(http.head("POST", f"/c/{stolen}"), end=False)
        http.send(frame(DATA, stream, b"stolen") + frame(HEADERS, stream, http.block(fields), flags))
        if name == "in_capitals":
            assert http.error() == PROTOCOL_ERROR
        else:
            answer = http.answer(stream)
            assert answer.reset == PROTOCOL_ERROR or answer.status == 400, answer
            assert http.ask("GET", "/livez").status == 200
    assert shared.texts(stolen) == []


def test_trailers_do_not_change_where_a_publish_goes(server: Tidewire) -> None:
    """They ought to be refused; the library that reads them for us passes over what has no business there."""
    with Http2(server) as http:
        for fields in ([(":path", "/c/other")], [(":status", "200")], [(":method", "GET"), ("content-length", "1")]):
            stream = http.begin(http.head("POST", "/c/x"), end=False)
            http.send(frame(DATA, stream, b"whole") + frame(HEADERS, stream, http.block(fields), END_HEADERS | END_STREAM))
            answer = http.answer(stream)
            assert answer.reset == PROTOCOL_ERROR or json.loads(answer.body).get("channel", "x") == "x", answer
    assert server.texts("other") == []
    assert set(server.texts("x")) <= {"whole"}


def test_a_reset_amid_a_body_publishes_nothing(server: Tidewire) -> None:
    with Http2(server) as http:
        for _ in range(20):
            stream = http.begin(http.head("POST", "/c/stolen"), end=False)
            http.send(frame(DATA, stream, b"half of what was to be"))
            http.reset(stream)
        assert http.ask("GET", "/livez").status == 200
    assert server.texts("stolen") == []


def test_te_trailers_and_everything_else_that_is_lawful_is_taken(server: Tidewire) -> None:
    fields = ("te", "trailers"), ("x-empty", ""), ("x-bytes", "\x80\xff"), ("priority", "u=1, i"), ("expect", "100-continue")
    with Http2(server) as http:
        for each in fields:
            assert http.ask("GET", "/c/x", each).status == 200, each


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "HTTP"])
def test_the_scheme_does_not_decide_who_comes_in(shared: Tidewire, scheme: str) -> None:
    """Behind a proxy it is what the proxy heard, and not what this connection is."""
    with Http2(shared) as http:
        answer = http.ask("GET", "/c/x", scheme=scheme)
        assert answer.status in (200, 400) or answer.reset == PROTOCOL_ERROR, answer
        assert scheme not in ("http", "https") or answer.status == 200, answer


def test_a_plain_connect_is_refused(server: Tidewire) -> None:
    """This is no proxy. Section 8.5: such a request has neither a scheme nor a path."""
    with Http2(server) as http:
        for authority in ("127.0.0.1:22", http.authority):
            stream = http.begin([(":method", "CONNECT"), (":authority", authority)], end=False)
            answer = http.head_of(stream)
            assert answer.status in (400, 403, 404, 405, 501) or answer.reset is not None, answer
        assert http.ask("GET", "/livez").status == 200


# How large a head may be


def test_a_head_may_come_in_many_frames(server: Tidewire) -> None:
    with Http2(server) as http:
        opening = http.opening(http.head("GET", "/c/x", ("x-long", "x" * 8_000)), flags=END_STREAM)
        block = opening[9:]
        http.send(frame(HEADERS, http.newest, block[:1], END_STREAM))
        http.send(frame(CONTINUATION, http.newest, block[1:3_000]) + frame(CONTINUATION, http.newest, b""))
        http.send(frame(CONTINUATION, http.newest, block[3_000:], END_HEADERS))
        assert http.answer(http.newest).status == 200


def test_a_head_beyond_the_bound_is_431_and_the_connection_goes_on(server: Tidewire) -> None:
    with Http2(server) as http:
        beside = http.listen("x")
        for fields in ([("x-long", "x" * 20_000)], [(f"x-{n}", "x" * 100) for n in range(200)]):
            opening = http.opening(http.head("GET", "/c/x", *fields))
            block = opening[9:]
            http.send(frame(HEADERS, http.newest, block[:FRAME_BYTES_MAX], END_STREAM))
            http.send(frame(CONTINUATION, http.newest, block[FRAME_BYTES_MAX:], END_HEADERS))
            answer = http.answer(http.newest)
            assert answer.status == 431, answer
        server.publish("x", "others go on")
        http.until_body(beside, b"others go on")


def test_more_fields_than_are_allowed_are_431(server: Tidewire) -> None:
    with Http2(server) as http:
        assert http.ask("GET", "/c/x", *((f"x-{n}", "") for n in range(90))).status == 200
        assert http.ask("GET", "/c/x", *((f"x-{n}", "") for n in range(150))).status == 431
        assert http.ask("GET", f"/c/x?{'x' * 9_000}").status == 414


def test_the_bounds_of_a_head_are_those_of_the_configuration(serve) -> None:
    server = serve(**{"limits.head_bytes_max": "4KiB"})
    with Http2(server) as http:
        assert http.ask("GET", "/c/x", ("x-long", "x" * 3_000)).status == 200
        assert http.ask("GET", "/c/x", ("x-long", "x" * 5_000)).status == 431


# Beside HTTP/1.1


def test_http_1_is_still_spoken_on_the_same_port(server: Tidewire) -> None:
    with Wire(server) as wire:
        wire.request("POST /c/x", body=b"old")
        assert wire.response().status == 200
        wire.request("GET /c/x", "Accept: text/event-stream")
        wire.until(b"$ready")


def test_an_upgrade_to_h2c_is_not_taken(shared: Tidewire) -> None:
    """RFC 9113 did away with it, and a proxy that hands it on would be walked past."""
    upgrade = "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"
    with Wire(shared) as wire:
        wire.request("GET /c/x", *upgrade)
        answer = wire.response()
        assert answer.status == 200
        if answer.headers.get("connection") == "close":
            # What follows a head that asks for an upgrade is not looked at by everybody, so tokio's server ends there.
            return
        wire.request("GET /livez")
        assert wire.response().status == 200, "it goes on with HTTP/1.1"


def test_a_window_update_for_a_stream_that_is_over_is_harmless(server: Tidewire) -> None:
    """Section 5.1: it may have been on its way."""
    with Http2(server) as http:
        stream = http.request("GET", "/c/x")
        http.answer(stream)
        http.send(window_update(stream, 1_000))
        http.reset(stream)
        assert http.ask("GET", "/livez").status == 200
