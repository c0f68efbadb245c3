// A tab among others, whose trunk is in the test's hands: what it asks for, what it hears, and what it passes over.

import assert from "node:assert/strict";
import test from "node:test";

import { source } from "./built.mjs";
import { settled, World } from "./world.mjs";

const { connect, tabs } = await source("index.ts");

/** A tab that listens to `prices`, and the air between it and a trunk that lies in another tab. */
async function follower(options = {}) {
  const world = new World();
  const air = { said: [], hear: (note) => air.channel.onmessage?.({ data: note }) };
  world.BroadcastChannel = class {
    constructor() {
      air.channel = this;
    }
    postMessage(note) {
      air.said.push(note);
    }
    close() {
      air.isClosed = true;
    }
  };
  // Its own lock is free; the one of the trunk is held by another tab.
  const request = (name, _, granted) => (name.endsWith("http://server") ? new Promise(() => {}) : Promise.resolve().then(granted));
  world.navigator = { locks: { request } };
  const client = connect("http://server", { world, ...options, transports: [tabs("http://server", { world })] });
  const ids = [];
  client.on("message", ({ id }) => ids.push(id));
  client.channel("prices").on("message", () => {});
  await settled();
  const joined = (join, cursor) => air.hear({ type: "joined", tab: join.tab, round: join.round, cursor });
  const heard = (id, channel = "prices") =>
    air.hear({ type: "heard", what: "message", value: { channel, id, event: null, data: id, time: 1 } });
  const joins = () => air.said.filter(({ type }) => type === "join");
  return { world, client, air, ids, joined, heard, joins };
}

const pageOf = (ids) => ({ json: { messages: ids.map((id) => ({ channel: "prices", id, event: null, data: id, time: 1 })), cursor: ids.at(-1), more: false, gap: null } });

test("a tab that begins is live once the trunk has its channels, and asks the server for nothing", async () => {
  const { world, client, ids, joined, heard, joins } = await follower();
  assert.deepEqual(joins().map(({ names }) => names), [["prices"]]);
  assert.equal(client.state.state, "connecting");
  joined(joins()[0], "a.1");
  heard("a.2");
  heard("a.3", "news");
  assert.deepEqual([client.state.state, ids, client.cursor, world.requests.length], ["live", ["a.2"], "a.2", 0]);
});

test("what the trunk tells while a tab asks for what it missed comes after that, and once", async () => {
  const { world, air, ids, joined, heard, joins } = await follower({ cursor: "a.1" });
  let answer;
  world.answer = () => new Promise((resolve) => (answer = resolve));
  joined(joins()[0], "a.3");
  await settled();
  assert.match(world.requests[0].url, /cursor=a\.1&/);
  for (const id of ["a.3", "a.4"]) heard(id);
  answer(pageOf(["a.2", "a.3"]));
  await settled();
  assert.deepEqual(ids, ["a.2", "a.3", "a.4"]);
  air.hear({ type: "trunk" });
  await settled();
  assert.equal(joins().length, 2, "another tab has the trunk");
});

test("a tab that is told more than it can remember while it asks begins anew, and misses nothing", async () => {
  const { world, client, ids, joined, heard, joins } = await follower({ cursor: "a.1" });
  world.answer = () => new Promise(() => {});
  joined(joins()[0], "a.3");
  await settled();
  // Nothing was live yet, so a poll asks whether it is the server or the way there, and brings what there is.
  world.answer = () => pageOf(["a.2", "a.3"]);
  for (let n = 0; n <= 10_000; n += 1) heard(`a.${n + 4}`);
  await settled();
  assert.deepEqual([client.state.state, ids], ["waiting", ["a.2", "a.3"]]);
  world.answer = () => pageOf(["a.4", "a.5"]);
  await world.pass(1_000);
  joined(joins().at(-1), "a.5");
  await settled();
  assert.deepEqual([client.state.state, ids], ["live", ["a.2", "a.3", "a.4", "a.5"]]);
});

test("an answer to what a tab asked before it changed its channels is passed over", async () => {
  const { client, joined, joins } = await follower();
  client.channel("news").on("message", () => {});
  await settled();
  const [before, now] = joins();
  assert.deepEqual(now.names, ["prices", "news"]);
  joined(before, "a.1");
  assert.equal(client.state.state, "connecting");
  joined(now, "a.2");
  assert.equal(client.state.state, "live");
});

test("a tab whose trunk is cut is not live, and joins again with its own cursor", async () => {
  const { world, client, air, joined, heard, joins } = await follower();
  joined(joins()[0], "a.1");
  heard("a.2");
  air.hear({ type: "cut" });
  assert.equal(client.state.state, "waiting");
  await world.pass(500);
  world.answer = () => pageOf(["a.3"]);
  joined(joins().at(-1), "a.9");
  await settled();
  assert.match(world.requests[0].url, /cursor=a\.2&/);
  assert.deepEqual([client.state.state, client.cursor], ["live", "a.3"]);
});

test("a tab that listens no more leaves after a moment, and one that only changes its mind does not", async () => {
  const { world, client, air, joins } = await follower();
  const news = client.channel("news").on("message", () => {});
  await world.pass(5_000);
  assert.ok(!air.said.some(({ type }) => type === "left"));
  news();
  client.close();
  await world.pass(1_000);
  assert.deepEqual([air.said.at(-1).type, air.isClosed, joins().length], ["left", true, 2]);
});
