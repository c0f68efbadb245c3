"""What a delivery costs, in things that can be counted and come out the same on every machine: system calls, and
instructions. Time is measured by the benches, and gates nothing."""

import ctypes
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from stage import ACCESS, PATIENCE, Tidewire
from wire import Wire

SUBSCRIBERS = 200


def subscribe(server: Tidewire, count: int = SUBSCRIBERS) -> list[Wire]:
    streams = [Wire(server) for _ in range(count)]
    for stream in streams:
        stream.request("GET /c/prices", "Accept: text/event-stream")
    for stream in streams:
        stream.until(b"event: $ready\n")
    return streams


def deliver(server: Tidewire, streams: list[Wire], messages: range) -> int:
    """Publishes one after the other, each when everybody has the one before, so that none leave together."""
    for number in messages:
        server.publish("prices", f"message {number}")
        for stream in streams:
            stream.until(b"data: message %d\n" % number)
    return len(messages) * len(streams)


class Traced:
    """Counts the system calls of a process, its threads included, while it lives."""

    def __init__(self, process: int, folder: Path) -> None:
        self._summary = folder / "calls"
        command = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(self._summary), "-p", str(process)]
        self._strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert "attached" in self._strace.stderr.readline()

    def end(self) -> dict[str, int]:
        self._strace.send_signal(subprocess.signal.SIGINT)
        self._strace.communicate(timeout=PATIENCE)
        rows = re.findall(r"^\s*(\d+)\s+(\w+)$", self._summary.read_text(), re.MULTILINE)
        return {name: int(calls) for calls, name in rows if name != "total"}


def number_of(server: Tidewire, metric: str) -> float:
    text = server.client.get("/metrics").text
    return float(re.search(rf"^{re.escape(metric)} (\S+)$", text, re.MULTILINE)[1])


def has_io_uring() -> bool:
    """Whether this kernel makes rings, and lets us have one (io_uring_setup(2))."""
    parameters = ctypes.create_string_buffer(120)
    ring = ctypes.CDLL(None, use_errno=True).syscall(425, 1, parameters)
    if ring >= 0:
        os.close(ring)
    return ring >= 0


BUDGETS = {"uring": 0.1, "epoll": 1.1}
"""System calls a delivery, of the whole process."""


@pytest.mark.parametrize("asked", ["auto", "epoll"])
def test_system_calls_of_a_delivery(asked: str, serve: Callable[..., Tidewire], tmp_path: Path):
    io = "uring" if asked == "auto" and has_io_uring() else "epoll"
    server = serve(**{"engine.io": asked})
    streams = subscribe(server)
    deliver(server, streams, range(5))
    traced = Traced(server.process.pid, tmp_path)
    deliveries = deliver(server, streams, range(5, 55))
    calls = traced.end()
    each = sum(calls.values()) / deliveries
    print(f"{io}: {each:.3f} system calls a delivery: {calls}")
    assert each <= BUDGETS[io]
    assert number_of(server, f'tidewire_loops{{io="{io}"}}') >= 1


def test_who_has_waited_gets_all_of_it_in_one_write(serve: Callable[..., Tidewire]):
    server = serve()
    streams = subscribe(server, 50)
    before = number_of(server, "tidewire_writes_total")
    batch = [{"channel": "prices", "data": f"message {number}"} for number in range(100)]
    assert server.client.post("/v1/publish", json={"messages": batch}).status_code == 200
    for stream in streams:
        stream.until(b"data: message 99\n")
    each = (number_of(server, "tidewire_writes_total") - before) / (50 * 100)
    print(f"{each:.3f} writes a delivery")
    assert each <= 0.25


class Counted(Tidewire):
    """A server whose instructions are counted. It runs some fifty times slower."""

    def __init__(self, folder: Path) -> None:
        self.counts = folder / "counts"
        super().__init__({"engine.shards": 1}, (), ACCESS)

    def start(self) -> None:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.counts}"]
        self._under = valgrind
        super().start()

    def control(self, order: str) -> None:
        subprocess.run(["callgrind_control", order, str(self.process.pid)], check=True, capture_output=True)

    def instructions(self) -> int:
        """Since the last look."""
        self.control("--dump=look")
        newest = max(self.counts.parent.glob("counts.*"), key=lambda path: int(path.suffix[1:]))
        return int(re.search(r"^(?:summary|totals): (\d+)$", newest.read_text(), re.MULTILINE)[1])


def test_instructions_of_a_delivery(tmp_path: Path):
    server = Counted(tmp_path)
    try:
        streams = subscribe(server)
        deliver(server, streams, range(5))
        server.instructions()
        few = deliver(server, streams, range(5, 10))
        cheap = server.instructions()
        many = deliver(server, streams, range(10, 40))
        dear = server.instructions()
        # What a publish costs by itself is in both.
        print(f"{cheap / few:.0f} and {dear / many:.0f} instructions a delivery, the publish and the wait included")
        assert dear / many <= 1_300
    finally:
        server.end()
