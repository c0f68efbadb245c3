"""Two thousand clients that mean harm, in a process of their own: their work must not slow the clock of the test.

    besieger.py KIND PORT CLIENTS INTERVAL_S

They come from a hundred addresses of the loopback. One that the server has cut comes back a second later, until a line
arrives on standard input: from then on they hold what they have, send nothing more and close nothing. At the end of
standard input they go, and one line of JSON says what became of them.
"""

import json
import os
import select
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field

ADDRESSES = 100
COMES_BACK_AFTER_S = 1.0
AT_ONCE = 100
"""New connections between two looks at the others, so that the server's queue of newcomers does not overflow."""

IP_BIND_ADDRESS_NO_PORT = 24

POST = b"POST /c/slow HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32))
"""The first 43 of the 517 bytes of a TLS ClientHello."""

KINDS: dict[str, tuple[bytes, bytes]] = {
    # What is sent at once, and what then drips, byte by byte, over and over.
    "silence": (b"", b""),
    "drip": (b"G", b"ET /c/x HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: x\r\n" * 5_000),
    "half_preface": (b"PRI * HTTP/2.0", b""),
    "half_hello": (HELLO, b""),
    "slow_body": (POST, b"x" * 60_000),
}


@dataclass
class Besieger:
    socket: socket.socket
    sent: int = 0


@dataclass
class Siege:
    kind: str
    port: int
    interval_s: float
    epoll: select.epoll = field(default_factory=select.epoll)
    besiegers: dict[int, Besieger] = field(default_factory=dict)
    coming: deque[tuple[float, int]] = field(default_factory=deque)
    """When who comes next, by address; in the order of time."""
    told: Counter[str] = field(default_factory=Counter)
    came: int = 0
    held: bool = False

    def come(self, address: int) -> None:
        one = socket.socket()
        one.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        one.bind((f"127.0.1.{address + 1}", 0))
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", self.port))
        self.besiegers[one.fileno()] = Besieger(one)
        self.epoll.register(one, select.EPOLLIN | select.EPOLLOUT)
        self.came += 1

    def begin(self, besieger: Besieger) -> None:
        """The connection stands."""
        self.epoll.modify(besieger.socket, select.EPOLLIN)
        try:
            besieger.socket.send(KINDS[self.kind][0])
        except OSError:
            # It was turned away at once; that shows when it is read.
            pass

    def drip(self) -> None:
        drops = KINDS[self.kind][1]
        for besieger in list(self.besiegers.values()):
            try:
                besieger.socket.send(drops[besieger.sent : besieger.sent + 1])
                besieger.sent += 1
            except OSError:
                # It was cut; that shows when it is read.
                pass

    def read(self, besieger: Besieger, now: float) -> None:
        try:
            answer = besieger.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            answer = b""
            self.told[error.strerror or "broken"] += 1
        if answer:
            status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "bytes"
            self.told[status] += 1
            return
        self.told["end"] += 1
        if self.held:
            # Seen, and left as it is: the server must do without our closing too.
            self.epoll.unregister(besieger.socket)
            return
        address = int(besieger.socket.getsockname()[0].rpartition(".")[2]) - 1
        del self.besiegers[besieger.socket.fileno()]
        besieger.socket.close()
        self.coming.append((now + COMES_BACK_AFTER_S, address))

    def turn(self, next_drip: float) -> None:
        now = time.monotonic()
        for _ in range(AT_ONCE):
            if self.held or not self.coming or self.coming[0][0] > now:
                break
            self.come(self.coming.popleft()[1])
        wait = 0.0 if self.coming and self.coming[0][0] <= now and not self.held else max(0.0, min(0.05, next_drip - now))
        for descriptor, events in self.epoll.poll(wait, 1_000):
            if descriptor == sys.stdin.fileno():
                if not os.read(descriptor, 100):
                    raise EOFError
                self.held = True
                continue
            besieger = self.besiegers.get(descriptor)
            if besieger and events & select.EPOLLOUT:
                self.begin(besieger)
            elif besieger:
                self.read(besieger, time.monotonic())


def main() -> None:
    kind, port, clients, interval_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    siege = Siege(kind, port, interval_s)
    siege.epoll.register(sys.stdin, select.EPOLLIN)
    siege.coming.extend((0.0, at % ADDRESSES) for at in range(clients))
    next_drip, stands = time.monotonic() + interval_s, False
    try:
        while True:
            siege.turn(next_drip)
            if not stands and siege.came >= clients:
                stands = True
                print("stands", flush=True)
            if time.monotonic() >= next_drip:
                next_drip += interval_s
                if KINDS[kind][1] and not siege.held:
                    siege.drip()
    except EOFError:
        print(json.dumps({"came": siege.came, "told": siege.told}), flush=True)


if __name__ == "__main__":
    main()
