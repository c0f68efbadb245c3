"""F2, R30: a listening socket that outlives the process. Who connects between two processes waits, and is not refused."""

import os
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from handover import FIRST, Activated
from stage import BINARY, PATIENCE, eventually, free_port
from wire import Wire

@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


def test_a_socket_that_was_handed_over_is_listened_to_in_place_of_listen(listener):
    server = Activated(listener)
    try:
        assert server.publish("x", "1")["receivers"] == {"sse": 0, "ws": 0, "poll": 0}
        assert f":{server.port}" in server.said()
    finally:
        server.end()


@pytest.mark.parametrize("overlap", [False, True], ids=["one after the other", "overlapping"])
def test_f2_nobody_who_connects_during_a_restart_is_refused(listener, overlap):
    running, outcomes, over = Activated(listener, drain_within="300ms"), Counter(), threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as visitor:
                    visitor.sendall(b"GET /c/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    outcomes[visitor.recv(12) or b"nothing"] += 1
            except OSError as error:
                outcomes[repr(error)] += 1
            time.sleep(0.002)

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    try:
        for _ in range(4):
            old = running
            old.terminate()
            if not overlap:
                assert old.process.wait(PATIENCE) == 0, old.said()
            running = Activated(listener, drain_within="300ms")
            assert old.process.wait(PATIENCE) == 0, old.said()
            old.end()
            seen = outcomes.total()
            eventually("others have come", lambda: outcomes.total() >= seen + 20)
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
        running.end()
    # Whoever came in the moment between the signal and the closing of the listener is told to come again.
    assert set(outcomes) <= {b"HTTP/1.1 200", b"HTTP/1.1 503"}, outcomes
    assert outcomes[b"HTTP/1.1 200"] > 50 and outcomes[b"HTTP/1.1 503"] < 0.1 * outcomes.total(), outcomes


def test_r30_what_waits_in_the_queue_during_a_drain_is_the_successors(listener):
    old = Activated(listener, drain_within="1s")
    with Wire(old) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        old.terminate()
        assert b"retry: " in stream.rest()
    assert old.process.wait(PATIENCE) == 0, old.said()
    with Wire(old) as early:
        early.request("GET /c/x", "Accept: text/event-stream")
        new = Activated(listener)
        early.until(b"event: $ready\n")
        new.publish("x", "from the successor")
        early.until(b"data: from the successor\n")
    new.end()
    old.end()


def test_dev_mode_does_not_reach_further_than_this_machine_over_a_socket_of_anothers():
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        with pytest.raises(AssertionError, match="dev mode lets everybody publish"):
            Activated(everywhere)


def test_dev_mode_is_not_watched_from_elsewhere_over_a_socket_of_anothers_either(listener):
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        with pytest.raises(AssertionError, match="dev mode lets everybody publish"):
            Activated(listener, "--admin-listen", f"127.0.0.1:{free_port()}", admin=everywhere)


def test_a_socket_that_nobody_would_be_served_at_is_refused(listener):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(AssertionError, match="it does not listen"):
            Activated(deaf)
        with pytest.raises(AssertionError, match="it does not listen"):
            Activated(listener, "--admin-listen", f"127.0.0.1:{free_port()}", admin=deaf)
    with socket.create_server(("127.0.0.1", 0)) as admin:
        # Dev mode answers who watches where it answers clients.
        with pytest.raises(AssertionError, match="give admin_listen an address"):
            Activated(listener, admin=admin)


def test_units_that_hand_over_the_wrong_socket_end_with_78_for_systemd_not_to_start_it_again():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        command = ["sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh", BINARY, "serve", "--dev", "--listen", "127.0.0.1:0"]
        ended = subprocess.run(
            command, pass_fds=(FIRST,), preexec_fn=lambda: os.dup2(deaf.fileno(), FIRST), capture_output=True, text=True, timeout=PATIENCE
        )
    assert (ended.returncode, "it does not listen" in ended.stderr) == (78, True), ended.stderr
