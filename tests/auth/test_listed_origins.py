"""Every entry behind a door, asked by pages that are almost those that may come in (S1, S2, S7)."""

import os
import random
from collections.abc import Iterator

import pytest
from keys import GUARDED, ORIGIN, OTHER_ORIGIN
from stage import Tidewire
from wire import Response, Wire

LISTED = {ORIGIN, OTHER_ORIGIN}
SEED = int(os.environ.get("TIDEWIRE_SEED", "7"))
ORIGINS = 120

ENTRIES = {
    "stream": ("GET /c/x", "Accept: text/event-stream"),
    "poll": ("GET /c/x",),
    "long poll": ("GET /c/x?wait=1&cursor=earliest",),
    "publish": ("POST /c/x", "Content-Length: 0"),
    "preflight": ("OPTIONS /c/x", "Access-Control-Request-Method: POST"),
    "batch": ("POST /v1/publish", "Content-Length: 0"),
    "tickets": ("POST /v1/tickets", "Content-Length: 0"),
    "revoke": ("POST /v1/revoke", "Content-Length: 0"),
    "channels": ("GET /v1/channels",),
    "history": ("GET /v1/channels/x/history",),
    "health": ("GET /livez",),
    "page": ("GET /c/x", "Accept: text/html"),
    "nothing": ("GET /nowhere",),
    "websocket": (),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Tidewire]:
    """A server that asks who comes, for all of them."""
    server = Tidewire({}, (), GUARDED)
    server.publish("x", "something to read")
    yield server
    server.end()


def near(chance: random.Random) -> str:
    """What is nearly a listed origin, and perhaps is one."""
    origin = chance.choice(sorted(LISTED))
    for _ in range(chance.randint(0, 2)):
        at = chance.randrange(len(origin) + 1)
        origin = chance.choice([
            origin[:at] + chance.choice("./:@%\\?#,;- \t*~_") + origin[at:],
            origin[:at] + origin[at + 1 :],
            origin[:at] + origin[at:].upper(),
            origin + chance.choice([".evil.example", ":443", "/", "@evil.example", "%00", ".", ", https://evil.example"]),
            origin.replace("https://", chance.choice(["http://", "https://x.", "//", "https://evil.example/", "wss://"])),
            chance.choice(["null", "*", "", "https://evil.example", "file://"]),
        ])  # fmt: skip
    return origin


def knock(server: Tidewire, entry: str, origin: str) -> Response:
    with Wire(server) as wire:
        if entry == "websocket":
            return wire.upgrade("/c/x", f"Origin: {origin}")
        wire.request(ENTRIES[entry][0], *ENTRIES[entry][1:], f"Origin: {origin}")
        return wire.head()


@pytest.mark.parametrize("entry", ENTRIES)
def test_s7_no_entry_names_an_origin_that_is_not_listed(server: Tidewire, entry: str) -> None:
    chance = random.Random(SEED)
    for origin in [*sorted(LISTED), *(near(chance) for _ in range(ORIGINS))]:
        answer = knock(server, entry, origin)
        told = f"TIDEWIRE_SEED={SEED}: {entry} of {origin!r}: {answer}"
        # White space around a value is no part of it.
        listed = origin.strip(" \t") in LISTED
        named = answer.headers.get("access-control-allow-origin")
        assert named is None or named in LISTED, told
        # The one who is not there is not asked: an empty field is an origin that nobody has.
        assert listed or answer.status in (400, 403), told
        if listed and entry != "websocket":
            assert named == origin.strip(" \t"), told
            assert "origin" in answer.headers["vary"].lower(), told
