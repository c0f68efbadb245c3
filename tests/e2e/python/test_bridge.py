"""The bridge: an application that speaks plain Redis Pub/Sub meets browsers, with `redis-cli` in its place."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from redis_server import Redis
from stage import PATIENCE, eventually
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wire import Wire


@pytest.fixture
def redis() -> Iterator[Redis]:
    redis = Redis()
    yield redis
    redis.end()


@pytest.fixture
def node(serve, redis):
    node = serve(
        **{
            "broker.url": f"redis://127.0.0.1:{redis.port}",
            "broker.bridge": "global-chat-events,jobs",
            "broker.bridge_publish": "jobs",
        }
    )
    eventually("it hears", lambda: "global-chat-events" in redis.ask("PUBSUB", "CHANNELS", "g*"))
    return node


def test_what_an_application_publishes_reaches_every_transport(node, redis):
    with (
        Wire(node) as stream,
        Wire(node) as poll,
        connect(f"{node.ws_url}/c/global-chat-events", proxy=None) as raw,
        connect(f"{node.ws_url}/c/global-chat-events", proxy=None, subprotocols=["tidewire.v1"]) as v1,
    ):
        stream.request("GET /c/global-chat-events", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        assert json.loads(v1.recv(PATIENCE))["type"] == "ready"
        poll.request("GET /c/global-chat-events?wait=60")
        channels = lambda: node.client.get("/v1/channels").json()["channels"]  # noqa: E731
        eventually("the poll waits", lambda: any(one["receivers"]["poll"] for one in channels()))
        redis.publish("global-chat-events", '{"from":"ada"}')
        block = stream.until(b'data: {"from":"ada"}\n')
        assert b"id: " not in block[block.index(b"data: {\"from") :]
        assert raw.recv(PATIENCE) == '{"from":"ada"}'
        frame = json.loads(v1.recv(PATIENCE))
        assert (frame["type"], frame["id"], frame["data"]) == ("message", None, '{"from":"ada"}')
        page = json.loads(poll.response().body)
        assert [(one["id"], one["data"]) for one in page["messages"]] == [(None, '{"from":"ada"}')]
        assert page["gap"] is None


def test_a_service_hears_what_a_browser_sends_and_answers(node, redis):
    service = redis.listen("jobs")
    try:
        with connect(f"{node.ws_url}/c/jobs", proxy=None) as browser:
            browser.send("2+2")
            assert [service.stdout.readline().strip() for _ in range(3)] == ["message", "jobs", "2+2"]
            redis.publish("jobs", "4")
            assert [browser.recv(PATIENCE) for _ in range(2)] == ["2+2", "4"]
            receipt = node.publish("jobs", "by POST")
            assert (receipt["id"], receipt["channel"]) == (None, "jobs")
            assert service.stdout.readline().strip() == "message"
            assert browser.recv(PATIENCE) == "by POST"
    finally:
        service.kill()
        service.wait()


@pytest.mark.parametrize(
    ("channel", "fields", "code", "words"),
    [
        ("global-chat-events", {}, "forbidden", "broker.bridge_publish"),
        ("jobs", {"Tidewire-Event": "e"}, "bad_request", "neither event names"),
        ("jobs", {"Idempotency-Key": "k"}, "bad_request", "nor idempotency keys"),
    ],
)
def test_what_the_bridge_does_not_take_is_refused_in_clear_words(node, channel, fields, code, words):
    refusal = node.client.post(f"/c/{channel}", content="x", headers=fields).json()
    assert refusal["code"] == code and words in refusal["detail"], refusal


def test_a_disturbed_link_is_a_gap_and_goes_on_by_itself(node, redis):
    with Wire(node) as stream, connect(f"{node.ws_url}/c/jobs", proxy=None) as raw:
        stream.request("GET /c/jobs,prices", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        raw.send("here")
        assert raw.recv(PATIENCE) == "here"
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        stream.until(b'event: $gap\ndata: {"channels":["jobs"],"reason":"transient"')
        with pytest.raises(ConnectionClosed):
            raw.recv(PATIENCE)
        assert (raw.close_code, raw.close_reason) == (4410, "gap"), "no cursor leads back"
        eventually("it hears again", lambda: "jobs" in redis.ask("PUBSUB", "CHANNELS", "jobs"))
        redis.publish("jobs", "on it goes")
        stream.until(b"data: on it goes\n")


def test_r8_who_comes_back_to_a_bridged_channel_is_told_of_a_gap(node):
    cursor = node.poll("jobs")["cursor"]
    assert node.poll("jobs", cursor=cursor)["gap"]["reason"] == "transient"
    assert node.poll("jobs,prices", cursor=cursor)["gap"]["channels"] == ["jobs"]


def test_a_channel_that_goes_out_and_not_in_is_a_configuration_error(tmp_path):
    from stage import BINARY

    sets = ["broker.url=redis://127.0.0.1", "broker.bridge=a", "broker.bridge_publish=b"]
    flags = [part for one in sets for part in ("--set", one)]
    run = subprocess.run([BINARY, "serve", *flags], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode == 78 and "broker.bridge_publish" in run.stderr, run
