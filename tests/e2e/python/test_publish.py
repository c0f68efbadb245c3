"""Publishing: what is text, what happens once, and in which order (docs/protocol.md, "Publishing")."""

import base64

import pytest

KEY = "Idempotency-Key"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "text/html; charset=utf-8", "application/json", "application/ld+json", "application/x-www-form-urlencoded"],
)
def test_text_is_kept_exactly_and_must_be_utf8(server, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    text = ' {"a":1}\r\n& é \u2028\t'
    assert server.client.post("/c/x", content=text.encode(), headers=headers).status_code == 200
    assert server.texts("x") == [text]
    refused = server.client.post("/c/x", content=b"\xff", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "not_utf8")


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/png", "application/protobuf"])
def test_anything_else_is_binary(server, content_type):
    server.publish("x", b"\xff\x00", content_type=content_type)
    (message,) = server.poll("x", cursor="earliest")["messages"]
    assert base64.b64decode(message["base64"]) == b"\xff\x00"
    assert "data" not in message or message["data"] is None


def test_ids_of_one_log_are_distinct_and_a_message_shows_the_one_its_publisher_was_told(server):
    ids = [server.publish(f"c{n % 3}", str(n))["id"] for n in range(30)]
    assert len(set(ids)) == 30
    page = server.poll("c0,c1,c2", cursor="earliest")
    assert [message["id"] for message in page["messages"]] == ids, "merged in the order of publishing"


def test_a_repeated_key_publishes_once_and_answers_the_same_id(server):
    first = server.client.post("/c/x", content="pay", headers={KEY: "k1"}).json()
    again = server.client.post("/c/x", content="pay", headers={KEY: "k1"})
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert server.texts("x") == ["pay"]


def test_r22_a_key_belongs_to_its_channel(server):
    a = server.client.post("/c/a", content="pay", headers={KEY: "k1"}).json()
    b = server.client.post("/c/b", content="pay", headers={KEY: "k1"}).json()
    assert a["id"] != b["id"]
    assert (server.texts("a"), server.texts("b")) == (["pay"], ["pay"])


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        ("pay twice", {}),
        ("pay", {"Tidewire-Event": "payment"}),
        ("pay", {"Content-Type": "application/octet-stream"}),
    ],
    ids=["payload", "event", "type"],
)
def test_r22_a_key_with_anything_else_is_409(server, content, headers):
    server.client.post("/c/x", content="pay", headers={KEY: "k1"})
    answer = server.client.post("/c/x", content=content, headers={KEY: "k1", **headers})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    assert server.texts("x") == ["pay"]


@pytest.mark.parametrize("key", ["", "k" * 257, "with space", "t\tab"])
def test_a_key_out_of_bounds_is_refused(server, key):
    assert server.client.post("/c/x", content="pay", headers={KEY: key}).status_code == 400


def test_a_batch_is_placed_in_its_order_and_answered_in_its_order(server):
    batch = [{"channel": f"c{n % 2}", "data": str(n), "event": "tick"} for n in range(10)]
    batch.insert(5, {"channel": "c0", "base64": "/wA="})
    answer = server.client.post("/v1/publish", json={"messages": batch})
    assert answer.status_code == 200
    ids = [result["id"] for result in answer.json()["results"]]
    page = server.poll("c0,c1", cursor="earliest")
    assert [message["id"] for message in page["messages"]] == ids
    assert [message.get("data") or message["base64"] for message in page["messages"]] == [*"01234", "/wA=", *"56789"]


def test_a_batch_is_not_atomic_and_every_item_has_its_own_answer(server):
    answer = server.client.post(
        "/v1/publish",
        json={
            "messages": [
                {"channel": "x", "data": "1"},
                {"channel": "bad*name", "data": "2"},
                {"channel": "x", "data": "3", "event": "open"},
                {"channel": "x", "data": "4", "key": "k"},
                {"channel": "x", "data": "5", "key": "k"},
                {"channel": "x", "data": "6"},
            ]
        },
    )
    results = answer.json()["results"]
    assert [result.get("code") for result in results] == [None, "channel_invalid", "event_invalid", None, "key_reused", None]
    assert server.texts("x") == ["1", "4", "6"]


def test_s37_a_batch_has_at_most_a_hundred_messages(server):
    batch = [{"channel": "x", "data": "1"}] * 101
    assert server.client.post("/v1/publish", json={"messages": batch}).status_code == 413
    assert server.texts("x") == []
    assert server.client.post("/v1/publish", json={"messages": batch[:100]}).status_code == 200


@pytest.mark.parametrize("body", ["", "{", "[]", '{"messages":{}}', '{"messages":[{"data":"x"}]}', '{"messages":[1]}', "[" * 10_000])
def test_a_batch_that_cannot_be_read_is_a_bad_request(server, body):
    answer = server.client.post("/v1/publish", content=body, headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        assert [result["code"] for result in answer.json()["results"]] == ["bad_request"]
    else:
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("item", [{}, {"data": "x", "base64": "eA=="}, {"base64": "***"}, {"data": 1}, {"data": None}])
def test_an_item_holds_either_text_or_base64(server, item):
    answer = server.client.post("/v1/publish", json={"messages": [{"channel": "x", **item}]})
    code = answer.json()["results"][0]["code"] if answer.status_code == 200 else answer.json()["code"]
    assert code == "bad_request"
    assert server.texts("x") == []


def test_channels_and_their_history_can_be_looked_at(server):
    for data in ("1", "2"):
        server.publish("orders:42", data)
    listed = server.client.get("/v1/channels").json()["channels"]
    assert [(one["channel"], one["messages"]) for one in listed] == [("orders:42", 2)]
    page = server.client.get("/v1/channels/orders:42/history").json()
    assert [message["data"] for message in page["messages"]] == ["1", "2"]
    page = server.client.get("/v1/channels/orders:42/history", params={"limit": 1}).json()
    assert len(page["messages"]) == 1


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"hello", {}),
        (b"", {}),
        (b"\xff", {"Content-Type": "image/png"}),
        (b"\xff", {"Content-Type": "text/plain"}),
        (b"hello", {"Tidewire-Event": "trade"}),
        (b"hello", {"Tidewire-Event": "open"}),
        (b"hello", {KEY: "with space"}),
        (b"hello", {"Origin": "https://evil.example"}),
        (b"hello", {"Host": "evil.example"}),
        (b"hello", {"Authorization": "Bearer wrong"}),
        (b"hello", {"Connection": "close"}),
    ],
)
def test_a_publish_is_answered_alike_however_its_body_is_framed(server, content, headers):
    """Chunks are read by the API server, a short length by the event loops."""

    def told(answer):
        # Chunks that nobody has read end their connection.
        left_out = ("date", "content-length") if answer.is_success else ("date", "content-length", "connection")
        fields = {name: value for name, value in answer.headers.items() if name not in left_out}
        said = {name: value for name, value in answer.json().items() if name not in ("id", "trace_id")}
        return answer.status_code, fields, said, answer.json().keys()

    by_length = server.client.post("/c/x", content=content, headers=headers)
    by_chunks = server.client.post("/c/x", content=iter([content]), headers=headers)
    assert told(by_length) == told(by_chunks)
