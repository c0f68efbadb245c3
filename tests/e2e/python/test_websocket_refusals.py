"""S30, S32: what breaks RFC 6455 ends with the code the RFC names, and with nothing published."""

import struct

import pytest
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Wire, frame


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack(">H", code) + reason


FAULTS = {
    "an_unmasked_frame": (1002, frame(TEXT, b"hello", mask=False)),
    "rsv1_without_an_extension": (1002, frame(TEXT, b"hello", rsv=4)),
    "rsv2": (1002, frame(TEXT, b"hello", rsv=2)),
    "rsv3": (1002, frame(PING, b"hello", rsv=1)),
    "a_reserved_data_opcode": (1002, frame(3, b"hello")),
    "a_reserved_control_opcode": (1002, frame(11, b"hello")),
    "a_fragmented_ping": (1002, frame(PING, b"hello", fin=False)),
    "a_ping_of_126_bytes": (1002, frame(PING, b"x" * 126)),
    "a_continuation_of_nothing": (1002, frame(CONTINUATION, b"hello")),
    "a_message_inside_a_message": (1002, frame(TEXT, b"a", fin=False) + frame(TEXT, b"b")),
    "a_close_of_one_byte": (1002, frame(CLOSE, b"\x03")),
    **{f"close_code_{code}": (1002, frame(CLOSE, close_payload(code))) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999)},
    "invalid_utf8": (1007, frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80")),
    "utf8_cut_short": (1007, frame(TEXT, b"\xc3")),
    "invalid_utf8_over_fragments": (1007, frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\x28")),
    "invalid_utf8_in_a_frame_that_is_still_coming": (1007, frame(TEXT, b"\xff", declared=100)),
    "invalid_utf8_in_a_close_reason": (1007, frame(CLOSE, close_payload(1000, b"\xff"))),
    "a_message_past_64_kib": (1009, frame(BINARY, declared=(64 << 10) + 1)),
    "a_message_past_64_kib_in_fragments": (
        1009,
        frame(BINARY, b"x" * 65_000, fin=False) + frame(CONTINUATION, b"x" * 600),
    ),
    "a_length_of_2_to_the_62": (1009, frame(BINARY, declared=1 << 62)),
    "sixty_five_fragments": (1009, frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 63 + frame(CONTINUATION, b"x")),
    "seventeen_empty_fragments": (1009, frame(TEXT, b"x", fin=False) + frame(CONTINUATION, fin=False) * 17),
    "a_flood_of_pings": (4429, frame(PING, b"x") * 50),
}


@pytest.mark.parametrize("name", FAULTS)
def test_s30_ends_the_connection(server, name):
    code, attack = FAULTS[name]
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(attack)
        assert wire.close_frame()[0] == code
        assert wire.rest() == b""
    assert server.texts("x") == []


def test_s30_a_length_with_the_top_bit_is_refused(server):
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(struct.pack(">BBQ", 0x82, 0xFF, 1 << 63) + b"\0\0\0\0")
        assert wire.close_frame()[0] in (1002, 1009)


def test_s30_a_message_that_is_never_finished_ends_the_connection(serve):
    server = serve(**{"limits.incomplete_message_max": "300ms"})
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(frame(TEXT, b"once upon a time", fin=False))
        assert wire.close_frame()[0] == 4408


def test_what_is_just_inside_the_bounds_passes(server):
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"y", fin=False) * 62 + frame(CONTINUATION, b"z"))
        assert wire.frame() == (TEXT, b"x" + b"y" * 62 + b"z")
        wire.send(frame(BINARY, b"\xff" * (64 << 10)))
        assert wire.frame() == (BINARY, b"\xff" * (64 << 10))
        wire.send(frame(PING, b"p" * 125))
        assert wire.frame() == (PONG, b"p" * 125)
        wire.send(frame(TEXT, "grüße".encode()[:4], fin=False) + frame(PING) + frame(CONTINUATION, "grüße".encode()[4:]))
        assert [wire.frame(), wire.frame()] == [(PONG, b""), (TEXT, "grüße".encode())]
        for code in (1000, 1001, 3000, 4999):
            with Wire(server) as other:
                assert other.upgrade("/c/y").status == 101
                other.send(frame(CLOSE, close_payload(code, b"bye")))
                assert other.close_frame()[0] == code, "an accepted close is echoed"
                assert other.rest() == b""


def test_bytes_after_a_close_frame_are_not_read(server):
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        wire.send(frame(CLOSE, close_payload(1000)) + frame(TEXT, b"too late"))
        assert wire.close_frame()[0] == 1000
    assert server.texts("x") == []


def test_frames_sent_with_the_handshake_are_read(server):
    with Wire(server) as wire:
        wire.request(
            "GET /c/x", "Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==", "Content-Length: 0",
        )  # fmt: skip
        wire.send(frame(TEXT, b"early"))
        assert wire.head().status == 101
        assert wire.frame() == (TEXT, b"early")


@pytest.mark.parametrize("version", [0, 7, 8, 14])
def test_s32_another_version_is_426_and_names_ours(server, version):
    with Wire(server) as wire:
        answer = wire.upgrade("/c/x", version=version)
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.parametrize("key", ["", "short", "AAECAwQFBgcICQoLDA0O", "*" * 24, "AAECAwQFBgcICQoLDA0ODw==" * 2])
def test_s32_a_key_that_is_not_16_bytes_is_400(server, key):
    with Wire(server) as wire:
        assert wire.upgrade("/c/x", key=key).status == 400


def test_s32_a_long_list_of_subprotocols_is_refused(server):
    with Wire(server) as wire:
        assert wire.upgrade("/c/x", f"Sec-WebSocket-Protocol: {', '.join(['proto'] * 200)}").status == 431


def test_a_subprotocol_we_do_not_speak_leaves_the_connection_raw(server):
    with Wire(server) as wire:
        answer = wire.upgrade("/c/x", "Sec-WebSocket-Protocol: mqtt, soap")
        assert answer.status == 101 and "sec-websocket-protocol" not in answer.headers
    with Wire(server) as wire:
        answer = wire.upgrade("/c/x", "Sec-WebSocket-Protocol: mqtt, tidewire.v1")
        assert (answer.status, answer.headers["sec-websocket-protocol"]) == (101, "tidewire.v1")


def test_s31_deflate_is_offered_in_vain(server):
    with Wire(server) as wire:
        answer = wire.upgrade("/c/x", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        assert answer.status == 101 and "sec-websocket-extensions" not in answer.headers
