"""What an attack may not do to a server: end it, keep its descriptors, fill its memory, or take its processor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stage import PATIENCE, Tidewire, client, eventually

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20
LOOKS = 8
"""So many looks in a row, 20 ms apart, show that the server rests."""


@dataclass(frozen=True)
class Vitals:
    """A process at one moment."""

    pid: int
    descriptors: int
    peak_bytes: int
    """The most memory that was resident since `forget_peak`."""
    processor_s: float


def vitals(server: Tidewire) -> Vitals:
    pid = server.process.pid
    assert server.process.poll() is None, f"the server ended with {server.process.returncode}:\n{server.said()}"
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    # The name of the program stands in parentheses and may hold spaces.
    times = (proc / "stat").read_text().rpartition(")")[2].split()
    return Vitals(
        pid=pid,
        descriptors=len(os.listdir(proc / "fd")),
        peak_bytes=int(status["VmHWM"].split()[0]) << 10,
        processor_s=(int(times[11]) + int(times[12])) / TICKS_PER_SECOND,
    )


def at_rest(server: Tidewire) -> None:
    """Waits until the server has done all that it was asked: it has used no processor time for a while."""
    used: list[float] = []

    def rests() -> bool:
        used.append(vitals(server).processor_s)
        return len(used) > LOOKS and used[-1] == used[-1 - LOOKS]

    eventually("the server rests", rests)


def forget_peak(server: Tidewire) -> None:
    """The peak of memory begins anew with what is resident now."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


@contextmanager
def unharmed(
    server: Tidewire, growth_max: int = 32 * MIB, processor_max_s: float | None = None, patience: float = PATIENCE
) -> Iterator[None]:
    """Whatever is done inside, the same process is well afterwards.

    It is alive and says so, takes a publish, has given back every descriptor within `patience` seconds, has never had
    more than `growth_max` bytes more than before, and where that is asked, has used no more than `processor_max_s`.
    """
    is_well(server, "before")
    forget_peak(server)
    before = vitals(server)
    yield
    after = vitals(server)
    assert after.pid == before.pid
    is_well(server, "after")
    if processor_max_s is not None:
        assert after.processor_s - before.processor_s <= processor_max_s
    grown = after.peak_bytes - before.peak_bytes
    assert grown <= growth_max, f"{grown / MIB:.1f} MiB more than before"
    eventually(
        "every descriptor has been given back",
        lambda: vitals(server).descriptors <= before.descriptors,
        patience,
    )


def is_well(server: Tidewire, when: str) -> None:
    """It is alive, and somebody who comes now is served."""
    with client(server.url) as newcomer:
        alive = newcomer.get("/livez")
    assert alive.status_code == 200, alive.text
    assert server.publish("vitals", when)["channel"] == "vitals"
    assert server.texts("vitals")[-1] == when
