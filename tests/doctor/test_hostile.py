"""Whoever answers `doctor` can neither keep it, nor fill this machine's memory, nor write on the terminal."""

import json
import subprocess
import time

from hostile import ESCAPES, PAGE, is_handshake, say, shake
from patient import beside, doctor
from stage import BINARY

PROBLEM = "application/problem+json"
OBEYED = ("\x1b", "\x07", "\u009b", "\u202e")


@beside
def test_a_server_that_floods_a_websocket_keeps_nobody(stage):
    def answer(head, client):
        if not is_handshake(head):
            return say(client, "200 OK", PAGE)
        shake(head, client)
        pings = b"\x89\x00" * 8192
        while True:
            client.sendall(pings)

    report = doctor(stage.hostile(answer).url, "--idle", "2s")
    assert report.said["took_ms"] < 20_000
    assert "pings" in report.words("quiet WebSocket")


@beside
def test_a_stream_without_an_end_of_a_line_is_given_up(stage):
    def answer(head, client):
        if b"text/event-stream" not in head:
            return say(client, "200 OK", PAGE)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        line = b"data" * 16384
        while True:
            client.sendall(line)

    report = doctor(stage.hostile(answer).url, "--quick")
    assert "an event does not end within 16 MiB" in report.finding("stream_refused")["seen"]


@beside
def test_nothing_that_a_server_says_is_obeyed_by_a_terminal(stage):
    problem = json.dumps({"code": "forbidden", "detail": ESCAPES, "hint": ESCAPES})
    url = stage.hostile(lambda _, client: say(client, "403 Forbidden", problem, PROBLEM)).url
    for command in (["doctor", url, "--quick"], ["doctor", url, "--quick", "--json"], ["pub", "a", "x", "--url", url]):
        done = subprocess.run([BINARY, *command], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and "owned" in done.stdout + done.stderr
        assert not any(each in done.stdout + done.stderr for each in OBEYED), done
    assert ESCAPES in doctor(url, "--quick").finding("grant_missing")["seen"], "and JSON says what it was"


@beside
def test_a_way_that_was_not_looked_at_to_its_end_is_not_well(stage):
    def answer(head, client):
        time.sleep(1.2)
        say(client, "200 OK", PAGE)

    report = doctor(stage.hostile(answer).url, "--quick")
    assert report.code == 1
    assert "was not done within 9.5 s" in report.finding("unanswered")["seen"]


@beside
def test_a_token_is_not_carried_to_another_port(stage):
    other = stage.hostile(lambda _, client: say(client, "200 OK", PAGE))
    to = f"Location: {other.url}/c/x"
    report = doctor(stage.hostile(lambda _, client: say(client, "302 Found", "", "text/html", to)).url, "--quick", token="mine")
    assert report.codes == ["redirected"]
    assert f"the token is not shown to `{other.url}/`" in report.said["checks"][-1]["words"]
    assert other.heads == []
