"""What a service manager is told of a node's life, and when: systemd's protocol, with a manager of the tests' own."""

import ctypes
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from manager import Manager
from redis_server import Redis
from stage import BINARY, PATIENCE, Tidewire, eventually, free_port


@pytest.fixture
def manage() -> Iterator[Callable[..., Manager]]:
    started: list[Manager] = []

    def start(**how: object) -> Manager:
        started.append(Manager(**how))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_a_manager_is_told_of_start_reload_and_drain_in_this_order(
    serve: Callable[..., Tidewire], manage: Callable[..., Manager], tmp_path: Path, is_abstract: bool
) -> None:
    config = tmp_path / "tidewire.toml"
    config.write_text('log = "info"\n')
    manager = manage(is_abstract=is_abstract)
    server = serve("--config", str(config), "--drain-within", "7s", access=manager.access)
    assert re.fullmatch(r"ready; connections: \d+", manager.hear_until("READY")[-1]["STATUS"])

    config.write_text('log = "warn"\n')
    before_us = time.monotonic_ns() // 1000
    server.process.send_signal(signal.SIGHUP)
    reloading, *_, reloaded = [message for message in manager.hear_until("RELOADING") + manager.hear_until("READY") if len(message) > 1]
    assert before_us <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert (reloaded["READY"], reloaded["STATUS"]) == ("1", "reloaded")

    server.terminate()
    stopping = manager.hear_until("STOPPING")[-1]
    # The drain's own time, and five seconds for what comes after it.
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == 12_000_000
    assert stopping["STATUS"] == "draining within 7s"
    assert server.process.wait(PATIENCE) == 0
    assert manager.waiting() == [], "it is the last word"


def test_a_reload_that_is_refused_ends_too_and_says_so(
    serve: Callable[..., Tidewire], manage: Callable[..., Manager], tmp_path: Path
) -> None:
    config = tmp_path / "tidewire.toml"
    config.write_text("")
    manager = manage()
    server = serve("--config", str(config), access=manager.access)
    manager.hear_until("READY")
    config.write_text("no_such_key = 1\n")
    server.process.send_signal(signal.SIGHUP)
    manager.hear_until("RELOADING")
    assert "cannot be used, and the old one stays in force" in manager.hear_until("READY")[-1]["STATUS"]


WITHOUT_REDIS = [["--dev"], ["--admin-listen", "same"]]
"""Outside dev mode a node does not serve before it knows who was thrown out."""


def started_alone(manager: Manager, flags: list[str], port: int, folder: str) -> subprocess.Popen:
    """A node whose Redis would be at `port`, and is not."""
    secret = {} if "--dev" in flags else {"TIDEWIRE_AUTH__HS256_SECRET": secrets.token_urlsafe(32)}
    return subprocess.Popen(
        [BINARY, "serve", *flags, "--listen", "127.0.0.1:0", "--broker", f"redis://127.0.0.1:{port}"],
        cwd=folder,
        env={**os.environ, **manager.environment, **secret},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("flags", WITHOUT_REDIS, ids=["dev", "production"])
def test_a_node_without_its_redis_is_not_ready_and_says_why(manage: Callable[..., Manager], flags: list[str]) -> None:
    manager, port = manage(), free_port()
    with tempfile.TemporaryDirectory(prefix="tidewire-") as folder:
        process = started_alone(manager, flags, port, folder)
        try:
            assert manager.hear() == {"STATUS": "not ready: starting"}
            # Nobody who waits for a start is told that a reload has ended.
            process.send_signal(signal.SIGHUP)
            redis = Redis(port=port)
            told = manager.hear_until("READY")
            assert not any("RELOADING" in message for message in told)
            redis.end()
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("flags", WITHOUT_REDIS, ids=["dev", "production"])
def test_a_node_that_is_told_to_end_before_it_is_ready_never_says_that_it_is(
    manage: Callable[..., Manager], flags: list[str]
) -> None:
    manager = manage()
    with tempfile.TemporaryDirectory(prefix="tidewire-") as folder:
        process = started_alone(manager, flags, free_port(), folder)
        try:
            manager.hear_until("STATUS")
            process.terminate()
            assert not any("READY" in message for message in manager.hear_until("STOPPING"))
            assert process.wait(PATIENCE) == 0, "it was told once, and nobody was there"
            assert manager.waiting() == []
        finally:
            process.kill()
            process.wait()


def test_a_configuration_that_cannot_be_used_ends_with_78_and_is_never_ready(manage: Callable[..., Manager]) -> None:
    manager = manage()
    command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--set", "dev=false", "--config", "/dev/null"]
    ended = subprocess.run(command, env={**os.environ, **manager.environment}, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 78, "what RestartPreventExitStatus names"
    assert "nothing can verify credentials" in ended.stderr
    assert manager.waiting() == []


def test_an_event_loop_that_stops_turning_silences_the_watchdog(
    serve: Callable[..., Tidewire], manage: Callable[..., Manager]
) -> None:
    manager = manage(watchdog_s=0.4)
    server = serve(access=manager.access, **{"engine.shards": 2})
    manager.hear_until("READY")
    for _ in range(3):
        manager.hear_until("WATCHDOG")

    loops = [int(task.name) for task in Path(f"/proc/{server.process.pid}/task").iterdir() if is_loop(task)]
    assert loops, "there are event loops"
    with stopped(loops[-1]):
        said = "an event loop does not turn"
        eventually("it is noticed", lambda: said in server.said())
        manager.waiting()
        times = server.said().count(said)
        eventually("it is noticed again", lambda: server.said().count(said) >= times + 2)
        assert not any("WATCHDOG" in message for message in manager.waiting())
    manager.hear_until("WATCHDOG")


def test_a_watchdog_of_another_process_is_not_fed(serve: Callable[..., Tidewire], manage: Callable[..., Manager]) -> None:
    manager = manage(watchdog_s=0.2)
    manager.environment["WATCHDOG_PID"] = "1"
    server = serve(access=manager.access)
    manager.hear_until("READY")
    server.terminate()
    assert not any("WATCHDOG" in message for message in manager.hear_until("STOPPING"))


def is_loop(task: Path) -> bool:
    return (task / "comm").read_text().startswith("tidewire-loop")


class stopped:
    """One thread of a process of ours, held still as a debugger would, from one thread of ours."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._release = threading.Event()
        self._holds = threading.Event()
        self._holder = threading.Thread(target=self._hold)

    def __enter__(self) -> None:
        self._holder.start()
        assert self._holds.wait(PATIENCE), "the thread cannot be stopped"

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._holder.join()

    def _hold(self) -> None:
        # All of it from one thread: only the one that traces may let go.
        self._ask(self.SEIZE)
        self._ask(self.INTERRUPT)
        os.waitpid(self._thread, self.WALL)
        self._holds.set()
        self._release.wait()
        self._ask(self.DETACH)

    def _ask(self, request: int) -> None:
        if self._libc.ptrace(ctypes.c_long(request), ctypes.c_long(self._thread), ctypes.c_void_p(0), ctypes.c_void_p(0)):
            raise OSError(ctypes.get_errno(), "ptrace")
