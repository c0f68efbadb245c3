"""What went wrong in other WebSocket servers, done to this one. Each test names the advisories that it remembers."""

import json
import random
import struct

import pytest
from stage import Tidewire
from vitals import MIB, at_rest, unharmed
from wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, Wire, frame

V1 = "Sec-WebSocket-Protocol: tidewire.v1"


def upgraded(server: Tidewire, path: str = "/c/x", *headers: str) -> Wire:
    wire = Wire(server)
    assert wire.upgrade(path, *headers).status == 101
    return wire


def said(wire: Wire, kind: str) -> dict:
    """Skips to the next JSON frame of a type."""
    while (message := json.loads(wire.frame()[1]))["type"] != kind:
        pass
    return message


def say(wire: Wire, **fields: object) -> None:
    wire.send(frame(TEXT, json.dumps(fields).encode()))


@pytest.mark.parametrize("piece", [b"", b"x"], ids=["empty", "tiny"])
def test_s30_ws_cve_2026_48779_cve_2026_62389_and_undici_cve_2026_12151_fragments_do_not_pile_up(server, piece):
    """Byte limits were kept there; the number of fragments without bytes, or with one, had none."""
    flood = frame(TEXT, b"x", fin=False) + frame(CONTINUATION, piece, fin=False) * 20_000
    with unharmed(server, growth_max=16 * MIB):
        wires = [upgraded(server) for _ in range(50)]
        for wire in wires:
            wire.push(flood)
        for wire in wires:
            assert wire.close_frame()[0] == 1009
            wire.close()
    assert server.texts("x") == []


def test_s30_fragments_that_wait_for_their_end_cost_what_has_arrived(server):
    """The same below every bound: a message of 63 fragments that does not end, on many connections."""
    with unharmed(server, growth_max=16 * MIB):
        wires = [upgraded(server) for _ in range(300)]
        for wire in wires:
            wire.send(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 62)
        at_rest(server)
        for wire in wires:
            wire.close()


FAULTS = {
    "unmasked": frame(TEXT, b"canary of the client", mask=False),
    "reserved": frame(TEXT, b"canary of the client", rsv=2),
    "opcode": frame(5, b"canary of the client"),
    "not_utf8": frame(TEXT, b"canary of the client \xff"),
    "too_large": frame(BINARY, b"canary of the client", declared=1 << 40),
    "long_control": frame(PING, b"canary of the client" * 10),
    "bad_code": frame(CLOSE, struct.pack(">H", 1005) + b"canary of the client"),
    "short_code": frame(CLOSE, b"\x03"),
    "a_code_and_a_reason": frame(CLOSE, struct.pack(">H", 3000) + b"canary of the client"),
    "no_code": frame(CLOSE),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_s40_ws_cve_2026_45736_a_close_says_the_same_words_each_time(server, fault):
    """There, bytes of memory that nobody had written went out as the reason of a close."""
    closes = set()
    with unharmed(server):
        for n in range(30):
            server.publish("elsewhere", f"canary of another {n} " * 50)
            with upgraded(server) as wire:
                wire.push(FAULTS[fault])
                opcode, payload = wire.frame()
                assert opcode == CLOSE
                closes.add(payload)
    assert len(closes) == 1
    reason = closes.pop()[2:]
    assert b"canary" not in reason
    assert all(0x20 <= byte < 0x7F for byte in reason)


def length_header(length: int, form: int) -> bytes:
    """A masked binary frame with its length written in 7, 16 or 64 bits, whatever it is."""
    written = {7: struct.pack(">B", 0x80 | length & 0x7F), 16: struct.pack(">BH", 0xFE, length & 0xFFFF)}
    written[64] = struct.pack(">BQ", 0xFF, length)
    return b"\x82" + written[form] + b"\0\0\0\0"


LENGTHS = {
    "five_in_16_bits": (1002, length_header(5, 16)),
    "125_in_16_bits": (1002, length_header(125, 16)),
    "five_in_64_bits": (1002, length_header(5, 64)),
    "65535_in_64_bits": (1002, length_header(65_535, 64)),
    "just_too_large": (1009, length_header((64 << 10) + 1, 64)),
    "31_bits_and_one": (1009, length_header(1 << 31, 64)),
    "32_bits_and_one": (1009, length_header(1 << 32, 64)),
    "32_bits_and_five": (1009, length_header((1 << 32) + 5, 64)),
    "63_bits": (1009, length_header((1 << 63) - 1, 64)),
    "the_top_bit": (1002, length_header(1 << 63, 64)),
    "64_bits": (1002, length_header((1 << 64) - 1, 64)),
    "a_ping_of_64_bits": (1002, b"\x89" + length_header((1 << 63) - 1, 64)[1:]),
    "a_sum_past_the_limit": (1009, frame(BINARY, b"x" * 65_000, fin=False) + b"\x80" + length_header(65_000, 16)[1:]),
    "a_sum_past_63_bits": (1009, frame(BINARY, b"x", fin=False) + b"\x80" + length_header((1 << 63) - 1, 64)[1:]),
    "a_sum_past_64_bits": (1002, frame(BINARY, b"x", fin=False) + b"\x80" + length_header((1 << 64) - 1, 64)[1:]),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_s30_websocket_driver_cve_2026_54466_cve_2026_54490_and_gorilla_cve_2020_27813_lengths_are_plain_numbers(server, name):
    """Lengths that were written at length, that wrapped around, or that summed up past what holds them."""
    code, attack = LENGTHS[name]
    with unharmed(server, growth_max=16 * MIB):
        for _ in range(20):
            with upgraded(server) as wire:
                wire.push(attack)
                assert wire.close_frame()[0] == code
                assert wire.rest() == b""
    assert server.texts("x") == []


@pytest.mark.parametrize("transport", ["websocket", "publish"])
def test_s30_websocket_rustsec_2022_0035_a_declared_length_allocates_nothing(server, transport):
    """600 clients declare 64 KiB each, the most that is allowed, and send a byte of it."""
    with unharmed(server, growth_max=24 * MIB):
        wires = [upgraded(server) if transport == "websocket" else Wire(server) for _ in range(600)]
        for wire in wires:
            if transport == "websocket":
                wire.send(frame(BINARY, b"x", declared=64 << 10))
            else:
                wire.request("POST /c/x", f"Content-Length: {64 << 10}", body=b"x")
        at_rest(server)
        for wire in wires:
            wire.close()
    assert server.texts("x") == []


SUBSCRIBE = json.dumps({"type": "subscribe", "id": 1, "channels": ["large"], "cursor": "earliest"}).encode()
PUBLISH = json.dumps({"type": "publish", "id": "x" * 120, "channel": "small", "data": ""}).encode()
UNREAD = {
    # What is asked for over and over, without a look at the answers, and how many MiB twenty such clients may cost. If
    # answers were kept, it would be 60 to 3 000, and 120 for the errors.
    "pongs": (16, (), frame(PING, b"x" * 125) * 20_000),
    "json_pongs": (16, (V1,), frame(TEXT, b'{"type":"ping","id":"' + b"x" * 120 + b'"}') * 20_000),
    "receipts": (24, (V1,), frame(TEXT, PUBLISH) * 10_000),
    "echoes": (16, (), frame(BINARY, b"x" * 60_000) * 200),
    # A queue of a mebibyte for each, and as much room again to grow it in. When all of them grow at once, which is a
    # matter of how busy the machine is, what they grew out of is still with the allocator, and all of the flood is read.
    "pages": (64, (V1,), frame(TEXT, SUBSCRIBE) * 500),
    "errors": (72, (V1,), frame(TEXT, b"{") * 50_000),
}


@pytest.mark.parametrize("name", UNREAD)
def test_s35_ws_rustsec_2020_0043_answers_that_nobody_reads_do_not_pile_up(serve, name):
    server = serve(**{"history.messages_max": 16})
    for _ in range(16):
        server.publish("large", "x" * 60_000)
    growth, headers, flood = UNREAD[name]
    with unharmed(server, growth_max=growth * MIB):
        wires = [upgraded(server, "/c/x", *headers) for _ in range(20)]
        for wire in wires:
            wire.push(flood)
        at_rest(server)
        for wire in wires:
            wire.close()


def test_s35_pages_that_nobody_reads_do_not_pile_up_on_one_connection(server):
    """The same over HTTP: a hundred requests in one go, each for a mebibyte."""
    for _ in range(16):
        server.publish("large", "x" * 60_000)
    with unharmed(server, growth_max=64 * MIB):
        wires = [Wire(server) for _ in range(20)]
        for wire in wires:
            wire.push(f"GET /c/large?cursor=earliest HTTP/1.1\r\nHost: {wire.host}\r\n\r\n".encode() * 100)
        at_rest(server)
        for wire in wires:
            wire.close()


def test_s36_phoenix_cve_2026_56811_a_connection_has_a_bounded_number_of_channels(server):
    """There, a client could join channels without end over one connection."""
    with unharmed(server), upgraded(server, "/c/", V1) as wire:
        for batch in range(1, 4):
            say(wire, type="subscribe", id=batch, channels=[f"c{batch}:{n}" for n in range(100)])
        assert said(wire, "ack")["id"] == 1
        refused = [said(wire, "error") for _ in range(2)]
        assert [error["code"] for error in refused] == ["channel_count", "channel_count"]


def test_s36_phoenix_cve_2026_56811_joining_and_leaving_for_ever_is_rate_limited(serve):
    server = serve(**{"limits.joins_per_minute_max": 50})
    with unharmed(server), upgraded(server, "/c/", V1) as wire:
        for n in range(60):
            say(wire, type="subscribe" if n % 2 == 0 else "unsubscribe", id=n, channels=["x"])
        assert said(wire, "error")["code"] == "rate_limited"


BATCHES = {
    "no_messages": b'{"messages":[]}',
    "one_too_many": json.dumps({"messages": [{"channel": "x", "data": ""}] * 101}).encode(),
    "as_many_as_fit": b'{"messages":[' + b'{"channel":"x","data":""},' * 40_000 + b'{"channel":"x","data":""}]}',
    "numbers": b'{"messages":[' + b"0," * 500_000 + b"0]}",
    "brackets": b'{"messages":' + b"[" * 1_000_000,
    "empty_binaries": json.dumps({"messages": [{"channel": "x", "base64": ""}] * 100}).encode(),
}


@pytest.mark.parametrize("name", BATCHES)
def test_s37_socket_io_cve_2026_33151_and_cve_2026_69185_what_is_counted_is_bounded(serve, name):
    """There, a packet announced any number of binary parts, or none, and was kept until they came."""
    server = serve(**{"history.messages_max": 10})
    with unharmed(server, growth_max=48 * MIB):
        for _ in range(10):
            answer = server.client.post("/v1/publish", content=BATCHES[name])
            assert answer.status_code in (200, 400, 413), answer.text
            if answer.status_code == 200:
                assert len(answer.json()["results"]) == len(json.loads(BATCHES[name])["messages"])


@pytest.mark.parametrize("headers", [(), (V1,)], ids=["raw", "v1"])
def test_s40_a_storm_of_junk_frames_ends_its_connections_and_nothing_else(server, headers):
    """Bytes from nowhere after a handshake that was fine."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    junk = random.Random(seed)
    with unharmed(server):
        for _ in range(200):
            with upgraded(server, "/c/x", *headers) as wire:
                wire.push(junk.randbytes(500))
