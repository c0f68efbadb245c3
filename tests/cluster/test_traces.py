"""`traceparent` crosses Redis: to who listens at another node, and to who comes back there later."""

import json
import subprocess
from collections.abc import Callable

import httpx_sse
from redis_server import Redis
from stage import PATIENCE, Tidewire, dispatched

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_trace_reaches_the_other_node_live_and_from_history(serve: Callable[..., Tidewire], redis: Redis) -> None:
    url = {"broker.url": f"redis://127.0.0.1:{redis.port}"}
    here, there = serve(**url), serve(**url)
    with httpx_sse.connect_sse(there.client, "GET", "/c/x?format=json") as stream:
        events = dispatched(stream)
        assert next(events).event == "$ready"
        # What nobody listens to there comes in between.
        here.publish("y", "unheard", traceparent=TRACE.replace("4bf9", "1111"))
        for text, trace in (("one", {"traceparent": TRACE}), ("two", {}), ("three", {"traceparent": TRACE.replace("4bf9", "2222")})):
            here.publish("x", text, **trace)
        live = [json.loads(next(events).data) for _ in range(3)]
    late = serve(**url)
    kept = late.poll("x", cursor="earliest")["messages"]
    assert live == kept
    assert [message.get("traceparent") for message in live] == [TRACE, None, TRACE.replace("4bf9", "2222")]


def test_a_node_that_knows_nothing_of_traces_reads_every_message(serve: Callable[..., Tidewire], redis: Redis) -> None:
    """What such a node hears and reads is what it always was: the trace stands under another name, and in a field behind."""
    node = serve(**{"broker.url": f"redis://127.0.0.1:{redis.port}"})
    cli = ["redis-cli", "-p", str(redis.port)]
    with subprocess.Popen([*cli, "SUBSCRIBE", "{tidewire:0}:0:x"], stdout=subprocess.PIPE) as service:
        assert [service.stdout.readline().strip() for _ in range(3)] == [b"subscribe", b"{tidewire:0}:0:x", b"1"]
        node.publish("x", "one")
        node.publish("x", "two", traceparent=TRACE)
        heard = service.stdout.readline()
        while b"two" not in heard:
            heard += service.stdout.readline()
        service.kill()
    assert heard.count(b"message\n{tidewire:0}:0:x\n1 ") == 2 and TRACE.encode() not in heard
    (stream,) = redis.ask("--scan", "--pattern", "{tidewire:0}:*:s:x").split()
    entries = subprocess.run([*cli, "XRANGE", stream, "-", "+"], capture_output=True, timeout=PATIENCE).stdout
    fields = [line for line in entries.splitlines() if line in (b"p", b"m", b"t", TRACE.encode())]
    assert fields == [b"p", b"m", b"p", b"m", b"t", TRACE.encode()]
