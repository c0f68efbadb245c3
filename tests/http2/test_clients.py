"""Other people's clients: curl, nghttp, h2load and httpx, each by its own HTTP/2."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from httpx_sse import connect_sse
from stage import PATIENCE, Tidewire, dispatched, eventually


@pytest.fixture
def curl(server: Tidewire) -> list[str]:
    """curl, as it is told to speak HTTP/2 to this server."""
    version = "--http2" if server.secure else "--http2-prior-knowledge"
    given = [part for name, value in server.credentials.items() for part in ("-H", f"{name}: {value}")]
    return ["curl", "--silent", "--show-error", "--insecure", version, *given]


def said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen]:
    """A program whose output is read while it runs."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(process: subprocess.Popen, line: str) -> None:
    """Reads lines to one."""
    for each in process.stdout:
        if each.rstrip("\n") == line:
            return
    raise AssertionError(f"it ended before {line!r}")


def test_curl_publishes_polls_and_listens(server: Tidewire, curl: list[str]) -> None:
    with running([*curl, "--no-buffer", "-H", "Accept: text/event-stream", f"{server.url}/c/x"]) as stream:
        until(stream, "event: $ready")
        answer = said([*curl, "-w", "\n%{http_version} %{http_code}", "-d", "by curl", f"{server.url}/c/x"])
        receipt, version = answer.splitlines()
        assert version == "2 200"
        until(stream, "data: by curl")
        page = json.loads(said([*curl, f"{server.url}/c/x?cursor=earliest"]))
        assert [(each["id"], each["data"]) for each in page["messages"]] == [(json.loads(receipt)["id"], "by curl")]
    eventually("it is gone", lambda: server.publish("x", "probe")["receivers"]["sse"] == 0)


def test_curl_is_told_what_it_did_wrong(server: Tidewire, curl: list[str]) -> None:
    answer = said([*curl, "-w", "\n%{http_version} %{http_code} %{content_type}", "-d", "x", f"{server.url}/c/no%20spaces"])
    problem, version = answer.splitlines()
    assert version == "2 400 application/problem+json"
    assert json.loads(problem)["code"] == "channel_invalid"


def test_curl_shares_connections_among_requests_that_come_at_once(plainly) -> None:
    """Over TLS: where it knows HTTP/2 only from being told, this curl fails by itself."""
    server = plainly("--tls-self-signed")
    urls = [f"{server.url}/c/c{n}" for n in range(50)]
    outputs = [part for url in urls for part in ("-o", "/dev/null", url)]
    given = [part for name, value in server.credentials.items() for part in ("-H", f"{name}: {value}")]
    told = said(["curl", "-sSk", "--http2", "--parallel", "-w", "%{http_version} %{http_code} %{num_connects}\n", *given, *outputs])
    lines = [line.rsplit(" ", 1) for line in told.splitlines()]
    assert len(lines) == 50 and {answer for answer, _ in lines} == {"2 200"}
    assert sum(int(connects) for _, connects in lines) < 50


def test_nghttp_gets_pages_of_many_channels_at_once(server: Tidewire) -> None:
    for n in range(20):
        server.publish(f"c{n}", f"text {n}")
    given = [f"--header={name}: {value}" for name, value in server.credentials.items()]
    told = said(["nghttp", *given, *(f"{server.url}/c/c{n}?tail=1" for n in range(20))])
    assert {f'"data":"text {n}"' for n in range(20)} == set(re.findall(r'"data":"text \d+"', told))


def test_nghttp_sees_settings_windows_and_a_clean_end(server: Tidewire) -> None:
    """It says every frame; what it would call wrong it says in words of its own."""
    given = [f"--header={name}: {value}" for name, value in server.credentials.items()]
    told = said(["nghttp", "--verbose", "--null-out", "--data=/dev/null", *given, f"{server.url}/c/x"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told)
    assert "SETTINGS_MAX_CONCURRENT_STREAMS(0x03):256" in plain
    assert re.search(r"recv \(stream_id=\d+\) :status: 200", plain)
    assert "error_code=NO_ERROR" in plain.split("send GOAWAY")[-1], plain
    assert "recv GOAWAY" not in plain and "invalid" not in plain.lower(), plain


def test_nghttp_listens(server: Tidewire) -> None:
    given = [f"--header={name}: {value}" for name, value in server.credentials.items()]
    command = ["stdbuf", "-oL", "nghttp", "--header=accept: text/event-stream", *given, f"{server.url}/c/x"]
    with running(command) as stream:
        until(stream, "event: $ready")
        server.publish("x", "by nghttp")
        until(stream, "data: by nghttp")


LOADS = {
    "polls": (["-n", "5000"], "/c/x", None),
    "polls_for_seconds": (["-D", "2"], "/c/x?tail=1", None),
    "publishes": (["-n", "5000"], "/c/loaded", "loaded"),
}


@pytest.mark.parametrize("name", LOADS)
def test_h2load_with_a_hundred_streams_fails_nowhere(server: Tidewire, tmp_path, name: str) -> None:
    """Two connections, a hundred streams each, as quick as it gets; nothing of it is a flood."""
    much, path, body = LOADS[name]
    server.publish("x", "something")
    data = tmp_path / "data"
    data.write_text(body or "")
    given = [f"--header={header}: {value}" for header, value in server.credentials.items()]
    command = ["h2load", "-c", "2", "-m", "100", *much, *(["-d", str(data)] if body else []), *given, f"{server.url}{path}"]
    told = said(command)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", re.search(r"^requests: .*$", told, re.MULTILINE)[0])}
    assert counts["failed"] == counts["errored"] == counts["timeout"] == 0, told
    assert counts["succeeded"] > 1_000, told
    statuses = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", told)
    assert statuses, told


@pytest.fixture
def h2(server: Tidewire) -> Iterator[httpx.Client]:
    """httpx with HTTP/2 and nothing else."""
    how = {"base_url": server.url, "headers": server.credentials, "timeout": PATIENCE, "trust_env": False, "verify": False}
    with httpx.Client(http1=False, http2=True, **how) as client:
        yield client


def test_httpx_publishes_polls_and_listens(server: Tidewire, h2: httpx.Client) -> None:
    with connect_sse(h2, "GET", "/c/x") as source:
        assert source.response.http_version == "HTTP/2"
        events = dispatched(source)
        assert next(events).event == "$ready"
        for n in range(100):
            assert h2.post("/c/x", content=str(n)).json()["receivers"]["sse"] == 1
        heard = [next(events) for _ in range(100)]
        assert [event.data for event in heard] == [str(n) for n in range(100)]
    page = h2.get("/c/x", params={"cursor": heard[49].id}).json()
    assert [message["data"] for message in page["messages"]] == [str(n) for n in range(50, 100)]


def test_httpx_publishes_a_thousand_times_on_one_connection(server: Tidewire, h2: httpx.Client) -> None:
    """It ends each body by an empty frame, and gives back windows as it likes: a client that means well."""
    for n in range(1_000):
        answer = h2.post("/c/x", content=str(n))
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert server.texts("x") == [str(n) for n in range(1_000)]
