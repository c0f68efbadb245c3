"""The unit files that are shipped: systemd takes them, they close what they can, and the server gets by with what they leave."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from manager import Manager
from stage import BINARY, PATIENCE, REPOSITORY, eventually, free_port
from websockets.sync.client import connect

UNITS = REPOSITORY / "ops/systemd"

EXPOSURE_MAX = 1.5
"""Of 10, as systemd-analyze(1) counts. It is 1.2 with systemd 252: it may reach the network, which is what it is for."""


def analyze(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=PATIENCE)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS.glob("tidewire.s[eo]*"):
        text = unit.read_text()
        # The binary under test is not where a package has it, and its user is not on this machine.
        (tmp_path / unit.name).write_text(text.replace("/usr/bin/tidewire", BINARY).replace("=tidewire\n", "=root\n"))
    verified = analyze("verify", "--man=no", *map(str, tmp_path.iterdir()))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_service_is_exposed_as_little_as_a_server_can_be() -> None:
    judged = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(UNITS / "tidewire.service")
    )
    assert judged.returncode == 0, judged.stdout


@pytest.mark.parametrize("unit", ["tidewire.service", "tidewire.socket"])
def test_the_documentation_shows_what_is_shipped(unit: str) -> None:
    shown = (REPOSITORY / "docs/operations.md").read_text()
    assert f"```ini\n{(UNITS / unit).read_text()}```" in shown, f"docs/operations.md has drifted from ops/systemd/{unit}"


def test_system_calls_under_load_are_among_those_that_the_service_may_make(tmp_path: Path) -> None:
    used = calls_under_load(tmp_path)
    assert "io_uring_enter" in used or "epoll_wait" in used, used
    lines = [line.partition("=")[2].split() for line in (UNITS / "tidewire.service").read_text().splitlines() if line.startswith("SystemCallFilter=")]
    allowed: set[str] = set()
    for first, *rest in lines:
        words = [first.lstrip("~"), *rest]
        named = {call for word in words for call in members(word)}
        allowed = allowed - named if first.startswith("~") else allowed | named
    # It raises its limit of open files and lowers that of cores where it may; the unit has done both already.
    assert used - allowed <= {"prlimit64"}, used - allowed


def members(word: str) -> Iterable[str]:
    """The calls of a set such as `@system-service`, sets within it included."""
    if not word.startswith("@"):
        return {word}
    listed = analyze("syscall-filter", word).stdout.splitlines()[1:]
    return {call for line in listed if (name := line.strip()) and not name.startswith("#") for call in members(name)}


def calls_under_load(folder: Path) -> set[str]:
    """What a node asks the kernel for, from its start to its end: publishes, every transport, a reload, a drain."""
    counted, port, manager = folder / "calls", free_port(), Manager(watchdog_s=0.4)
    server = [BINARY, "serve", "--dev", "--listen", f"127.0.0.1:{port}", "--drain-within", "1s"]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            ["strace", "--follow-forks", "--summary-only", "--quiet=all", "--output", counted, *server],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(folder), **manager.environment},
            stdout=said,
            stderr=said,
        )
    manager.hear_until("READY")
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=PATIENCE) as http, connect(f"ws://127.0.0.1:{port}/c/a") as socket:
        with http.stream("GET", "/c/a", headers={"Accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            for number in range(50):
                assert http.post("/c/a", content=f"{number}").status_code == 200
            assert [socket.recv(PATIENCE) for _ in range(50)] == [f"{number}" for number in range(50)]
            assert any("49" in line for line in lines)
        assert http.get("/c/a?wait=1&tail=3").status_code == 200
        assert http.get("/metrics").status_code == 200
        main = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        subprocess.run(["kill", "-HUP", str(main)], check=True)
        manager.hear_until("RELOADING")
        manager.hear_until("WATCHDOG")
        subprocess.run(["kill", "-TERM", str(main)], check=True)
        manager.hear_until("STOPPING")
    assert process.wait(PATIENCE) == 0, (folder / "said").read_text()
    eventually("strace has written", lambda: "total" in counted.read_text())
    manager.close()
    rows = [line.split() for line in counted.read_text().splitlines()]
    return {row[-1] for row in rows if row and row[0].replace(".", "").isdigit() and row[-1] != "total"}
