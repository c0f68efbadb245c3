"""The Autobahn cases against the production codec, by way of `kosoku`, which runs them on Python 3.

Raw WebSocket delivers a publisher its own message, so a channel with one client is the echo server that the cases
expect. Groups run beside each other, each on a channel of its own; the cases of a group run one after another.

    websocket_cases.py             all 517 cases
    websocket_cases.py '1.*' 7.3  those that match
    websocket_cases.py --over=h2  over TLS (`tls`), HTTP/2 (`h2c`), or both (`h2`), by way of a shim
"""

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

from kosoku import FailureError, run_fuzzingclient  # noqa: E402
from shim import Shim  # noqa: E402
from stage import Tidewire  # noqa: E402

CASES = 517

SETTINGS = {
    # Group 9 sends 16 MiB in one message, and 4 MiB in 65 536 fragments, in pieces of 64 bytes.
    "limits.message_bytes_max": "16MiB",
    "limits.fragments_max": 1_000_000,
    "limits.incomplete_message_max": "120s",
    "limits.queue_bytes_max": "64MiB",
    # Group 2 sends ten pings at once, and more of them case after case.
    "limits.control_frames_per_second_max": 1_000,
    # An echo needs no past.
    "history.messages_max": 0,
}

GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*"]
GROUPS_AT_ONCE = 2

OWN_ERROR = "Strings must be encoded before hashing"
"""kosoku 0.1.0 fails on some cases of group 13 by itself, with this message, whatever the server does."""


def verdict(case) -> str:
    """`passed`, `unimplemented`, `own error`, or what is wrong."""
    if case.behavior.value == "UNIMPLEMENTED":
        # permessage-deflate is never negotiated (S31), which groups 12 and 13 take note of.
        return "unimplemented" if case.case_id.split(".")[0] in ("12", "13") else "failed"
    if OWN_ERROR in case.result or OWN_ERROR in case.result_close:
        return "own error"
    if case.behavior.value == "NON-STRICT":
        return "non-strict"
    if case.behavior.value not in ("OK", "INFORMATIONAL"):
        return "failed"
    if case.behavior_close.value == "UNCLEAN":
        return "unclean"
    return "passed" if case.behavior_close.value in ("OK", "INFORMATIONAL") else "failed"


async def run(server: Tidewire, patterns: list[str], over: str) -> list:
    """Runs the patterns, a few beside each other, and returns what kosoku says of each case."""
    free = asyncio.Semaphore(GROUPS_AT_ONCE)
    async with Shim(server.port, over) if over else nullcontext(server) as door:

        async def one(at: int, pattern: str) -> list:
            async with free:
                try:
                    return await run_fuzzingclient(f"{door.ws_url}/c/autobahn:{at}", [pattern])
                except FailureError as failure:
                    return failure.results

        # The longest group begins first.
        ordered = sorted(patterns, key=lambda pattern: not pattern.startswith("9"))
        groups = await asyncio.gather(*(one(at, pattern) for at, pattern in enumerate(ordered)))
    return [case for group in groups for case in group]


def main() -> int:
    patterns = [argument for argument in sys.argv[1:] if not argument.startswith("--over=")]
    over = next((argument.partition("=")[2] for argument in sys.argv[1:] if argument.startswith("--over=")), "")
    server = Tidewire(SETTINGS, ("--tls-self-signed",) if over in ("tls", "h2") else ())
    try:
        cases = asyncio.run(run(server, patterns or GROUPS, over))
    finally:
        server.end()

    verdicts: dict[str, list] = {}
    for case in cases:
        verdicts.setdefault(verdict(case), []).append(case)
    bad = [case for word in ("failed", "non-strict", "unclean") for case in verdicts.get(word, [])]
    for case in bad:
        print(f"{case.case_id}: {case.behavior.value} / {case.behavior_close.value}: {case.result} {case.result_close}")
    print(f"{len(cases)} cases: " + ", ".join(f"{len(found)} {word}" for word, found in sorted(verdicts.items())))
    missing = 0 if patterns else CASES - len(cases)
    if missing:
        print(f"{CASES} cases were expected")
    print(f"{len(verdicts.get('passed', []))} passed, {len(bad) + abs(missing)} failed")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
