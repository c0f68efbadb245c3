"""S16: keys are changed while clients come and go, and none of them is turned away."""

import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from keys import GUARDED, Visit, bearer, token
from stage import BINARY, PATIENCE, Tidewire, eventually
from wire import Wire

WORKERS = 4

PAUSE_S = 0.01
"""Between two turns of a client, so that the server's bounds are not what is met."""

Mint = Callable[[str], str]
"""Makes a token of a subject."""


class Load:
    """Clients that come with a token, listen, publish, and go, over and over; `mint` may be changed meanwhile."""

    def __init__(self, server: Tidewire, mint: Mint) -> None:
        self.server = server
        self.mint = mint
        self.answers: Counter[tuple[str, int]] = Counter()
        self._took_s = 0.0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(WORKERS)]

    def __enter__(self) -> "Load":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._took_s = time.monotonic() - self._began

    def goes_on(self, count: int = 200) -> None:
        """Waits until so many more have come and gone."""
        want = self.answers.total() + count
        eventually("more have come and gone", lambda: self.answers.total() >= want or not self._alive)
        assert self._alive

    def check(self) -> None:
        """Nobody was refused. How many there were is seen to by `goes_on`."""
        print(f"{self.answers.total()} connections and publishes, {self.answers.total() / self._took_s:.0f} a second")
        assert {status for _, status in self.answers} == {200}, self.answers

    @property
    def _alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def _work(self, n: int) -> None:
        turn = 0
        while not self._over.is_set():
            turn += 1
            shown = bearer(self.mint(f"client-{n}-{turn % 50}"))
            with Wire(Visit(self.server, shown)) as wire:
                wire.request("GET /c/x", "Accept: text/event-stream")
                status = wire.head().status
                if status == 200:
                    wire.until(b"event: $ready\n")
                self.answers["stream", status] += 1
            with Wire(Visit(self.server, shown)) as wire:
                wire.request("POST /c/x", body=b"x")
                self.answers["publish", wire.response().status] += 1
            self._over.wait(PAUSE_S)


class Configuration:
    """A server's `tidewire.toml`, which it reads again when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tidewire.toml"
        self.access = replace(
            GUARDED, flags=(*GUARDED.flags, "--config", str(self.path), "--log", "info"), environment={}
        )

    def names(self, *keys: str, more: str = "") -> None:
        self.path.write_text(f"[auth]\nkeys = {json.dumps(keys)}\n{more}")

    def is_read_again(self, server: Tidewire) -> str:
        """Sends SIGHUP, and gives what the server says about it."""
        before = len(server.said())
        server.process.send_signal(signal.SIGHUP)
        ends = ("reloaded", "stays in force")
        eventually("it was read", lambda: any(end in server.said()[before:] for end in ends))
        return server.said()[before:]


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path)


def secret_file(configuration: Configuration, kid: str) -> Mint:
    """Makes a secret and its file; what comes back signs with it."""
    secret = secrets.token_urlsafe(32)
    (configuration.path.parent / f"{kid}.secret").write_text(secret)
    return lambda sub: token(sub, "x", secret=secret, header={"kid": kid})


def asks(server: Tidewire, credential: str) -> int:
    return server.client.get("/c/x", headers=bearer(credential)).status_code


def test_s16_a_key_is_rotated_under_load_and_nobody_is_turned_away(serve, configuration):
    old, new = secret_file(configuration, "k1"), secret_file(configuration, "k2")
    configuration.names("HS256:k1:k1.secret")
    server = serve(access=configuration.access)
    kept = old("kept")
    assert (asks(server, kept), asks(server, new("early"))) == (200, 401)
    with Load(server, old) as load:
        load.goes_on()
        configuration.names("HS256:k1:k1.secret", "HS256:k2:k2.secret")
        configuration.is_read_again(server)
        load.goes_on()
        load.mint = new
        load.goes_on()
        assert (asks(server, kept), asks(server, new("late"))) == (200, 200), "the overlap"
        configuration.names("HS256:k2:k2.secret")
        configuration.is_read_again(server)
        load.goes_on()
    load.check()
    for credential in (kept, old("late")):
        assert asks(server, credential) == 401, "of the old key"
        with Wire(Visit(server, bearer(credential))) as wire:
            wire.request("GET /c/x", "Accept: text/event-stream")
            assert wire.head().status == 401
        assert server.client.post("/c/x", content="x", headers=bearer(credential)).status_code == 401


WRONG = {
    # What is wrong with a file, and what of it is named.
    "no such key file": ('[auth]\nkeys = ["HS256:k1:k1.secret", "HS256:k3:gone.secret"]', "gone.secret"),
    "a short secret": ('[auth]\nkeys = ["HS256:k1:k1.secret", "HS256:k3:short.secret"]', "short.secret"),
    "no such name": ('[auth]\nkeys = ["HS256:k1:k1.secret"]\nkeyz = ["HS256:k3:k3.secret"]', "auth.keyz"),
    "not TOML": ('[auth]\nkeys = ["HS256:k1:k1.secret"', "tidewire.toml:2"),
    "a host with a path": ('[auth]\nkeys = ["HS256:k1:k1.secret"]\nhosts = ["a/b"]', "auth.hosts"),
    "no file": (None, "tidewire.toml"),
}


@pytest.mark.parametrize("name", WRONG)
def test_s16_a_file_that_is_wrong_changes_nothing_and_is_named(serve, configuration, name):
    text, named = WRONG[name]
    withdrawn, good = secret_file(configuration, "k1"), secret_file(configuration, "k2")
    (configuration.path.parent / "short.secret").write_text("short")
    configuration.names("HS256:k2:k2.secret")
    server = serve(access=configuration.access)
    if text is None:
        configuration.path.unlink()
    else:
        configuration.path.write_text(text)
    said = configuration.is_read_again(server)
    assert "ERROR" in said and named in said and "stays in force" in said, said
    assert (asks(server, good("alice")), asks(server, withdrawn("alice"))) == (200, 401)
    configuration.names("HS256:k1:k1.secret")
    assert "ERROR" not in configuration.is_read_again(server)
    assert (asks(server, good("alice")), asks(server, withdrawn("alice"))) == (401, 200)


class KeySets:
    """A set of keys over HTTPS, as an identity provider has it, with an authority of its own."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.keys: list[dict] = []
        self.asked = 0
        certify(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://localhost:{self._server.server_port}/jwks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Is away from now on."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sets = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sets.asked += 1
                body = json.dumps({"keys": sets.keys}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def certify(folder: Path) -> None:
    """Makes an authority, and its certificate for `localhost`."""
    openssl = shutil.which("openssl") or "/usr/bin/openssl"

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True, timeout=PATIENCE)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    (folder / "server.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    run("req", "-x509", *curve, "-days", "2", "-subj", "/CN=Tests", "-keyout", "ca.key", "-out", "ca.pem")
    run("req", *curve, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    run(
        "x509", "-req", "-days", "2", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
        "-CAcreateserial", "-extfile", "server.ext", "-out", "server.pem",
    )  # fmt: skip


@pytest.fixture
def key_sets(tmp_path: Path) -> Iterator[KeySets]:
    sets = KeySets(tmp_path)
    yield sets
    sets.end()


def key_pair(folder: Path, kid: str) -> tuple[dict, Mint]:
    """Makes a pair of keys: the public half as a JWK, and what signs with the other. Few tokens, as each is a process."""
    said = subprocess.run([BINARY, "keygen", "es256", "--json"], check=True, capture_output=True, timeout=PATIENCE)
    pair = json.loads(said.stdout)
    (folder / f"{kid}.pem").write_text(pair["private_pem"])
    signs = [BINARY, "token", "new", "--key", f"ES256:{kid}:{folder / kid}.pem", "--kid", kid, "--ttl", "10m"]
    rights = ["--sub", "client", "--subscribe", "x", "--publish", "x"]
    tokens = [
        subprocess.run([*signs, *rights], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout.strip()
        for _ in range(4)
    ]
    return {**json.loads(pair["jwk"]), "kid": kid}, lambda sub: tokens[hash(sub) % len(tokens)]


FETCHES_APART_S = 10.0
"""Between two fetches, however many tokens name a key that nobody knows."""


def test_s16_an_identity_provider_rotates_its_keys_and_nobody_is_turned_away(serve, configuration, key_sets):
    (one, old), (two, new) = key_pair(configuration.path.parent, "k1"), key_pair(configuration.path.parent, "k2")
    key_sets.keys = [one]
    source = f'jwks_url = "{key_sets.url}"\njwks_ca = "ca.pem"\njwks_allow_private = true\n'
    configuration.names(more=source)
    server = serve(access=configuration.access)
    assert asks(server, old("first")) == 200
    fetched = time.monotonic()
    assert key_sets.asked == 1
    with Load(server, old) as load:
        # Published first, and used later, as every provider does it.
        key_sets.keys = [one, two]
        while time.monotonic() - fetched < FETCHES_APART_S:
            forged = token("mallory", "x", header={"kid": secrets.token_hex(8), "alg": "ES256"})
            assert asks(server, forged) == 401
        assert key_sets.asked <= 2, "strangers do not make us ask more often"
        load.mint = new
        load.goes_on()
    load.check()
    assert (asks(server, old("late")), asks(server, new("late"))) == (200, 200), "the overlap"
    assert key_sets.asked == 2
    key_sets.keys = [two]
    configuration.names(more=source.replace("/jwks", "/moved"))
    assert "ERROR" not in configuration.is_read_again(server)
    assert (asks(server, new("later")), asks(server, old("later"))) == (200, 401), "another address is asked at once"
    key_sets.end()
    assert asks(server, new("while the provider is away")) == 200
