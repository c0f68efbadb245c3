"""A way to a Tidewire on which something is wrong on purpose, and what `tidewire doctor` says of it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from fronts import Front, after
from hostile import Answer, Hostile, Listener
from redis_server import Redis
from stage import ACCESSES, BINARY, Access, Tidewire


@dataclass
class Report:
    """What the doctor said, and how it ended."""

    code: int
    said: dict

    @property
    def codes(self) -> list[str]:
        return [finding["code"] for finding in self.said["findings"]]

    def finding(self, code: str) -> dict:
        found = [finding for finding in self.said["findings"] if finding["code"] == code]
        assert found, f"no {code} in {json.dumps(self.said, indent=1)}"
        return found[0]

    def lines(self, code: str, place: str) -> str:
        """What to write into the configuration of `place`."""
        changes = {change["in"]: change["lines"] for change in self.finding(code)["changes"]}
        assert place in changes, changes
        return changes[place]

    def words(self, check: str) -> str:
        return next(each["words"] for each in self.said["checks"] if each["check"] == check)


def doctor(url: str, *args: str, token: str | None = None) -> Report:
    """Runs it to its end; nothing of the environment gets in."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
    environment = {**inherited, **({"TIDEWIRE_TOKEN": token} if token else {})}
    command = [BINARY, "doctor", url, "--json", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment, stdin=subprocess.DEVNULL)
    assert done.stdout, done.stderr
    return Report(done.returncode, json.loads(done.stdout))


@dataclass(frozen=True, eq=False)
class Ill:
    """What is wrong with a proxy: lines that are too much, lines that are missing, and the finding that names it."""

    code: str
    proxy: str
    wrong: str = ""
    """Lines that stand in the configuration and should not; what is to be written takes their place."""
    at: Sequence[str] = ("",)
    """Where they stand: behind the first line that begins so."""
    lacks: str = ""
    """Lines that are missing, as a regular expression of each."""
    before: str = ""
    """What stands before everything else, in this and in the mended configuration."""
    also: Sequence[tuple[str, str]] = ()
    """Lines that are there in both, and where: what makes the wrong ones do harm."""
    in_global: bool = False
    """The lines belong into the frame: `global` of HAProxy, the global options of Caddy."""
    args: Sequence[str] = ("--quick",)
    settings: dict = field(default_factory=dict)
    """The server's."""

    def __str__(self) -> str:
        return f"{self.proxy} {self.code}"

    def look(self) -> tuple[Report, Report]:
        """Before, and with the lines that were said then."""
        with Stage() as stage:
            before = doctor(stage.front(stage.serve(**self.settings), self, self.wrong).url, *self.args)
        # What belongs outside of the place is in what we recommend anyway.
        lines = before.lines(self.code, NAMES[self.proxy]).split("\n# and outside")[0]
        with Stage() as stage:
            return before, doctor(stage.front(stage.serve(**self.settings), self, lines).url, *self.args)

    def told(self, text: str, lines: str) -> str:
        """The configuration `text` with `lines` at the place."""
        if self.lacks:
            text = "\n".join(line for line in text.splitlines() if not re.search(self.lacks, line)) + "\n"
        for start, line in self.also:
            text = after(text, start, line)
        for start in self.at:
            text = after(text, start, lines) if lines else text
        return text


NAMES = {"nginx": "nginx", "haproxy": "HAProxy", "caddy": "Caddy"}


class IllFront(Front):
    """A proxy that was told what we recommend, and `lines` besides."""

    def __init__(
        self, server: Tidewire | Sequence[Tidewire], ill: Ill, lines: str, alpn: str = "h2,http/1.1", **how: object
    ) -> None:
        """`alpn` is what HAProxy offers where it has a certificate."""
        self._ill, self._lines, self._alpn = ill, lines, alpn
        super().__init__(server, ill.proxy, **how)

    def _write(self, target: str, text: str) -> str:
        return super()._write(target, text.replace("alpn h2,http/1.1", f"alpn {self._alpn}"))

    def _printed(self, proxy: str) -> str:
        text = super()._printed(proxy)
        if not self._ill.in_global:
            text = self._ill.told(text, self._lines)
        return self._ill.before.replace("FOLDER", self._folder.name) + text

    def _frame(self, source: str) -> str:
        text = super()._frame(source)
        if self._ill.in_global:
            text = self._ill.told(text, self._lines)
        return text


Kept = TypeVar("Kept")


class Stage(ExitStack):
    """Servers and what stands before them, all of which end with it. It belongs to one look, and so to one thread."""

    def serve(self, *flags: str, access: Access = ACCESSES["dev"], **settings: object) -> Tidewire:
        return self._keep(Tidewire(settings, flags, access))

    def behind(self, server: Tidewire | Sequence[Tidewire], name: str, **how: object) -> Front:
        return self._keep(Front(server, name, **how))

    def front(self, server: Tidewire, ill: Ill, lines: str, **how: object) -> IllFront:
        return self._keep(IllFront(server, ill, lines, **how))

    def meddle(self, change: Callable[[bytes], bytes]) -> Meddler:
        return self._keep(Meddler(self.serve(), change))

    def hostile(self, answer: Answer) -> Hostile:
        return self._keep(Hostile(answer))

    def redis(self) -> Redis:
        return self._keep(Redis())

    def _keep(self, kept: Kept) -> Kept:
        self.callback(kept.end)
        return kept


def beside(look: Callable[[Stage], None]) -> Callable[..., None]:
    """Makes a test of a look, which is taken beside the others."""

    def taken() -> None:
        with Stage() as stage:
            look(stage)

    def test(looks: Callable[[object], object]) -> None:
        looks(taken)

    test.__name__, test.__doc__, test.look = look.__name__, look.__doc__, taken
    return test


class Meddler(Listener):
    """A proxy of the test's own that changes the head of every answer."""

    def __init__(self, server: Tidewire, change: Callable[[bytes], bytes]) -> None:
        self._server, self._change = server, change
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        upstream = socket.create_connection(("127.0.0.1", self._server.port))
        threading.Thread(target=pass_on, args=(client, upstream), daemon=True).start()
        head = b""
        while b"\r\n\r\n" not in head:
            piece = upstream.recv(65536)
            if not piece:
                break
            head += piece
        head, separator, rest = head.partition(b"\r\n\r\n")
        try:
            client.sendall(self._change(head) + separator + rest)
        except OSError:
            pass
        pass_on(upstream, client)


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other, until either ends."""
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()
