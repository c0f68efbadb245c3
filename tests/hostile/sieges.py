"""Sieges of two sizes, and the good clients whose patience is measured in them."""

import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from stage import PATIENCE, Tidewire
from vitals import vitals
from wire import Wire

BESIEGER = Path(__file__).resolve().with_name("besieger.py")

CLIENTS = 2_000
CONNECT_P99_MAX_S = 0.100
"""The promise of S33 to those who mean well."""

DESCRIPTORS_BACK_WITHIN_S = 15.0
"""The other promise: from the last deadline on."""


@dataclass(frozen=True)
class Scale:
    """How large a siege is, and the deadlines of the server under it."""

    hold_s: float
    interval_s: float
    """Between two bytes of one client that drips."""
    deadline_s: float
    """The last deadline of a besieger that has come just now, and how long we linger after it."""
    settings: dict[str, object] = field(default_factory=dict)


SCALES = {
    # Deadlines are shortened as the interval is, so that the same things happen in a twentieth of the time.
    "short": Scale(
        hold_s=2.5,
        interval_s=0.25,
        deadline_s=2.0,
        settings={
            "limits.first_byte_max": "1s",
            "limits.head_max": "1500ms",
            "limits.body_max": "1s",
            "limits.queue_age_max": "1s",
            "limits.linger_max": "500ms",
        },
    ),
    "full": Scale(hold_s=40.0, interval_s=5.0, deadline_s=34.0),
}


@pytest.fixture
def scale(request: pytest.FixtureRequest) -> Scale:
    """The size of this run's sieges."""
    return SCALES["full" if request.config.getoption("--full") else "short"]


class Siege:
    """Besiegers of one kind around a server, from the first to the last."""

    def __init__(self, server: Tidewire, kind: str, scale: Scale) -> None:
        command = [sys.executable, str(BESIEGER), kind, str(server.port), str(CLIENTS), str(scale.interval_s)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told: dict[str, int] = {}
        """What the besiegers were told, by status, once the siege is over."""

    def __enter__(self) -> "Siege":
        assert self.process.stdout.readline() == "stands\n"
        return self

    def hold(self) -> None:
        """From now on they send nothing, close nothing, and nobody comes back."""
        self.process.stdin.write("hold\n")
        self.process.stdin.flush()

    def __exit__(self, *_: object) -> None:
        said, _ = self.process.communicate(timeout=PATIENCE)
        self.told = json.loads(said)["told"]


@dataclass
class Patience:
    """How long each of the good clients waited, in seconds."""

    streams: list[float] = field(default_factory=list)
    """From connecting to the first bytes of a stream."""
    publishes: list[float] = field(default_factory=list)
    """From connecting to the answer to a publish, which the stream beside it has heard."""
    descriptors_most: int = 0
    """The most that the server held meanwhile, looked at four times a second."""

    def check(self) -> None:
        for name, waits in (("streams", self.streams), ("publishes", self.publishes)):
            assert len(waits) >= 100, f"{len(waits)} {name} are too few to speak of a hundredth"
            assert p99(waits) < CONNECT_P99_MAX_S, f"{name}: {describe(waits)}"


def good_clients(server: Tidewire, seconds: float) -> Patience:
    """Comes as two new clients a hundred times a second: one opens a stream, the other publishes to it."""
    patience = Patience()
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end or len(patience.streams) < 100:
        with Wire(server) as stream:
            stream.request("GET /c/good", "Accept: text/event-stream")
            stream.until(b"retry: ")
            patience.streams.append(time.monotonic() - began)
            stream.until(b"event: $ready\n")
            began_to_publish = time.monotonic()
            with Wire(server) as publisher:
                publisher.request("POST /c/good", body=b"hello")
                answer = publisher.response()
            patience.publishes.append(time.monotonic() - began_to_publish)
            assert answer.status == 200, answer
            stream.until(b"data: hello\n")
        if len(patience.streams) % 25 == 1:
            patience.descriptors_most = max(patience.descriptors_most, vitals(server).descriptors)
        time.sleep(max(0.0, began + 0.01 - time.monotonic()))
    return patience


def p99(waits: list[float]) -> float:
    """The wait that 99 of 100 do not exceed."""
    return sorted(waits)[math.ceil(len(waits) * 0.99) - 1]


def describe(waits: list[float]) -> str:
    ordered = sorted(waits)
    return (
        f"{len(waits)} waits, median {ordered[len(waits) // 2] * 1e3:.1f} ms, "
        f"p99 {p99(waits) * 1e3:.1f} ms, longest {ordered[-1] * 1e3:.1f} ms"
    )
