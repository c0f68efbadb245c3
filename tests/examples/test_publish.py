"""Each example that publishes, against a real server that lets nobody in without a key."""

import time
from concurrent.futures import ThreadPoolExecutor

from front import Fault, Front, fail_as_a_proxy, lose_answer, never_answer, redirect, refuse
from httpx_sse import EventSource
from programs import BACKEND_KEY, EXAMPLES, PROGRAMS, Program
from stage import Tidewire, dispatched

DATA = '{"order":7781,"note":"größer – \\"jetzt\\" 👍"}'


def published(program: Program, url: str, channel: str) -> str:
    """Has `program` publish `DATA`, and returns the id that it printed."""
    done = program.publish(url, channel, "shipped", DATA, "order-7781-shipped")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.endswith("\n") and done.stdout.strip()
    return done.stdout.strip()


def refused(program: Program, url: str, channel: str, api_key: str = BACKEND_KEY) -> str:
    """Has `program` publish in vain, and returns what it said: a line."""
    done = program.publish(url, channel, "shipped", DATA, "order-7781-shipped", api_key)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_subscriber_gets_the_message_as_it_was_published(program: Program, server: Tidewire, channel: str) -> None:
    with server.client.stream("GET", f"/c/{channel}", headers={"Accept": "text/event-stream"}) as stream:
        events = dispatched(EventSource(stream))
        assert next(events).event == "$ready"
        message_id = published(program, server.url, channel)
        message = next(events)
    assert (message.event, message.data, message.id) == ("shipped", DATA, message_id)


def test_a_key_that_comes_twice_is_one_message(program: Program, server: Tidewire, channel: str) -> None:
    first, second = (published(program, server.url, channel) for _ in range(2))
    assert first == second
    assert server.texts(channel) == [DATA]


def test_a_wrong_api_key_is_told_and_not_shown(program: Program, server: Tidewire, channel: str) -> None:
    wrong = "tw_" + "A" * 43
    said = refused(program, server.url, channel, wrong)
    assert "unauthorized" in said and wrong not in said
    assert server.texts(channel) == []


def test_what_would_be_waited_for_too_long_is_told_at_once(program: Program, front: Front, channel: str) -> None:
    front.faults = [refuse(503, "overloaded", retry_after_s=60), fail_as_a_proxy(retry_after_s=60)]
    assert "overloaded" in refused(program, front.url, channel)
    assert "502" in refused(program, front.url, channel)
    assert len(front.seen) == 2


def test_the_api_key_follows_no_redirect(program: Program, server: Tidewire, front: Front, channel: str) -> None:
    front.faults = [redirect(f"{front.url}/elsewhere")]
    assert "302" in refused(program, front.url, channel)
    assert len(front.seen) == 1


def test_a_channel_is_no_way_to_another_address(program: Program, front: Front) -> None:
    assert refused(program, front.url, "../v1/publish?x")
    assert all(request.path.startswith("/c/") and not set("?/") & set(request.path[3:]) for request in front.seen), front.seen


def test_what_may_pass_is_repeated_under_the_same_key(server: Tidewire, channel: str) -> None:
    here = [program for program in PROGRAMS if not program.missing()]
    for program in here:
        program.build()
    stories = [([refuse(429, "rate_limited", retry_after_s=1), lose_answer], 1.0), ([never_answer], 0.0)]
    runs = [(program, number, *story) for program in here for number, story in enumerate(stories)]

    def check(program: Program, number: int, faults: list[Fault], least_s: float) -> None:
        name = f"{channel}.{program.name}.{number}"
        with Front(server.port, faults) as front:
            began = time.monotonic()
            message_id = published(program, front.url, name)
            assert time.monotonic() - began >= least_s, f"{name} waits as long as Retry-After asks"
        assert [request.key for request in front.seen] == ["order-7781-shipped"] * (len(faults) + 1), name
        kept = server.poll(name, cursor="earliest")["messages"]
        assert [(message["id"], message["data"]) for message in kept] == [(message_id, DATA)], name

    # Side by side, since each waits for seconds.
    with ThreadPoolExecutor(len(runs)) as pool:
        for done in [pool.submit(check, *run) for run in runs]:
            done.result()


def test_without_its_settings_it_says_how_it_is_used(program: Program) -> None:
    done = program.start(program.command, {})
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("usage: "), done


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.iterdir() if path.is_dir() and f"]({path.name}/" not in readme] == []
