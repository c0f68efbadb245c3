"""WebSocket as Python's `websockets` meets it."""

import json

import pytest
from stage import PATIENCE, eventually
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wire import Wire


def open_socket(server, path: str, **options):
    return connect(f"{server.ws_url}{path}", open_timeout=PATIENCE, proxy=None, **options)


def test_raw_messages_come_back_as_they_were_sent(server):
    with open_socket(server, "/c/x") as socket:
        for message in ("text", b"\x00\xff", "", "x" * 65_536):
            socket.send(message)
            assert socket.recv(PATIENCE) == message


def test_a_message_in_fragments_comes_back_whole(server):
    with open_socket(server, "/c/x") as socket:
        socket.send(["one ", "message ", "in four ", "parts"])
        assert socket.recv(PATIENCE) == "one message in four parts"


def test_one_subscriber_hears_what_another_and_a_backend_say(server):
    with open_socket(server, "/c/x") as ada, open_socket(server, "/c/x") as ben:
        ada.send("from ada")
        assert ben.recv(PATIENCE) == "from ada"
        server.publish("x", "from the backend")
        assert ben.recv(PATIENCE) == "from the backend"


def test_r22_messages_of_one_connection_keep_their_order(server):
    with open_socket(server, "/c/x") as socket:
        for n in range(200):
            socket.send(str(n))
        assert [socket.recv(PATIENCE) for _ in range(200)] == [str(n) for n in range(200)]


def test_v1_speaks_json_both_ways(server):
    with open_socket(server, "/c/", subprotocols=["tidewire.v1"]) as socket:
        assert socket.subprotocol == "tidewire.v1"
        socket.send(json.dumps({"type": "subscribe", "channels": ["x"], "id": "s"}))
        while (frame := json.loads(socket.recv(PATIENCE)))["type"] != "ack":
            assert frame["type"] == "ready"
        receipt = server.publish("x", "hello")
        frame = json.loads(socket.recv(PATIENCE))
        assert (frame["type"], frame["id"], frame["data"]) == ("message", receipt["id"], "hello")


def test_a_client_that_closes_is_answered_and_forgotten(server):
    with open_socket(server, "/c/x") as socket:
        eventually("it is counted", lambda: server.publish("x", "probe")["receivers"]["ws"] == 1)
        socket.close(1000, "bye")
        assert socket.close_code == 1000
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"]["ws"] == 0)


def test_a_client_that_never_answers_a_ping_is_ended(serve):
    """S30, M13: silence ends a connection, so that a phone in a tunnel does not hold its slot for ever."""
    server = serve(**{"limits.ping": "200ms", "limits.silence_max": "600ms"})
    with Wire(server) as wire:
        assert wire.upgrade("/c/x").status == 101
        opcode, _ = wire.frame()
        assert opcode == 9
        assert wire.close_frame()[0] == 4408


def test_a_message_too_large_closes_with_1009(server):
    with open_socket(server, "/c/x") as socket:
        socket.send("x" * 65_537)
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)
        assert socket.close_code == 1009
