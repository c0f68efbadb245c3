"""Clients of every transport that come back by themselves, as those of users do, and publishers that repeat themselves.

Each runs until it is cancelled, and writes down what it is told. Whatever a browser would give up at is a problem.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

import httpx
from httpx_sse import aconnect_sse
from ledger import Ledger, Story
from stage import Tidewire
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

CHANNELS = "news,prices"
"""What everybody listens to, all at once: the order of a connection is one over all of its channels."""

BACK_WITHIN_S = 0.3
"""Who was let go comes back after a random part of this."""


async def stream(url: str, story: Story, cursor: str = "") -> None:
    """An EventSource: comes back after `retry:` with its last id, and is CLOSED by every status but 200."""
    retry_s = 0.2
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False) as client:
        while True:
            headers = {"Last-Event-ID": cursor} if cursor else {}
            try:
                async with aconnect_sse(client, "GET", f"/c/{CHANNELS}", headers=headers) as source:
                    if source.response.status_code != 200:
                        story.problems.append(f"{story.name} is CLOSED by {source.response.status_code}")
                        return
                    async for event in source.aiter_sse():
                        cursor, retry_s = event.id or cursor, (event.retry or retry_s * 1000) / 1000
                        if event.event == "$ready":
                            story.joined()
                        elif event.event == "$gap":
                            gap = json.loads(event.data)
                            story.gap(gap["reason"], gap["cursor"])
                        elif event.data:
                            story.told(event.id, event.data)
                story.ends["streams that ended cleanly"] += 1
            except httpx.ConnectError as error:
                refused(story, error)
            except httpx.TransportError:
                story.ends["streams cut"] += 1
            await asyncio.sleep(retry_s * random.uniform(0.5, 1))


async def socket(url: str, story: Story, cursor: str = "") -> None:
    """A WebSocket that speaks `tidewire.v1` and comes back with its cursor."""

    def hear(frame: dict) -> None:
        nonlocal cursor
        if frame["type"] == "ready":
            cursor = frame["cursor"] or cursor
            story.joined()
        elif frame["type"] == "gap":
            cursor = frame["cursor"]
            story.gap(frame["reason"], cursor)
        elif frame["type"] == "message":
            cursor = frame["id"]
            story.told(cursor, frame["data"])
        else:
            story.problems.append(f"{story.name} was told {frame}")

    while True:
        async for text in visits(url, story, lambda: cursor, ["tidewire.v1"]):
            if not isinstance(text, ConnectionClosed):
                hear(json.loads(text))


async def raw_socket(url: str, story: Story, cursor: str) -> None:
    """A WebSocket without a subprotocol, which is told its cursor when it is closed, and never otherwise."""
    while True:
        async for text in visits(url, story, lambda: cursor):
            if not isinstance(text, ConnectionClosed):
                story.told(None, text)
                continue
            if text.rcvd is None or text.rcvd.code not in (1012, 4410):
                story.problems.append(f"{story.name} was closed with {text.rcvd}, and knows no way back")
                return
            cursor = text.rcvd.reason
            if text.rcvd.code == 4410:
                story.gap("4410", cursor)


async def visits(url: str, story: Story, cursor: Callable[[], str], protocols: list[str] | None = None):
    """The frames of one connection, and how it was closed at last; nothing where it did not come about."""
    address = f"{url.replace('http', 'ws')}/c/{CHANNELS}?cursor={cursor()}"
    try:
        async with connect(address, subprotocols=protocols, proxy=None, open_timeout=30) as connection:
            if protocols is None:
                story.joined()
            try:
                while True:
                    yield await connection.recv()
            except ConnectionClosed as closed:
                story.ends[f"WebSockets closed with {closed.rcvd.code if closed.rcvd else 'nothing'}"] += 1
                yield closed
    except InvalidStatus as answer:
        if answer.response.status_code != 503:
            story.problems.append(f"{story.name} was answered {answer.response.status_code}")
        story.ends[f"WebSockets told to come again by {answer.response.status_code}"] += 1
    except ConnectionRefusedError as error:
        refused(story, error)
    except (InvalidHandshake, OSError) as error:
        story.ends[f"handshakes cut: {type(error).__name__}"] += 1
    await asyncio.sleep(random.uniform(0, BACK_WITHIN_S))


async def poll(url: str, story: Story, cursor: str, wait_s: int = 5) -> None:
    """A long poll: page after page, from cursor to cursor. What comes twice here, nothing excuses."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False) as client:
        story.joined()
        while True:
            try:
                answer = await client.get(f"/c/{CHANNELS}", params={"cursor": cursor, "wait": wait_s})
            except httpx.ConnectError as error:
                refused(story, error)
                continue
            except httpx.TransportError:
                story.ends["polls cut"] += 1
                continue
            if answer.status_code == 200:
                page = answer.json()
                if gap := page["gap"]:
                    story.gap(gap["reason"], gap["cursor"])
                for message in page["messages"]:
                    story.told(message["id"], message["data"])
                cursor = page["cursor"]
                continue
            if answer.status_code != 503:
                story.problems.append(f"{story.name} was answered {answer.status_code}: {answer.text}")
            story.ends[f"polls told to come again by {answer.status_code}"] += 1
            await asyncio.sleep(random.uniform(0, BACK_WITHIN_S))


async def publish(url: str, ledger: Ledger, name: str, every_s: float, over: asyncio.Event) -> None:
    """Publishes one message after the other, each with a key, and repeats it until it is known to have happened."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False) as client:
        for n in itertools.count():
            if over.is_set():
                return
            channel, text = CHANNELS.split(",")[n % 2], f"{name}-{n}"
            while True:
                try:
                    answer = await client.post(f"/c/{channel}", content=text, headers={"Idempotency-Key": text})
                except httpx.ConnectError as error:
                    ledger.problems.append(f"{name} was refused: {error}")
                except httpx.TransportError:
                    ledger.answers["none"] += 1
                else:
                    ledger.answers[str(answer.status_code)] += 1
                    if answer.status_code == 200:
                        ledger.acked[text] = answer.json()["id"]
                        break
                    if answer.status_code not in (503, 504):
                        ledger.problems.append(f"{name} was answered {answer.status_code}: {answer.text}")
                        return
                await asyncio.sleep(0.05)
            await asyncio.sleep(every_s)


async def knock(port: int, story: Story) -> None:
    """Comes to a node itself, again and again, on a connection of its own. Whoever is refused there had bad luck."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /c/news HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            story.ends[f"knocks answered {(await reader.read(12)).decode()[9:] or 'nothing'}"] += 1
            writer.close()
        except ConnectionRefusedError as error:
            refused(story, error)
        except OSError as error:
            story.ends[f"knocks cut: {error}"] += 1
        await asyncio.sleep(0.01)


def refused(story: Story, error: Exception) -> None:
    story.problems.append(f"{story.name} was refused: {error}")


@asynccontextmanager
async def listening(nodes: list[Tidewire], ledger: Ledger, cursor: str):
    """Has a client of each transport listen at each node."""
    clients = []
    for n, node in enumerate(nodes):
        clients += [stream(node.url, ledger.story(f"stream {n}"), cursor)]
        clients += [socket(node.url, ledger.story(f"WebSocket {n}"), cursor)]
        clients += [raw_socket(node.url, ledger.story(f"raw WebSocket {n}"), cursor)]
        clients += [poll(node.url, ledger.story(f"poll {n}"), cursor)]
    async with running(clients):
        await until("everybody listens", ledger.all_ready)
        yield


@asynccontextmanager
async def watching(nodes: list[Tidewire]):
    """Has somebody ask each node all the time whether it is ready: what it said, and when."""
    seen: list[list[tuple[float, str]]] = [[] for _ in nodes]

    async def watch(node: Tidewire, said: list[tuple[float, str]]) -> None:
        async with httpx.AsyncClient(base_url=node.url, trust_env=False, verify=False) as client:
            while True:
                answer = await client.get("/readyz")
                word = answer.json()["status"]
                assert answer.status_code == (200 if word in ("ready", "degraded") else 503), answer
                said.append((time.monotonic(), word))
                await asyncio.sleep(0.02)

    async with running(watch(node, said) for node, said in zip(nodes, seen, strict=True)):
        yield seen


@asynccontextmanager
async def publishing(nodes: list[Tidewire], ledger: Ledger, each: int = 2, every_s: float = 0.01):
    """Has some publish at each node, until what is given here is called: it waits for what is on its way."""
    over = asyncio.Event()
    names = [(node, f"publisher-{n}-{one}") for n, node in enumerate(nodes) for one in range(each)]
    async with running(publish(node.url, ledger, name, every_s, over) for node, name in names) as tasks:

        async def stop() -> None:
            over.set()
            await asyncio.gather(*tasks)

        yield stop


@asynccontextmanager
async def running(doings: Iterable[Coroutine]):
    """Has all of that done meanwhile. Whatever goes wrong with it goes wrong here."""
    tasks = [asyncio.create_task(doing) for doing in doings]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def until(what: str, condition: Callable[[], bool], patience: float = 30.0) -> None:
    """Waits until `condition` holds; `patience` is far above what a busy machine needs."""
    async with asyncio.timeout(patience):
        try:
            while not condition():
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            raise AssertionError(f"waited in vain until {what}") from None
