"""What the process does at the limits that the system sets it."""

import resource
import socket
import time
from pathlib import Path

from stage import Tidewire, eventually
from vitals import vitals
from wire import Wire


def test_s39_without_descriptors_nobody_is_lost_and_no_core_is_burnt(server: Tidewire) -> None:
    """The system takes the descriptors away while the server believes to have thousands."""
    server.publish("x", "the connection that publishes is there")
    with Wire(server) as listener:
        listener.request("GET /c/x", "Accept: text/event-stream")
        listener.until(b"event: $ready\n")
        before = vitals(server)
        room = 10
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (before.descriptors + room, before.descriptors + room))
        waiting = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(100)]
        time.sleep(0.3)
        used, began = vitals(server).processor_s, time.monotonic()
        time.sleep(1.0)
        assert vitals(server).processor_s - used < 0.5 * (time.monotonic() - began), "it spins"
        server.publish("x", "still here")
        listener.until(b"data: still here\n")
        for one in waiting:
            one.close()
        eventually("who came before is gone", lambda: vitals(server).descriptors <= before.descriptors + 1)
    with Wire(server) as newcomer:
        newcomer.request("GET /livez")
        assert newcomer.response().status == 200


def test_s49_a_crash_leaves_no_memory_behind(serve) -> None:
    """A core dump would hold every secret. One byte is the limit that also stops a dump into a pipe."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        server = serve()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    limits = Path(f"/proc/{server.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] in ("0", "1"), core
