"""SIGHUP: a running server reads its configuration again, and a bad one changes nothing."""

import secrets
import signal
from pathlib import Path

import httpx
import pytest
from keys import bearer, token
from stage import Tidewire, client, eventually, free_port
from wire import Wire


class Configured(Tidewire):
    """A server that is configured by a file."""

    def __init__(self, text: str) -> None:
        self._text = text
        super().__init__({}, ())

    def start(self) -> None:
        self.file().write_text(self._text)
        super().start()

    def file(self) -> Path:
        return Path(self._folder.name, "tidewire.toml")

    def reload(self, text: str, answer: str = "reloaded") -> str:
        """Writes the file, has it read again, and returns what the server says about it."""
        before = len(self.said())
        self.file().write_text(text)
        self.process.send_signal(signal.SIGHUP)
        eventually("the server says what came of it", lambda: answer in self.said()[before:])
        return self.said()[before:]


@pytest.fixture
def configured():
    started: list[Configured] = []

    def start(text: str) -> Configured:
        started.append(Configured(text))
        return started[-1]

    yield start
    for one in started:
        one.end()


REFUSED = "the old one stays in force"


def test_limits_change_for_new_and_for_open_connections_and_the_difference_is_told(configured):
    server = configured("[limits]\nmessage_bytes_max = 100\n")
    with Wire(server) as stream, Wire(server) as kept:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        # A connection that hyper holds.
        kept.request("POST /c/x", body=b"y" * 101)
        assert kept.response().status == 413
        said = server.reload('[limits]\nmessage_bytes_max = 200\nheartbeat = "200ms"\n')
        assert 'limits.message_bytes_max: "100" -> "200"' in said, said
        assert 'limits.heartbeat: "15s" -> "200ms"' in said, said
        assert server.client.post("/c/x", content="y" * 150).status_code == 200
        assert server.client.post("/c/x", content="y" * 201).json()["code"] == "too_large"
        stream.until(b"y" * 150)
    with Wire(server) as stream:
        stream.request("GET /c/x HTTP/1.0", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        stream.until(b"\n\n")
        assert stream.until(b"\n\n").startswith(b"id: "), "a heartbeat by the new bounds"


def test_a_file_that_cannot_be_used_is_refused_as_a_whole(configured):
    server = configured("[limits]\nmessage_bytes_max = 100\n")
    for bad, why in [
        ("[limits]\nmessage_bytes_max = 200\nheartbeet = 5\n", "did you mean `limits.heartbeat`?"),
        ("[limits]\nmessage_bytes_max = 200\nping = \"1m\"\n", "`limits.ping` must be shorter"),
        ("log = \"tidewire=loud\"\n[limits]\nmessage_bytes_max = 200\n", "`log`"),
        ("not toml", "tidewire.toml"),
    ]:
        said = server.reload(bad, REFUSED)
        assert why in said, said
        assert server.client.post("/c/x", content="y" * 150).status_code == 413
    assert "message_bytes_max" in server.reload("[limits]\nmessage_bytes_max = 200\n")
    assert server.client.post("/c/x", content="y" * 150).status_code == 200


def test_what_takes_a_restart_is_told_and_stays(configured):
    server = configured("")
    said = server.reload("[limits]\nchannels_max = 1\n")
    assert "limits.channels_max: 1000000 -> 1 (takes a restart)" in said, said
    for channel in ("a", "b"):
        server.publish(channel, "still taken")


def test_a_namespace_gets_rules_of_its_own_while_the_server_runs(configured):
    server = configured("")
    for channel in ("ticks:a", "other"):
        for number in "123":
            server.publish(channel, number)
    server.reload('[namespace.ticks]\nmessages_max = 1\nmessage_bytes_max = 3\npublishes_per_second_max = 2\n')
    assert server.client.post("/c/ticks:a", content="four").json()["code"] == "too_large"
    server.publish("ticks:a", "4")
    server.publish("other", "4")
    assert server.texts("ticks:a") == ["4"]
    assert server.texts("other") == ["1", "2", "3", "4"]
    answers = [server.client.post("/c/ticks:a", content="5").json() for _ in range(20)]
    assert {answer.get("code", "published") for answer in answers} == {"published", "rate_limited"}
    server.reload("")
    for number in "678":
        server.publish("ticks:a", number)
    assert server.texts("ticks:a") == ["5", "6", "7", "8"]


def test_log_lines_change_with_the_filter(configured):
    server = configured("")
    server.reload('log = "debug"\n')
    before = len(server.said())
    assert server.client.get("/nowhere").status_code == 404
    eventually("there are more lines", lambda: len(server.said()) > before)


class Watched(Configured):
    """One that answers those who watch it at an address of their own."""

    def __init__(self, text: str) -> None:
        self.admin = f"http://127.0.0.1:{free_port()}"
        super().__init__(f'admin_listen = "{self.admin.removeprefix("http://")}"\n{text}')

    def _ready(self) -> bool:
        try:
            return self.watch() == 200
        except httpx.TransportError:
            return False

    def watch(self, **headers: str) -> int:
        with client(self.admin) as watcher:
            return watcher.get("/readyz", headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code


def test_s41_a_proxy_that_is_trusted_from_now_on_says_nothing_of_those_who_watch():
    server = Watched("")
    try:
        before = server.watch(X_Forwarded_For="203.0.113.7")
        said = server.reload(f'{server._text}trusted_proxies = ["127.0.0.1"]\n')
        assert "trusted_proxies" in said
        assert server.watch(X_Forwarded_For="203.0.113.7") == before == 200
    finally:
        server.end()


SECRETS = [secrets.token_urlsafe(32) for _ in range(2)]


def test_s49_a_new_secret_is_in_force_and_never_shown(configured):
    def status(secret: str) -> int:
        with client(server.url) as visitor:
            return visitor.get("/c/x", headers=bearer(token("alice", "x", secret=secret))).status_code

    auth = 'admin_listen = "same"\n[auth]\nhs256_secret = "{}"\n'
    server = configured(auth.format(SECRETS[0]))
    assert [status(secret) for secret in SECRETS] == [200, 401]
    said = server.reload(auth.format(SECRETS[1]))
    assert "auth.hs256_secret: changed" in said
    assert [status(secret) for secret in SECRETS] == [401, 200]
    assert "nothing can verify credentials" in server.reload("", REFUSED)
    assert [status(secret) for secret in SECRETS] == [401, 200]
    assert not any(secret in server.said() for secret in SECRETS)
