"""A terminal of a test's own: a program runs in it, keys are typed, and the screen is read as text."""

import atexit
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

import pyte
from stage import PATIENCE, eventually


class Terminal:
    """A pseudo-terminal of 80 by 24 unless told otherwise, and a program whose standard streams it is."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        """Every byte that the program wrote."""
        self._ends = self._ours, self._theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._theirs)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
        # The test keeps a hold of the other end, too, so that it can be asked how the program left it.
        self.process = subprocess.Popen(
            command,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**inherited, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
        )
        atexit.register(self.process.kill)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        atexit.unregister(self.process.kill)
        self._close()

    def hang_up(self) -> int:
        """Takes the terminal away, as a broken connection does, and gives the exit code."""
        self._close()
        return self.process.wait(PATIENCE)

    def _close(self) -> None:
        for end in self._ends:
            os.close(end)
        self._ends = ()

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def tell_of_size(self) -> None:
        """Says that the terminal has another size, as a terminal does to the programs in it."""
        self.process.send_signal(signal.SIGWINCH)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def type_unseen(self, keys: str) -> None:
        """The same where nothing is echoed, until the program has read it: the kernel passes keys on at a moment of its own, and a
        terminal that echoes again by then shows them."""
        # Held meanwhile, or what has come and gone would look like what has not come.
        self.process.send_signal(signal.SIGSTOP)
        self.type(keys)
        eventually("the keys are there", lambda: self._unread() == len(keys.encode()))
        self.process.send_signal(signal.SIGCONT)
        eventually("the keys are read", lambda: self._unread() == 0)

    def _unread(self) -> int:
        """Bytes that were typed and not read. Where lines are edited it is those of whole lines only."""
        return struct.unpack("i", fcntl.ioctl(self._theirs, termios.FIONREAD, bytes(4)))[0]

    def screen(self) -> str:
        """What stands on the screen, now that everything that has been written is read."""
        while select.select([self._ours], [], [], 0)[0]:
            piece = os.read(self._ours, 65536)
            self.written += piece
            self._stream.feed(piece)
        return "\n".join(line.rstrip() for line in self._screen.display)

    def until(self, *texts: str, patience: float = PATIENCE) -> str:
        """The first screen that holds all of `texts`."""
        deadline = time.monotonic() + patience
        while not all(text in (screen := self.screen()) for text in texts):
            assert time.monotonic() < deadline, f"waited in vain for {texts}:\n{screen}"
            select.select([self._ours], [], [], 0.05)
        return screen

    def ended(self) -> int:
        """The exit code, once the program has ended."""
        deadline = time.monotonic() + PATIENCE
        # Who writes to a terminal that nobody reads waits for ever.
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on:\n{self.screen()}"
            self.screen()
            time.sleep(0.02)
        self.screen()
        return self.process.returncode

    def is_as_before(self) -> bool:
        """Whether the terminal is as it was: lines are echoed, the cursor shows, and so does what stood there before."""
        modes = self._modes()
        return termios.tcgetattr(self._theirs)[:4] == self.before[:4] and modes["cursor"] and not modes["alternate"]

    def _modes(self) -> dict[str, bool]:
        """What was switched last, as DEC has it: `ESC [ ? n h` sets, `ESC [ ? n l` resets."""

        def is_set(mode: int, otherwise: bool) -> bool:
            on, off = self.written.rfind(b"\x1b[?%dh" % mode), self.written.rfind(b"\x1b[?%dl" % mode)
            return otherwise if on == off == -1 else on > off

        return {"cursor": is_set(25, True), "alternate": is_set(1049, False)}
