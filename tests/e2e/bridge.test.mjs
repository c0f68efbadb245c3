// An existing Node service that speaks plain Redis Pub/Sub, with `ioredis`, and a browser's clients on the other side of
// the bridge (docs/protocol.md, "Bridged channels").

import assert from "node:assert/strict";
import test from "node:test";

import { Redis } from "ioredis";

import { eventSource, webSocket } from "./harness/clients.mjs";
import { eventually } from "./harness/heard.mjs";
import { redisServer } from "./harness/redis.mjs";
import { tidewire } from "./harness/tidewire.mjs";

test("what a service publishes reaches browsers, and what they send reaches it and is answered", async (t) => {
  const port = await redisServer(t);
  const [speaker, listener] = [new Redis(port, "127.0.0.1"), new Redis(port, "127.0.0.1")];
  t.after(() => [speaker, listener].forEach((client) => client.disconnect()));
  const set = {
    "broker.url": `redis://127.0.0.1:${port}`,
    "broker.bridge": "global-chat-events,questions",
    "broker.bridge_publish": "questions",
  };
  const server = await tidewire(t, { set });
  const { heard } = eventSource(t, `${server.url}/c/global-chat-events`);
  await heard.find(({ type }) => type === "$ready");
  await eventually("the node hears", async () => (await speaker.publish("global-chat-events", "hello")) === 1);
  const hello = await heard.find(({ data }) => data === "hello");
  assert.equal(hello.type, "message");

  await listener.subscribe("questions");
  listener.on("message", (channel, text) => {
    if (text === "2+2") speaker.publish(channel, "4");
  });
  const browser = await webSocket(t, `${server.wsUrl}/c/questions`);
  browser.socket.send("2+2");
  assert.deepEqual(await browser.heard.take(2), ["2+2", "4"]);
});
