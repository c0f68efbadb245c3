"""The function, as a platform calls it: with an event, in a process of its own, and again if it failed."""

import json
import subprocess

import pytest
from front import Fault, Front, lose_answer, never_answer, refuse
from httpx_sse import EventSource
from programs import BACKEND_KEY, EXAMPLES, RUN_S, foreign
from stage import Tidewire, dispatched

CALL = """
const { handler } = await import(process.argv[1]);
const event = JSON.parse(process.argv[2]);
await handler(event).then(
  (result) => console.log(JSON.stringify({ result })),
  ({ name, message }) => console.log(JSON.stringify({ name, message })),
);
"""
"""The platform."""


def call(url: str, event: object, api_key: str = BACKEND_KEY) -> dict:
    """Calls the function with `event`: its `result`, or `name` and `message` of what it threw."""
    command = ["node", "--input-type=module", "--eval", CALL, str(EXAMPLES / "serverless/handler.mjs"), json.dumps(event)]
    environment = {**foreign(), "TIDEWIRE_URL": url, "TIDEWIRE_API_KEY": api_key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def order(number: int, **changed: object) -> dict:
    """The event of an order that left, on whose channel nobody else publishes."""
    return {"id": f"evt_{number}", "type": "shipped", "order": number, "details": {"carrier": "DHL"}, **changed}


def test_browsers_hear_of_the_event_that_the_function_was_called_with(server: Tidewire) -> None:
    with server.client.stream("GET", "/c/orders:1", headers={"Accept": "text/event-stream"}) as stream:
        events = dispatched(EventSource(stream))
        assert next(events).event == "$ready"
        done = call(server.url, order(1))
        message = next(events)
    assert done == {"result": {"id": message.id}}
    assert (message.event, json.loads(message.data)) == ("shipped", {"order": 1, "carrier": "DHL"})


def test_a_platform_that_calls_again_makes_no_second_message(server: Tidewire) -> None:
    assert call(server.url, order(2)) == call(server.url, order(2))
    assert len(server.texts("orders:2")) == 1


@pytest.mark.parametrize(
    "number, fault",
    [(3, refuse(503, "overloaded", 1)), (4, lose_answer), (5, never_answer)],
    ids=["refused", "the answer is lost", "the answer never comes"],
)
def test_what_may_pass_is_repeated_under_the_events_id(server: Tidewire, front: Front, number: int, fault: Fault) -> None:
    front.faults = [fault]
    done = call(front.url, order(number))
    assert [request.key for request in front.seen] == [f"evt_{number}"] * 2
    kept = server.poll(f"orders:{number}", cursor="earliest")["messages"]
    assert [{"result": {"id": message["id"]}} for message in kept] == [done]


def test_what_takes_longer_than_the_function_may_is_thrown_for_the_platform_to_call_again(front: Front) -> None:
    front.faults = [refuse(429, "rate_limited", 60)]
    done = call(front.url, order(6))
    assert done == {"name": "PublishError", "message": "rate_limited: Said by the test."}
    assert len(front.seen) == 1


def test_a_wrong_api_key_is_thrown_after_one_attempt(front: Front) -> None:
    done = call(front.url, order(7), "tw_" + "A" * 43)
    assert done["name"] == "PublishError" and done["message"].startswith("unauthorized: ")
    assert len(front.seen) == 1


@pytest.mark.parametrize("event", [None, {}, order(8, id=8), order(8, type=None), order(8, order="8/../9")])
def test_what_is_no_event_is_not_published(front: Front, event: object) -> None:
    assert call(front.url, event)["name"] == "TypeError"
    assert front.seen == []
