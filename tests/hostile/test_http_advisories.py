"""What went wrong in other servers before and beside the WebSocket, done to this one. Each test names its advisories."""

import json
import random
import re

import pytest
from stage import Tidewire
from vitals import MIB, at_rest, unharmed
from wire import Wire

INTERNALS = re.compile(rb"panicked|thread '|\.rs:\d|0x[0-9a-f]{8}|/src/|unwrap|RUST_BACKTRACE")
"""What no answer may tell of the inside (S52)."""


@pytest.fixture(params=["first", "second"])
def place(request: pytest.FixtureRequest) -> str:
    """Where on a connection a request comes: the first and the later ones are read by different code."""
    return request.param


def connected(server: Tidewire, place: str) -> Wire:
    wire = Wire(server)
    if place == "second":
        wire.request("POST /c/fine", body=b"fine")
        assert wire.response().status == 200
    return wire


@pytest.mark.parametrize("count", [101, 2_000, 7_000])
def test_s32_ws_cve_2024_37890_too_many_header_fields_are_refused(server, place, count):
    """There, more fields than were counted ended the process."""
    with unharmed(server):
        for _ in range(20):
            with connected(server, place) as wire:
                wire.push(b"GET /c/x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + b"a:\r\n" * count)
                assert wire.head().status == 431


PROTOCOLS = {
    "spaces": "a" + " " * 900 + "b",
    "tabs": "a" + "\t " * 450 + "b",
    "commas": "a" + "," * 900 + "b",
    "spaces_and_commas": "a" + " ," * 450 + "b",
    "spaces_past_the_bound": "a" + " " * 12_000 + "b",
    "many_names": ", ".join(["a"] * 300),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_s32_ws_cve_2021_32640_subprotocols_are_read_in_linear_time(server, place, name):
    """There, a regular expression took for ever over blanks between two names."""
    with unharmed(server, processor_max_s=1.0):
        for _ in range(200):
            with connected(server, place) as wire:
                assert wire.upgrade("/c/x", f"Sec-WebSocket-Protocol: {PROTOCOLS[name]}").status in (101, 400, 431)


LONG_HEADS = {
    "one_field": b"X: " + b"x" * 15_000,
    "a_target": b"x" * 8_000,
    "many_fields": b"X: " + b"x" * 140 + b"\r\n",
}


@pytest.mark.parametrize("name", LONG_HEADS)
def test_s32_tungstenite_cve_2023_43669_a_long_head_in_small_pieces_costs_little(server, place, name):
    """There, the head was parsed anew from its beginning for each piece, without a bound on its length."""
    start = b"GET /c/x?" if name == "a_target" else b"GET /c/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    text = start + (LONG_HEADS[name] * 100 if name == "many_fields" else LONG_HEADS[name])
    with unharmed(server, processor_max_s=3.0):
        for _ in range(2):
            with connected(server, place) as wire:
                for at in range(0, len(text[:16_000])):
                    wire.send(text[at : at + 1])


HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)
MALFORMED = {
    "a_wait_that_is_no_number": b"GET /c/x?wait=forever HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_wait_past_every_number": b"GET /c/x?wait=" + b"9" * 400 + b"&cursor=x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_tail_past_every_number": b"GET /c/x?tail=" + b"9" * 400 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_query_of_percents": b"GET /c/x?cursor=%&wait=%zz&%=% HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_query_of_ampersands": b"GET /c/x?" + b"&" * 5_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "no_channel": b"GET /c/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "channels_of_nothing": b"GET /c/,,,, HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_batch_that_is_no_json": b"POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\n{\xff\xff\xff}",
    "a_batch_of_nothing": b"POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
    "a_batch_of_binary": b"POST /v1/publish HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/png\r\nContent-Length: 2\r\n\r\n\0\0",
    "text_that_is_none": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "a_content_type_that_is_none": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nContent-Type: \xff;;;=/\r\nContent-Length: 2\r\n\r\nhi",
    "a_key_of_blanks": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key:   \r\nContent-Length: 2\r\n\r\nhi",
    "two_keys": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\nhi",
    "two_last_ids": b"GET /c/x HTTP/1.1\r\nHost: {host}\r\nLast-Event-ID: a\r\nLast-Event-ID: b\r\n\r\n",
    "two_credentials": b"GET /c/x HTTP/1.1\r\nHost: {host}\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    "a_history_of_nothing": b"GET /v1/channels/%ff/history?limit=-1&cursor=%00 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a_limit_that_is_no_number": b"GET /v1/channels?limit=x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "an_upgrade_to_nothing": b"GET /c/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: \r\n\r\n",
    "an_upgrade_to_everything": b"GET /c/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c, x/1\r\n\r\n",
    "an_upgrade_elsewhere": b"GET /livez HTTP/1.1\r\nHost: {host}\r\n" + HANDSHAKE,
    "an_upgrade_of_a_post": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
    "an_upgrade_of_a_history": b"GET /v1/channels HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
    "a_chunk_of_junk": b"POST /c/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    "a_head_alone": b"HEAD /c/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "an_unknown_method": b"BREW /c/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "options_of_everything": b"OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n",
}
"""Requests of which each must have an answer or an end."""


@pytest.mark.parametrize("name", MALFORMED)
def test_s40_engine_io_cve_2026_59725_a_malformed_request_is_answered_and_its_socket_freed(server, place, name):
    """There, a malformed poll was never answered, and its socket never closed."""
    with unharmed(server):
        for _ in range(10):
            with connected(server, place) as wire:
                wire.send(MALFORMED[name].replace(b"{host}", wire.host.encode()))
                assert 200 <= wire.head().status < 500
        for end in (Wire.finish, Wire.reset):
            for _ in range(10):
                wire = connected(server, place)
                wire.send(MALFORMED[name].replace(b"{host}", wire.host.encode()))
                end(wire)
                wire.close()


def request_at_random(chance: random.Random) -> bytes:
    """A request of the kinds above that chance has had its way with."""
    bytes_ = bytearray(chance.choice(list(MALFORMED.values())).replace(b"{host}", b"127.0.0.1"))
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(bytes_))
        match chance.randrange(4):
            case 0:
                bytes_[at] = chance.randrange(256)
            case 1:
                del bytes_[at : at + chance.randrange(1, 20)]
            case 2:
                bytes_[at:at] = chance.randbytes(chance.randrange(1, 20))
            case 3:
                bytes_[at:at] = chance.choice([b"\r\n", b"\0", b":", b" ", b"%", b"\r\n\r\n", b"Upgrade: websocket\r\n"])
        if not bytes_:
            return b"\n"
    return bytes(bytes_)


def test_s40_engine_io_cve_2022_21676_cve_2022_41940_cve_2023_31125_and_sockjs_cve_2020_7693_no_request_ends_the_process(server, place):
    """There, one bad request, or one that was cut off, was an exception that nobody caught."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with unharmed(server):
        for _ in range(600):
            with connected(server, place) as wire:
                wire.push(request_at_random(chance))
                if chance.randrange(3) == 0:
                    wire.reset()
                else:
                    told = wire.until_quiet(0.002)
                    assert not INTERNALS.search(told), told


def test_s52_no_refusal_tells_of_the_inside(server, place):
    """Mercure told an address of its heap in a 400."""
    for request in MALFORMED.values():
        with connected(server, place) as wire:
            wire.send(request.replace(b"{host}", wire.host.encode()))
            wire.finish()
            told = wire.until_quiet(0.1)
            assert not INTERNALS.search(told), told


FOREIGN = [
    # As CVE-2022-42975 let them in: a name that only ends or begins like one of ours.
    "http://localhost.evil.example",
    "http://evil-localhost",
    "http://127.0.0.1.evil.example",
    "http://evil.example:80",
    "http://sub.evil.example",
    # RUSTSEC-2024-0421: punycode that decodes to a name in ASCII.
    "http://xn--localhost-",
    "http://xn--localhost-.evil.example",
    "http://xn--127-0-0-1-",
    "null",
]


UPGRADES = ["/c/x", "/c/x,y", "/c/", "/c/x?ticket=x", "/c/x?sid=x&transport=websocket"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_s1_dozzle_cve_2026_44985_cline_cve_2026_44211_and_phoenix_cve_2022_42975_no_upgrade_is_outside_the_gate(
    server, place, origin
):
    """There, the route of the WebSocket lay outside what looked at the Origin, and loopback was thought a defence."""
    for path in UPGRADES:
        with connected(server, place) as wire:
            answer = wire.upgrade(path, "Sec-WebSocket-Protocol: tidewire.v1", f"oRiGiN: {origin}")
            assert answer.status == 403, (path, answer)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["xn--localhost-", "xn--localhost-:80", "xn--127-0-0-1-"])
@pytest.mark.parametrize("start", ["GET /c/x", "POST /c/x", "GET /v1/channels"])
def test_s10_idna_rustsec_2024_0421_a_host_is_not_decoded_into_one_of_ours(server, place, start, host):
    with connected(server, place) as wire:
        wire.request(start, f"Host: {host}", body=b"x" if start.startswith("POST") else b"")
        assert wire.head().status == 403


def test_s1_engine_io_cve_2026_102599_and_cve_2026_102600_every_request_is_judged_by_its_own_head(server):
    """There, the parameters of an upgrade were believed over what the session had begun with. Here nothing is
    remembered of the requests before, neither a right nor a refusal, and an upgrade is judged like any other."""
    with Wire(server) as wire:
        wire.request("POST /c/x", body=b"mine")
        assert wire.response().status == 200
        wire.request("GET /v1/channels", "Origin: http://evil.example")
        assert wire.response().status == 403
        wire.request("POST /c/x", body=b"mine again")
        assert wire.response().status == 200
        assert wire.upgrade("/c/x?origin=http://localhost", "Origin: http://evil.example").status == 403
    with Wire(server) as wire:
        assert wire.upgrade("/c/y").status == 101
        # What looks like another request is bytes of the WebSocket by now, and no frame.
        wire.request("POST /c/x", body=b"smuggled")
        assert wire.close_frame()[0] == 1002
    assert server.texts("x") == ["mine", "mine again"]


UNLIMITED = ["POST /c/x", "POST /c/a,b", "POST /c/*", "POST /v1/publish", "POST /v1/channels", "PUT /c/x", "POST /livez", "POST /nothing"]


@pytest.mark.parametrize("coding", ["chunks", "a_length"])
@pytest.mark.parametrize("start", UNLIMITED)
def test_s37_axum_core_rustsec_2022_0055_no_address_takes_a_body_without_end(server, start, coding):
    """There, handlers had no limit unless they asked for one."""
    piece = b"x" * 65_536
    with unharmed(server, growth_max=24 * MIB):
        wires = [Wire(server) for _ in range(8)]
        for wire in wires:
            if coding == "chunks":
                wire.request(start, "Transfer-Encoding: chunked")
                wire.push((b"10000\r\n" + piece + b"\r\n") * 64)
            else:
                wire.request(start, f"Content-Length: {64 << 20}")
                wire.push(piece * 64)
        at_rest(server)
        for wire in wires:
            assert 400 <= wire.head().status < 500
            wire.close()


def test_s37_rustsec_2022_0055_a_batch_is_bounded_as_one_message_is(server):
    body = json.dumps({"messages": [{"channel": "x", "data": "y" * 65_536}] * 40})
    assert server.client.post("/v1/publish", content=body).status_code == 413
    assert server.texts("x") == []
