"""`tidewire top` in a terminal of 80 by 24: what is seen of a server that is busy, gone, and back."""

import json
import re
import signal
import socket
import subprocess

import pytest
from stage import ACCESS, BINARY, PATIENCE, Access, Tidewire, eventually
from terminal import Terminal
from wire import Wire

STREAM = "Accept: text/event-stream"
PASSWORD = "correct horse battery"
VIEWER = "only looking around"

GUARDED = Access(
    flags=("--admin-listen", "same", "--set", "auth.api_keys=tests:publish:" + "0" * 64),
    environment={"TIDEWIRE_ADMIN__PASSWORD": PASSWORD, "TIDEWIRE_ADMIN__VIEWER_PASSWORD": VIEWER},
)
"""A server that asks who looks."""

pytestmark = pytest.mark.skipif(bool(ACCESS.credentials), reason="it brings servers of its own where credentials matter")


def top(server: Tidewire, *flags: str, **environment: str) -> Terminal:
    return Terminal([BINARY, "top", "--url", server.url, *flags], environment)


def once(server: Tidewire, *flags: str, **environment: str) -> subprocess.CompletedProcess:
    command = [BINARY, "top", "--url", server.url, *flags]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )


def number(screen: str, name: str) -> int:
    """The figure that stands behind `name`."""
    return int(re.search(rf"\b{name} ([\d ]*\d)", screen)[1].replace(" ", ""))


def test_a_busy_server_is_seen_and_its_slow_reader_first(serve):
    server = serve(**{"limits.queue_bytes_max": "64MiB", "limits.queue_messages_max": 1000000, "limits.queue_age_max": "1h"})
    with top(server) as terminal, Wire(server) as one, Wire(server) as other, Wire(server) as slow:
        terminal.until("live", "ready", "1 node", "Messages in memory", "Nodes 1")
        slow._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.request("GET /c/big", STREAM)
        for wire in (one, other):
            wire.request("GET /c/prices", STREAM)
            wire.until(b"event: $ready\n")
        slow.until(b"event: $ready\n")
        eventually("three streams are counted", lambda: number(terminal.screen(), "SSE") == 4)
        for _ in range(200):
            server.publish("prices", "EURUSD 1.0842")
            server.publish("big", "x" * 60_000)
        terminal.until("channels 2")
        eventually("what is kept is seen", lambda: number(terminal.screen(), "messages kept") > 0)
        eventually("the rate is seen", lambda: re.search(r"Out [1-9]", terminal.screen()) is not None)
        terminal.type("3")
        screen = terminal.until("QUEUED", "OVER", "big")
        first = next(line for line in screen.splitlines() if " sse " in line)
        assert "MiB" in first and "big" in first, screen
        terminal.type("/prices\r")
        eventually("it sifts", lambda: terminal.screen().count(" sse ") == 2)
        terminal.type("\x1b")
        # Keys that follow an Esc at once are those of Alt.
        eventually("everything is shown again", lambda: terminal.screen().count(" sse ") == 4)
        server.client.get("/c/not%20a%20channel")
        terminal.type("\t")
        terminal.until("channel_invalid", "byte 3 of the channel name", "refusals: channel_invalid 1")
        terminal.type("?")
        terminal.until("Any key goes back")
        terminal.type("xq")
        assert terminal.ended() == 0
        assert terminal.is_as_before()


def test_a_terminal_that_cannot_be_drawn_on_is_told_what_to_say_instead(server):
    with top(server, TERM="dumb") as terminal:
        terminal.until("tidewire top --once")
        assert terminal.ended() == 2
        assert b"\x1b" not in terminal.written


def test_a_server_that_is_gone_is_told_and_found_again(serve):
    server = serve()
    with top(server) as terminal:
        terminal.until("live", "ready")
        server.process.kill()
        server.process.wait()
        terminal.until("cut off", "Last heard", "trying again", "Connection refused")
        server.restart()
        terminal.until("live", "1 node")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 0
        assert terminal.is_as_before(), "a signal leaves it as it was, too"


def test_a_terminal_of_another_size_is_drawn_anew(server):
    with top(server) as terminal:
        terminal.until("live")
        terminal.resize(40, 10)
        terminal.tell_of_size()
        terminal.until("The terminal has 40×10")
        terminal.resize(140, 40)
        terminal.tell_of_size()
        terminal.until("VERSION", "live")
        terminal.type("\x03")
        assert terminal.ended() == 0
        assert terminal.is_as_before()


def test_a_signal_while_a_password_is_asked_for_leaves_the_terminal_as_it_was(serve):
    with top(serve(access=GUARDED)) as terminal:
        terminal.until("Password of the console at")
        terminal.type_unseen("half of a passw")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 1
        assert terminal.is_as_before()
        assert b"half" not in terminal.written


def test_a_password_is_asked_for_unseen_and_a_viewers_is_enough(serve):
    server = serve(access=GUARDED)
    with top(server) as terminal:
        terminal.until("Password of the console at")
        terminal.type("wrong wrong wrong\r")
        terminal.until("This is not a password of the console.")
        terminal.type(VIEWER + "\r")
        terminal.until("live", "ready")
        terminal.type("q")
        assert terminal.ended() == 0
        assert terminal.is_as_before()
        assert VIEWER.encode() not in terminal.written and b"wrong" not in terminal.written


def test_s51_without_a_password_a_server_that_asks_is_not_looked_at(serve):
    server = serve(access=GUARDED)
    missing = once(server, "--once")
    assert missing.returncode == 2 and "TIDEWIRE_ADMIN_PASSWORD" in missing.stderr, missing
    wrong = once(server, "--once", TIDEWIRE_ADMIN_PASSWORD="wrong wrong wrong")
    assert wrong.returncode == 1 and "not a password of the console" in wrong.stderr, wrong
    assert "wrong wrong" not in wrong.stderr
    assert once(server, "--once", TIDEWIRE_ADMIN_PASSWORD=VIEWER).returncode == 0


def test_a_password_file_opens_it_and_a_server_without_a_console_says_what_to_set(serve, tmp_path):
    file = tmp_path / "password"
    file.write_text(VIEWER + "\n")
    assert once(serve(access=GUARDED), "--once", "--password-file", str(file)).returncode == 0
    bare = serve(access=Access(flags=GUARDED.flags))
    off = once(bare, "--once")
    assert off.returncode == 1 and "`admin.viewer_password`" in off.stderr and "kill -HUP" in off.stderr, off
    away = subprocess.run(
        [BINARY, "top", "--once", "--url", "http://192.0.2.1:9090"],
        env={"TIDEWIRE_ADMIN_PASSWORD": VIEWER},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert away.returncode != 0 and VIEWER not in away.stderr


def test_a_terminal_that_goes_away_ends_it(server):
    with top(server) as terminal:
        terminal.until("live")
        assert terminal.hang_up() == 0


def test_json_is_a_line_a_second_that_says_when_nothing_is_heard(serve):
    server = serve()
    command = [BINARY, "top", "--json", "--url", server.url]
    with subprocess.Popen(command, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as looking:
        assert json.loads(looking.stdout.readline())["link"] == {"state": "live"}
        server.process.kill()
        cut = next(look for line in looking.stdout if (look := json.loads(line))["link"]["state"] != "live")
        assert cut["link"]["state"] == "cut off" and cut["nodes"][0]["phase"] == "ready", cut
        looking.kill()


def test_one_look_is_printed_as_text_and_as_json(server):
    with Wire(server) as wire:
        wire.request("GET /c/prices", STREAM)
        wire.until(b"event: $ready\n")
        server.publish("prices", "EURUSD 1.0842")
        text = once(server, "--once")
        assert text.returncode == 0, text
        for part in ("Nodes\n", "Channels, by messages a second", "Connections, by queued bytes", "prices"):
            assert part in text.stdout, text.stdout
        assert "\x1b" not in text.stdout
        look = json.loads(once(server, "--once", "--json").stdout)
        assert look["nodes"][0]["phase"] == "ready"
        assert [channel["channel"] for channel in look["channels"]] == ["prices"]
        assert {tuple(row["channels"]) for row in look["connections"]} >= {("prices",)}
        drawn = once(server)
        assert drawn.returncode == 2 and "--once" in drawn.stderr, drawn
