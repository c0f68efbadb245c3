"""`traceparent`: kept with a message, and told in its envelope on every transport (W3C Trace Context)."""

import json

import pytest
from stage import PATIENCE, dispatched
from websockets.sync.client import connect

import httpx_sse

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


def test_a_trace_is_told_where_an_envelope_is(server):
    address = f"{server.ws_url}/c/x"
    with (
        connect(address, subprotocols=["tidewire.v1"], additional_headers=server.credentials) as socket,
        httpx_sse.connect_sse(server.client, "GET", "/c/x?format=json") as stream,
    ):
        assert json.loads(socket.recv(PATIENCE))["type"] == "ready"
        events = dispatched(stream)
        assert next(events).event == "$ready"
        server.publish("x", "hello", traceparent=TRACE)
        told = [json.loads(socket.recv(PATIENCE)), json.loads(next(events).data), *server.poll("x", cursor="earliest")["messages"]]
    history = server.client.get("/v1/channels/x/history").json()["messages"]
    assert [message["traceparent"] for message in told + history] == [TRACE] * 4


def test_a_message_without_a_trace_has_no_such_field(server):
    server.publish("x", "hello")
    (message,) = server.poll("x", cursor="earliest")["messages"]
    assert "traceparent" not in message


@pytest.mark.parametrize("bad", ["", "hello", TRACE.upper(), TRACE + "-00", "ff" + TRACE[2:], TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32)])
def test_what_is_no_traceparent_is_ignored_and_the_message_published(server, bad):
    server.publish("x", "hello", traceparent=bad)
    (message,) = server.poll("x", cursor="earliest")["messages"]
    assert message["data"] == "hello" and "traceparent" not in message


def test_two_of_them_are_none(server):
    headers = [("traceparent", TRACE), ("traceparent", OTHER)]
    assert server.client.post("/c/x", content="hello", headers=headers).status_code == 200
    (message,) = server.poll("x", cursor="earliest")["messages"]
    assert "traceparent" not in message


def test_the_trace_of_a_batch_is_that_of_its_messages(server):
    messages = [{"channel": "x", "data": "one"}, {"channel": "y", "data": "two"}]
    answer = server.client.post("/v1/publish", json={"messages": messages}, headers={"traceparent": TRACE})
    assert answer.status_code == 200, answer.text
    assert [message["traceparent"] for message in server.poll("x,y", cursor="earliest")["messages"]] == [TRACE] * 2


def test_a_repetition_keeps_the_trace_of_the_first(server):
    for trace in (TRACE, OTHER):
        server.publish("x", "hello", traceparent=trace, idempotency_key="k")
    assert [message["traceparent"] for message in server.poll("x", cursor="earliest")["messages"]] == [TRACE]
