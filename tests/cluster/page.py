"""A page in Debian's Chromium, with five EventSources and two WebSockets, that tells a ledger what they hear."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from clients import CHANNELS
from ledger import Ledger, Story

HTML = Path(__file__).with_name("page.html").read_bytes()
SOURCES, SOCKETS = 5, 2
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
]  # fmt: skip


@contextmanager
def page(url: str, ledger: Ledger) -> Iterator[None]:
    """Opens the page, whose connections go to `url`. It has a story for each of them."""
    names = [f"Chromium's EventSource {n}" for n in range(SOURCES)] + [f"Chromium's WebSocket {n}" for n in range(SOCKETS)]
    stories = {name: ledger.story(name) for name in names}
    pages = ThreadingHTTPServer(("127.0.0.1", 0), handler(stories))
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    query = urllib.parse.urlencode({"url": url, "channels": CHANNELS})
    address = f"http://127.0.0.1:{pages.server_address[1]}/?{query}"
    with tempfile.TemporaryDirectory(prefix="tidewire-page-", ignore_cleanup_errors=True) as profile:
        program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # A group of its own, since its many processes have to end with it.
        browser = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", address], start_new_session=True, **quiet
        )
        try:
            yield
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            pages.shutdown()
            pages.server_close()


def handler(stories: dict[str, Story]) -> type[BaseHTTPRequestHandler]:
    """Serves the page, and writes down what it tells. It tells one thing after the other."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200 if self.path.startswith("/?") else 404, HTML if self.path.startswith("/?") else b"")

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                for name, what, *rest in told:
                    write_down(stories[name], what, rest)
            self.answer(204)

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def write_down(story: Story, what: str, rest: list) -> None:
    if what == "joined":
        story.joined()
    elif what == "told":
        story.told(*rest)
    elif what == "gap":
        story.gap(*rest)
    elif what == "closed":
        story.problems.append(f"{story.name} is CLOSED")
    else:
        story.ends[f"Chromium's WebSockets closed with {rest[0]}" if rest else "Chromium's EventSources that came back"] += 1
