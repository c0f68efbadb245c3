"""S33: two thousand clients that take their time, and the others, who notice nothing.

`cargo xtask test` has sieges of seconds with shortened deadlines; `cargo xtask siege` has the default deadlines.
"""

import re
import shutil
import subprocess
import time

import pytest
from sieges import CLIENTS, DESCRIPTORS_BACK_WITHIN_S, Siege, describe, good_clients
from stage import PATIENCE, eventually
from vitals import MIB, unharmed, vitals

ANSWERS = {
    # What a besieger may be told, beside the end of its connection.
    "silence": set(),
    "drip": {"408"},
    # Half of a preface may still become one: what is late is told so, in the version everybody reads.
    "half_preface": {"408"},
    "half_hello": {"400"},
    "slow_body": {"408"},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_s33_good_clients_are_served_at_once_beside(serve, scale, kind):
    server = serve(**scale.settings)
    assert server.publish("good", "warm")["id"]
    before = vitals(server).descriptors
    with unharmed(server, growth_max=128 * MIB), Siege(server, kind, scale) as siege:
        patience = good_clients(server, scale.hold_s)
        siege.hold()
        held = time.monotonic()
        eventually(
            "the server has given back what the besiegers still hold",
            lambda: vitals(server).descriptors <= before,
            scale.deadline_s + DESCRIPTORS_BACK_WITHIN_S,
        )
        took = time.monotonic() - held
    print(f"{kind}: up to {patience.descriptors_most} descriptors, back after {took:.1f} s; told {siege.told}")
    print(f"streams: {describe(patience.streams)}; publishes: {describe(patience.publishes)}")
    patience.check()
    assert siege.told.get("end", 0) >= CLIENTS, "each was cut at least once"
    assert set(siege.told) - {"end", "Connection reset by peer", "Broken pipe"} <= ANSWERS[kind]


def summary(said: str) -> str:
    """The last of slowhttptest's reports, without the colours and the blanks."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", said)
    return "; ".join(line.strip() for line in plain.splitlines()[-12:] if line.strip())


MODES = {
    # Of slowhttptest: heads that do not end, bodies that do not end, and answers that are not read.
    "slow_heads": ("-H", "-x", "24"),
    "slow_bodies": ("-B", "-s", "60000", "-x", "10", "-t", "POST"),
    "slow_reads": ("-X", "-w", "256", "-y", "512", "-n", "1", "-z", "16", "-k", "1"),
}


@pytest.mark.parametrize("mode", MODES)
def test_s33_slowhttptest_keeps_nobody_out(serve, scale, mode):
    # What unread answers may take is a part of the budget for memory, so it is set low enough to be reached.
    server = serve(**{**scale.settings, "limits.memory_budget": "256MiB"})
    for n in range(4):
        server.publish("large", f"{n} {'x' * 60_000}")
    seconds = int(scale.hold_s) + 1
    command = [
        shutil.which("slowhttptest") or "/usr/bin/slowhttptest",
        *MODES[mode], "-c", str(CLIENTS), "-r", str(CLIENTS), "-i", str(max(1, int(scale.interval_s))),
        "-l", str(seconds), "-p", "5", "-u", f"{server.url}/c/large?cursor=earliest",
    ]  # fmt: skip
    with unharmed(server, growth_max=160 * MIB, patience=scale.deadline_s + DESCRIPTORS_BACK_WITHIN_S):
        attack = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        patience = good_clients(server, seconds)
        said, _ = attack.communicate(timeout=PATIENCE + seconds)
    print(f"{mode}: up to {patience.descriptors_most} descriptors, told {summary(said)}")
    print(f"streams: {describe(patience.streams)}; publishes: {describe(patience.publishes)}")
    assert attack.returncode == 0, said
    patience.check()
