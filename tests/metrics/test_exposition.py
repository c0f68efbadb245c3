"""What `/metrics` says, in both texts, judged by promtool and by what was done before."""

import re
import subprocess
from collections.abc import Callable

from stage import PATIENCE, REPOSITORY, Tidewire, eventually
from wire import Wire

TABLE = (REPOSITORY / "docs/metrics.md").read_text()


def text_of(server: Tidewire, accept: str = "text/plain") -> str:
    answer = server.client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    return answer.text


def number(server: Tidewire, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text_of(server), re.MULTILINE)
    assert found, f"there is no {sample}"
    return float(found[1])


def families(text: str) -> dict[str, str]:
    """The types of all families by name, as the text declares them."""
    return dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))


def test_promtool_has_nothing_to_object_to(server: Tidewire) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text_of(server), capture_output=True, text=True, timeout=PATIENCE
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_both_texts_have_the_same_families_and_units_are_told_in_one(server: Tidewire) -> None:
    older, newer = text_of(server), text_of(server, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    renamed = {name + "_total" * (kind == "counter"): kind for name, kind in families(newer).items()}
    assert families(older) == renamed
    assert newer.endswith("# EOF\n") and "# UNIT tidewire_delivery_seconds seconds\n" in newer
    assert "# EOF" not in older and "# UNIT" not in older


def test_every_family_stands_in_the_reference_with_its_type(server: Tidewire) -> None:
    rows = dict(re.findall(r"^\| `(\S+)` \| (\w+) \|", TABLE, re.MULTILINE))
    shown = families(text_of(server))
    assert shown.items() <= rows.items()
    assert all(re.search(rf"^# HELP {name} .+", text_of(server), re.MULTILINE) for name in shown)


def test_who_is_connected_is_told_by_transport_and_who_went_by_reason(server: Tidewire) -> None:
    with Wire(server) as stream, Wire(server) as poll:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        poll.request("GET /c/x?wait=30")
        eventually("both are counted", lambda: number(server, 'tidewire_connections{transport="longpoll"}') == 1)
        assert number(server, 'tidewire_connections{transport="sse"}') == 1
        server.publish("x", "hello")
        stream.until(b"data: hello\n")
        poll.until(b"hello")
    eventually("it is gone", lambda: number(server, 'tidewire_connections_closed_total{reason="client"}') == 1)
    assert number(server, 'tidewire_messages_delivered_total{transport="sse"}') == 1
    assert number(server, 'tidewire_messages_delivered_total{transport="poll"}') == 1
    assert number(server, "tidewire_messages_published_total") == 1
    assert number(server, "tidewire_publish_seconds_count") == 1


def test_a_message_is_timed_once_however_many_hear_it(serve: Callable[..., Tidewire]) -> None:
    server = serve(**{"engine.shards": 1})
    streams = [Wire(server) for _ in range(20)]
    for stream in streams:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
    for text in ("one", "two"):
        server.publish("x", text)
        for stream in streams:
            stream.until(b"data: %s\n" % text.encode())
    eventually("both are through", lambda: number(server, "tidewire_delivery_seconds_count") == 2)
    assert number(server, 'tidewire_messages_delivered_total{transport="sse"}') == 40
    assert 0 < number(server, "tidewire_delivery_seconds_sum") < PATIENCE
    for stream in streams:
        stream.close()


def test_a_refusal_and_a_failed_publish_are_counted_by_their_codes(serve: Callable[..., Tidewire]) -> None:
    server = serve(**{"limits.channels_max": 1})
    server.publish("x", "the first")
    with Wire(server) as stream:
        stream.request("GET /c/x", "Accept: text/event-stream")
        stream.until(b"event: $ready\n")
        assert server.client.post("/c/y", content="one too many").json()["code"] == "channels_full"
    assert number(server, 'tidewire_publish_failures_total{reason="channels_full"}') == 1
    assert number(server, 'tidewire_refusals_total{reason="channels_full"}') == 1
    assert number(server, 'tidewire_refusals_total{reason="forbidden"}') == 0, "a rate needs the zero before the first"
