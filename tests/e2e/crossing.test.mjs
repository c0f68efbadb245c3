// One URL, every transport: what one of them leaves off, another takes up (docs/protocol.md, "Ids and cursors").

import assert from "node:assert/strict";
import test from "node:test";

import { eventSource, webSocket } from "./harness/clients.mjs";
import { tidewire } from "./harness/tidewire.mjs";

test("one publish reaches EventSource, WebSocket and a waiting poll alike", async (t) => {
  const server = await tidewire(t);
  const sse = eventSource(t, `${server.url}/c/prices`);
  await sse.heard.find(({ type }) => type === "$ready");
  const ws = await webSocket(t, `${server.wsUrl}/c/prices`);
  const start = await (await fetch(`${server.url}/c/prices`)).json();
  const poll = fetch(`${server.url}/c/prices?wait=30&cursor=${start.cursor}`).then((response) => response.json());
  // Whether the poll waits already or comes in a moment, its cursor makes sure that it gets this one.
  const { id } = await server.publish("prices", "42");
  assert.deepEqual((await poll).messages.map(({ data, id }) => [data, id]), [["42", id]]);
  assert.equal((await sse.heard.next()).id, id);
  assert.equal(await ws.heard.next(), "42");
});

test("the cursor of each transport is good on every other", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/prices`);
  const ready = await heard.next();
  await server.publish("prices", "1");
  const polled = await (await fetch(`${server.url}/c/prices?cursor=${ready.id}`)).json();
  assert.deepEqual(polled.messages.map(({ data }) => data), ["1"]);
  await server.publish("prices", "2");
  const ws = await webSocket(t, `${server.wsUrl}/c/prices?cursor=${polled.cursor}`);
  assert.equal(await ws.heard.next(), "2");
  const sse = eventSource(t, `${server.url}/c/prices?cursor=${polled.cursor}`);
  assert.equal((await sse.heard.find(({ type }) => type === "message")).data, "2");
});

test("an EventSource on a connection that served other requests before works the same", async (t) => {
  const server = await tidewire(t);
  // Node's fetch keeps connections: the EventSource, which uses fetch, follows these on the same one.
  for (let n = 0; n < 3; n += 1) await (await fetch(`${server.url}/c/prices`)).text();
  await server.publish("prices", "on the kept connection");
  const { heard } = eventSource(t, `${server.url}/c/prices?cursor=earliest`);
  assert.equal((await heard.find(({ type }) => type === "message")).data, "on the kept connection");
  await server.publish("prices", "live");
  assert.equal((await heard.next()).data, "live");
});

test("a hundred subscribers of every kind see the same messages in the same order", async (t) => {
  const server = await tidewire(t);
  const sources = Array.from({ length: 50 }, () => eventSource(t, `${server.url}/c/prices`));
  for (const { heard } of sources) await heard.find(({ type }) => type === "$ready");
  const sockets = await Promise.all(Array.from({ length: 50 }, () => webSocket(t, `${server.wsUrl}/c/prices`)));
  const publishers = Array.from({ length: 8 }, async (_, publisher) => {
    for (let n = 0; n < 25; n += 1) await server.publish("prices", `${publisher}:${n}`);
  });
  await Promise.all(publishers);
  const first = (await sockets[0].heard.take(200)).join();
  for (const { heard } of sockets.slice(1)) assert.equal((await heard.take(200)).join(), first);
  for (const { heard } of sources) assert.equal((await heard.take(200)).map(({ data }) => data).join(), first);
});
