"""What stands between a publisher and a server: it hands requests on, or does what happens to requests on their way."""

import http.client
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stage import PATIENCE


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    path: str
    key: str | None


class Front:
    """A proxy at `url`. `faults` are what befalls the first requests, one each; those behind them are handed on."""

    def __init__(self, port: int, faults: Iterable["Fault"] = ()) -> None:
        self.faults = list(faults)
        self.seen: list[Seen] = []
        self.port = port
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Visit,), {"front": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Front":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Visit(BaseHTTPRequestHandler):
    """One request and its answer, on a connection of its own."""

    front: Front

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.front.seen.append(Seen(self.path, self.headers["Idempotency-Key"]))
        fault = self.front.faults.pop(0) if self.front.faults else hand_on
        fault(self)

    do_GET = do_POST

    def passed_on(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server behind says to it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=PATIENCE)
        connection.request("POST", self.path, self.body, dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), body

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


Fault = Callable[[Visit], None]


def hand_on(visit: Visit) -> None:
    """Nothing befalls it."""
    visit.answer(*visit.passed_on())


def refuse(status: int, code: str, retry_after_s: int) -> Fault:
    """It is refused as Tidewire refuses what may pass."""
    problem = f'{{"status":{status},"code":"{code}","detail":"Said by the test."}}'
    headers = [("Content-Type", "application/problem+json"), ("Retry-After", str(retry_after_s))]
    return lambda visit: visit.answer(status, headers, problem.encode())


def lose_answer(visit: Visit) -> None:
    """The server takes it, and nobody hears that it did."""
    visit.passed_on()


def never_answer(visit: Visit) -> None:
    """The server takes it, and the publisher waits, until it goes."""
    visit.passed_on()
    visit.connection.recv(1)


def fail_as_a_proxy(retry_after_s: int) -> Fault:
    """A proxy whose upstream is away, and which speaks in its own words."""
    headers = [("Content-Type", "text/html"), ("Retry-After", str(retry_after_s))]
    return lambda visit: visit.answer(502, headers, b"<h1>502 Bad Gateway</h1>")


def redirect(to: str) -> Fault:
    """It is sent elsewhere."""
    return lambda visit: visit.answer(302, [("Location", to)], b"")
