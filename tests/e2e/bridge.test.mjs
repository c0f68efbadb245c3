// An existing Node service that speaks plain Redis Pub/Sub, with `ioredis`, and a browser's clients on the other side of
// the bridge (docs/protocol.md, "Bridged channels").

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { Redis } from "ioredis";

import { eventSource, webSocket } from "./harness/clients.mjs";
import { eventually } from "./harness/heard.mjs";
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

async function redisServer(t) {
  const probe = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => probe.once("listening", resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  const folder = mkdtempSync(join(tmpdir(), "tidewire-e2e-redis-"));
  const flags = ["--bind", "127.0.0.1", "--port", String(port), "--save", "", "--dir", folder];
  const child = spawn("redis-server", flags, { stdio: "ignore" });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return port;
}
