"""Whoever answers `doctor` can neither keep it, nor fill this machine's memory, nor write on the terminal."""

from hostile import PAGE, is_handshake, say, shake
from patient import beside, doctor


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
