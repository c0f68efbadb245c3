"""Log lines: a JSON object each where machines read them, bounded, and nothing that a client wrote can forge one."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from stage import ACCESSES, BINARY, PATIENCE, Tidewire, eventually, free_port
from wire import Wire


def lines(server: Tidewire) -> list[dict]:
    """Every line that is a JSON object; the box of dev mode is none."""
    return [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]


def guarded(serve: Callable[..., Tidewire], **settings: object) -> Tidewire:
    return serve(access=ACCESSES["key"], **settings)


def test_a_life_is_four_lines_with_their_figures(serve: Callable[..., Tidewire]) -> None:
    server = guarded(serve, log="warn")
    server.publish("x", "hello")
    server.terminate()
    assert server.process.wait(15) == 0
    told = [line for line in lines(server) if line["target"] == "tidewire_server::life"]
    assert [line["message"] for line in told] == ["started", "ready", "draining", "ended"]
    started, ready, draining, ended = told
    assert list(started)[:4] == ["time", "level", "target", "message"] and started["time"].endswith("Z")
    assert started["address"] == f"127.0.0.1:{server.port}" and started["broker"] == "memory"
    assert ready["connections_max"] > 0 and draining["channels"] == 1 and ended["published"] == 1


def test_a_flood_of_refusals_is_some_lines_and_a_count(serve: Callable[..., Tidewire]) -> None:
    server = guarded(serve, log="info")
    for _ in range(200):
        assert server.client.get("/c/$bad").status_code == 400
    refused = lambda: [line for line in lines(server) if line["message"] == "refused a request"]  # noqa: E731
    eventually("some were logged", lambda: len(refused()) >= 20)
    assert len(refused()) < 30
    assert refused()[0].keys() >= {"code", "detail", "client", "path", "trace_id", "others"}
    assert refused()[0]["code"] == "channel_invalid"

    def says() -> bool:
        """The next one that is logged says how many were not."""
        server.client.get("/c/$bad")
        return sum(line["others"] for line in refused()) >= 150

    eventually("the others are counted", says)


def test_what_a_client_wrote_is_no_line_of_its_own(serve: Callable[..., Tidewire]) -> None:
    for form in ("json", "text"):
        server = guarded(serve, log="debug", log_format=form)
        with Wire(server) as wire:
            wire.send(b"GET /c/a%0d%0aERROR%20forged HTTP/1.1\r\nHost: x\r\nOrigin: http://a\x1b[31m.example\r\n\r\n")
            wire.until(b"HTTP/1.1 4")
        with Wire(server) as wire:
            wire.send("GET /c/x HTTP/1.1\r\nHost: a\u2028ERROR forged\x85\r\nOrigin: http://x\u202e.example\r\n\r\n".encode())
            wire.until(b"HTTP/1.1 4")
        eventually("they are logged", lambda: server.said().count("refused a request") >= 2)
        said = server.said()
        assert "\nERROR" not in said and not set(said) & set("\x1b\x85\u2028\u202e\r\0"), form


def test_whoever_stops_reading_the_log_holds_up_nobody(tmp_path: Path) -> None:
    unread, written = os.pipe()
    port = free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--admin-listen", "same", "--log", "trace", "--config", os.devnull]
    process = subprocess.Popen([BINARY, "serve", "--dev", *arguments], stdout=subprocess.DEVNULL, stderr=written, cwd=tmp_path)
    os.close(written)
    try:
        # HTTP/2, of which the log has sixty lines a request at `trace`.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", http1=False, http2=True, timeout=PATIENCE) as asking:
            eventually("the server is ready", lambda: answers(asking))

            def drops() -> bool:
                """Lines are dropped and counted once there is no room for more, and every request is answered all the while."""
                for _ in range(20):
                    assert asking.get("/c/$bad").status_code == 400
                found = re.search(r"^tidewire_log_lines_dropped_total (\d+)$", asking.get("/metrics").text, re.MULTILINE)
                return found is not None and int(found[1]) > 0

            eventually("lines are dropped", drops)
        process.terminate()
        assert process.wait(15) == 0, "nor does it hold up the end"
    finally:
        process.kill()
        process.wait()
        os.close(unread)


def answers(asking: httpx.Client) -> bool:
    try:
        return asking.get("/readyz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_a_server_without_traces_says_so_where_a_collector_is_named(
    serve: Callable[..., Tidewire], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:canary@127.0.0.1:4318")
    server = guarded(serve)
    (told,) = [line for line in lines(server) if "OTEL_" in line["message"]]
    assert told["level"] == "WARN" and "built without `--features otlp`" in told["message"]
    assert "canary" not in server.said()


def test_a_reload_changes_the_level(serve: Callable[..., Tidewire], tmp_path) -> None:
    written = tmp_path / "tidewire.toml"
    written.write_text('log = "error"\n')
    server = serve("--config", str(written), access=ACCESSES["key"])
    wrong = {"Authorization": "Bearer wrong"}
    server.client.get("/c/x", headers=wrong)
    written.write_text('log = "info"\n')
    os.kill(server.process.pid, signal.SIGHUP)

    def is_logged() -> bool:
        server.client.get("/c/y", headers=wrong)
        return any(line.get("path") == "/c/y" for line in lines(server))

    eventually("refusals are logged", is_logged)
    assert not any(line.get("path") == "/c/x" for line in lines(server)), "it was not before"


def test_dev_mode_is_for_people(server: Tidewire) -> None:
    assert lines(server) == []
