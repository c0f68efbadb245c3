"""The room of examples/embed: an axum application that Tidewire is part of, asked by clients that were not made for it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent
from programs import BUILD_S, foreign
from stage import PATIENCE, REPOSITORY, dispatched, eventually
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))


class Room:
    """The application, in a process of its own."""

    def __init__(self, said: Path) -> None:
        self._said = said
        environment = {**foreign(), "PORT": "0"}
        with said.open("wb") as out:
            self.process = subprocess.Popen([TARGET / "debug/embed"], env=environment, stdout=out, stderr=out)
        eventually("it listens", lambda: "listening on" in self.said())
        self.url = re.search(r"http://\S+", self.said()).group()
        self.ws_url = self.url.replace("http", "ws", 1)

    def said(self) -> str:
        """All that it has written."""
        return self._said.read_text()

    def login(self, name: str) -> httpx.Client:
        """A browser, as far as it matters: it has the cookie, and says that this site's own page asks."""
        client = httpx.Client(base_url=self.url, timeout=PATIENCE, headers={"Sec-Fetch-Site": "same-origin"})
        assert client.post("/login", data={"name": name}).status_code == 303
        assert client.cookies["session"]
        return client

    def socket(self, channels: str, client: httpx.Client, origin: str | None = None) -> ClientConnection:
        cookie = {"Cookie": f"session={client.cookies['session']}"}
        return connect(f"{self.ws_url}/live/c/{channels}", origin=origin or self.url, additional_headers=cookie)


@pytest.fixture(scope="session")
def built() -> None:
    """The application, from the workspace that it is a member of."""
    command = ["cargo", "build", "--quiet", "--locked", "-p", "embed"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=BUILD_S)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def room(built: None, tmp_path: Path) -> Iterator[Room]:
    """One of a test's own."""
    room = Room(tmp_path / "said")
    yield room
    room.process.kill()
    room.process.wait()


def streaming(client: httpx.Client, channels: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.stream("GET", f"/live/c/{channels}", headers={"Accept": "text/event-stream", **named})


def spoken(stream: httpx.Response) -> Iterator[ServerSentEvent]:
    """The events of a stream, but for those of who comes and goes."""
    return (event for event in dispatched(EventSource(stream)) if event.event != "$presence")


def say(client: httpx.Client, text: str) -> None:
    assert client.post("/say", data={"text": text}).status_code == 204


def test_what_one_says_everybody_hears_on_every_transport(room: Room) -> None:
    ann, ben = room.login("ann"), room.login("ben")
    with streaming(ann, "room:lobby,user:ann") as stream, room.socket("room:lobby", ben) as socket:
        events = spoken(stream)
        assert next(events).event == "$ready"
        cursor = ben.get("/live/c/room:lobby").json()["cursor"]
        say(ben, "hello")
        event = next(events)
        assert (event.event, event.data) == ("room:lobby", "ben: hello")
        assert socket.recv(PATIENCE) == "ben: hello"
        polled = ben.get("/live/c/room:lobby", params={"cursor": cursor, "wait": 5}).json()
        assert [message["data"] for message in polled["messages"]] == ["ben: hello"]
    eventually("the moderator has heard it", lambda: "room:lobby ben: hello" in room.said())


def test_who_comes_back_after_a_cut_misses_nothing(room: Room) -> None:
    ann = room.login("ann")
    with streaming(ann, "room:lobby,user:ann") as stream:
        events = spoken(stream)
        next(events)
        say(ann, "one")
        last = next(events).id
    for text in ("two", "three"):
        say(ann, text)
    with streaming(ann, "room:lobby,user:ann", last_event_id=last) as stream:
        events = spoken(stream)
        heard = [next(events).data for _ in range(3)][1:]
    assert heard == ["ann: two", "ann: three"]


def test_the_moderator_has_a_word_with_who_shouts_and_nobody_else_hears_it(room: Room) -> None:
    ann, ben = room.login("ann"), room.login("ben")
    with streaming(ann, "user:ann") as stream, streaming(ben, "user:ben") as other:
        events, others = spoken(stream), spoken(other)
        next(events), next(others)
        say(ann, "CAN YOU HEAR ME")
        event = next(events)
        assert (event.event, event.data) == ("note", "Please do not shout.")
        say(ben, "QUITE")
        assert next(others).data == "Please do not shout."
    refused = ben.get("/live/c/user:ann")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


def test_a_stranger_is_refused_and_so_is_a_forged_name(room: Room) -> None:
    with httpx.Client(base_url=room.url, headers={"Sec-Fetch-Site": "same-origin"}) as stranger:
        refused = stranger.get("/live/c/room:lobby")
        assert (refused.status_code, refused.json()["detail"]) == (401, "log in first")
        assert stranger.post("/say", data={"text": "x"}).status_code == 401
        stranger.cookies.set("session", "0" * 32)
        assert stranger.get("/live/c/room:lobby").status_code == 401
        assert stranger.post("/login", data={"name": "<script>"}).status_code == 400
    ann = room.login("ann")
    forged = ann.post("/live/c/room:lobby", content="ben: I never said so", headers={"Origin": room.url})
    assert forged.status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_cannot_ride_on_a_visitors_cookie(room: Room, origin: str) -> None:
    ann = room.login("ann")
    with pytest.raises(InvalidStatus) as refused:
        room.socket("room:lobby", ann, origin)
    assert refused.value.response.status_code == 403
    answer = ann.get("/live/c/room:lobby", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert "access-control-allow-origin" not in answer.headers


def test_who_leaves_is_heard_no_more_and_hears_no_more(room: Room) -> None:
    ann = room.login("ann")
    with room.socket("room:lobby", ann) as socket:
        cookie = dict(ann.cookies)
        assert ann.post("/logout").status_code == 303
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)
        assert socket.close_code == 4401
    with httpx.Client(base_url=room.url, cookies=cookie, headers={"Sec-Fetch-Site": "same-origin"}) as late:
        assert late.get("/live/c/room:lobby").status_code == 401


def test_it_goes_away_in_order(room: Room) -> None:
    ann = room.login("ann")
    with streaming(ann, "room:lobby") as stream, room.socket("room:lobby", ann) as socket:
        lines = stream.iter_lines()
        seen = ""
        while "$ready" not in seen:
            seen = next(lines)
        say(ann, "last words")
        since = time.monotonic()
        room.process.send_signal(signal.SIGTERM)
        rest = "\n".join(lines)
        assert "data: ann: last words" in rest and "retry:" in rest
        assert socket.recv(PATIENCE) == "ann: last words"
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)
        assert socket.close_code == 1012
    ann.close()
    assert room.process.wait(PATIENCE) == 0
    assert "drained: Empty" in room.said() and time.monotonic() - since < PATIENCE


def test_the_page_is_the_sites_own_and_holds_no_name_but_its_visitors(room: Room) -> None:
    page = room.login("ann").get("/").text
    assert 'data-name="ann"' in page and "new EventSource" in page
    assert 'data-name=""' in httpx.get(room.url).text
