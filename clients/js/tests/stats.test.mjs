// The figures that a client keeps of itself.

import assert from "node:assert/strict";
import test from "node:test";

import { source } from "./built.mjs";
import { settled, World } from "./world.mjs";

const { connect, stats } = await source("index.ts");

test("figures count what was told, and say how long the connection has been live", async () => {
  const world = new World();
  const client = connect("http://server", { world });
  const figures = stats(client, world.Date);
  client.channel("prices").on("message", () => {});
  await settled();
  world.source.ready("a.1");
  world.source.message("a.2", { data: "größer", time: world.now - 30 });
  world.source.message("a.2", { data: "größer" });
  world.source.message("a.3", { data: undefined, base64: "AAEC", time: world.now - 40 });
  world.source.say("$gap", { channels: ["prices"], reason: "trimmed", cursor: "a.9" });
  await world.pass(2_000);
  const live = { state: "live", transport: "sse", cursor: "a.9", messages: 2, bytes: 11, gaps: 1, connections: 1, live_ms: 2_000, latency_ms: 40 };
  assert.deepEqual(figures(), live);
  world.source.fail();
  assert.deepEqual(figures(), { ...live, state: "waiting", live_ms: 0 });
  await world.pass(500);
  world.source.ready("a.9");
  assert.deepEqual([figures().connections, client.stats().connections], [2, 2]);
});
