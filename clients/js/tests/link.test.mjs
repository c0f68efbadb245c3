// One connection, over whatever transport there is: how it begins, stands, falls and comes back.

import assert from "node:assert/strict";
import test from "node:test";

import { source } from "./built.mjs";
import { settled, World } from "./world.mjs";

const { connect } = await source("core.ts");

/** A client in a world of its own that listens to `names`, and what its page was told. */
async function page(options = {}, names = ["prices"]) {
  const world = new World();
  const client = connect("http://server", { world, ...options });
  const told = { ids: [], gaps: [], states: [] };
  client.on("message", ({ id }) => told.ids.push(id));
  client.on("gap", ({ reason, channels }) => told.gaps.push(`${reason} ${channels}`));
  client.on("state", ({ state, transport }) => told.states.push(`${state} ${transport}`));
  for (const name of names) client.channel(name).on("message", () => {});
  await settled();
  return { world, client, told };
}

const pageOf = (ids, more = {}) => ({
  json: { messages: ids.map((id) => ({ channel: "prices", id, event: null, data: id, time: 1 })), cursor: ids.at(-1) ?? "now.0", more: false, gap: null, ...more },
});

test("nothing is connected before somebody listens, nor after the last one has gone", async () => {
  const { world, client, told } = await page({}, []);
  assert.equal(world.sources.length, 0);
  const off = client.channel("prices").on("message", () => {});
  await settled();
  assert.equal(world.source.url, "http://server/c/prices?format=json&");
  off();
  await settled();
  assert.ok(world.source.is_closed);
  assert.equal(told.states.at(-1), "idle sse");
});

test("all that a page asks for in one go is one connection", async () => {
  const { world } = await page({}, ["prices", "news", "scores"]);
  assert.equal(world.sources.length, 1);
  assert.match(world.source.url, /\/c\/prices,news,scores\?/);
});

test("a page is live once the server says so, and hears messages by their event", async () => {
  const { world, client, told } = await page();
  const trades = [];
  client.channel("prices").on("trade", ({ data }) => trades.push(data));
  assert.deepEqual(told.states, ["connecting sse"]);
  world.source.ready("a.1");
  assert.deepEqual([client.state.state, client.cursor], ["live", "a.1"]);
  world.source.message("a.2", { event: "trade", data: "42.10" });
  world.source.message("a.3");
  assert.deepEqual([trades, told.ids], [["42.10"], ["a.2", "a.3"]]);
});

test("binary is bytes, and text is the exact text", async () => {
  const { world, client } = await page();
  const heard = [];
  client.channel("prices").on("message", ({ data }) => heard.push(data));
  world.source.ready("a.1");
  world.source.message("a.2", { data: undefined, base64: "AP7/" });
  world.source.message("a.3", { data: '{"bid":1}' });
  assert.deepEqual(heard, [new Uint8Array([0, 254, 255]), '{"bid":1}']);
});

test("a stream that was cut comes back with the last id that was received", async () => {
  const { world, told } = await page();
  world.source.ready("a.1");
  world.source.message("a.2");
  await world.pass(60_000);
  world.source.fail();
  assert.equal(told.states.at(-1), "waiting sse");
  assert.equal(world.next_ms, 500);
  await world.pass(500);
  assert.equal(world.source.query.get("cursor"), "a.2");
  world.source.ready("a.2");
  assert.equal(told.states.at(-1), "live sse");
});

test("an id may step back, and then what follows is told once", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  for (const id of ["a.2", "a.3", "a.2", "a.3", "a.4"]) world.source.message(id);
  assert.deepEqual(told.ids, ["a.2", "a.3", "a.4"]);
  world.source.message("a.3");
  assert.equal(client.cursor, "a.3", "the last that was received, not the greatest");
});

test("the same id on another channel is another message", async () => {
  const { world, told } = await page({}, ["prices", "news"]);
  world.source.ready("a.1");
  world.source.message("a.2");
  world.source.message("a.2", { channel: "news" });
  assert.deepEqual(told.ids, ["a.2", "a.2"]);
});

test("bridged messages have no id and move no cursor", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  world.source.message(null);
  world.source.message(null);
  assert.deepEqual([told.ids, client.cursor], [[null, null], "a.1"]);
});

test("what a connection that is over still brings is heard from the next one", async () => {
  const { world, told } = await page();
  const first = world.source;
  first.ready("a.1");
  first.fail();
  first.is_closed = false;
  first.message("a.2");
  assert.deepEqual(told.ids, []);
});

test("waits double from half a second to twenty, with full jitter, until a connection has held", async () => {
  const { world } = await page();
  world.answer = () => Promise.reject(new Error("no network"));
  const waits = [];
  for (let n = 0; n < 8; n += 1) {
    world.source.fail();
    await settled();
    waits.push(world.next_ms);
    await world.pass(world.next_ms);
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
  world.chance = 0.25;
  world.source.ready("a.1");
  world.source.fail();
  assert.equal(world.next_ms, 5_000, "it was accepted, which proves nothing");
  await world.pass(5_000);
  world.source.ready("a.1");
  await world.pass(5_001);
  world.source.fail();
  assert.equal(world.next_ms, 125);
});

test("an EventSource that the browser has closed for good is built anew while the way there answers 502", async () => {
  const { world, told } = await page();
  world.answer = () => ({ status: 502 });
  for (let n = 0; n < 5; n += 1) {
    world.source.fail();
    await settled();
    await world.pass(world.next_ms);
  }
  assert.equal(world.sources.length, 6);
  assert.ok(told.states.every((state) => state.endsWith(" sse")), `${told.states}`);
  world.source.ready("a.1");
  assert.equal(told.states.at(-1), "live sse");
});

test("a stream that is held back for three seconds while a poll is answered makes way for the next transport", async () => {
  const { world, told } = await page();
  world.answer = () => pageOf(["a.7"]);
  await world.pass(3_000);
  assert.ok(world.source.is_closed);
  assert.deepEqual(told.ids, ["a.7"], "what the poll brought is told");
  assert.equal(world.socket.url, "ws://server/c/prices?format=json&cursor=a.7&");
  assert.deepEqual(world.socket.protocols, ["tidewire.v1"]);
  world.socket.ready("a.7");
  assert.equal(told.states.at(-1), "live ws");
});

test("where Upgrade is blocked too, polls wait, and where waiting is cut off they do not", async () => {
  const { world, told } = await page();
  world.answer = ({ url }) => (url.includes("wait=") ? new Promise(() => {}) : pageOf([]));
  await world.pass(3_000);
  for (let n = 0; n < 2; n += 1) {
    world.socket.fail();
    await world.pass(1_000);
  }
  assert.equal(told.states.at(-1), "live longpoll");
  assert.match(world.requests.at(-1).url, /\/c\/prices\?cursor=now\.0&wait=25$/);
  assert.equal(world.sockets.length, 2);
});

test("one failure of a WebSocket is no reason to give it up", async () => {
  const { world, told } = await page({ transports: ["ws", "longpoll"] });
  world.socket.fail();
  await world.pass(500);
  world.socket.ready("a.1");
  assert.equal(told.states.at(-1), "live ws");
});

test("a server that does not answer is waited for on the same transport", async () => {
  const { world, told } = await page();
  world.answer = () => Promise.reject(new Error("no network"));
  await world.pass(60_000);
  assert.ok(told.states.every((state) => state.endsWith(" sse")));
  assert.equal(world.sockets.length, 0);
});

test("a transport that was fallen back to is left again when it fails, or when the network is another", async () => {
  for (const event of ["fails", "online"]) {
    const { world, told } = await page();
    await world.pass(3_000);
    world.socket.ready("a.1");
    if (event === "fails") world.socket.fail();
    else world.events.dispatchEvent(new Event("online"));
    await world.pass(500);
    assert.equal(told.states.at(-1), "connecting sse", event);
  }
});

test("a page that names one transport stays with it", async () => {
  const { world, told } = await page({ transports: "sse" });
  await world.pass(30_000);
  assert.ok(world.sources.length > 1);
  assert.ok(told.states.every((state) => state.endsWith(" sse")));
});

test("a refusal that no repetition changes is the end, until the page asks for something else", async () => {
  const { world, client, told } = await page();
  world.answer = () => ({ status: 403, json: { code: "forbidden", detail: "the grant allows `news`; asked was `prices`" } });
  world.source.fail();
  await world.pass(120_000);
  assert.equal(told.states.at(-1), "refused sse");
  assert.deepEqual([client.state.error.code, client.state.error.final], ["forbidden", true]);
  assert.equal(world.sources.length, 1);
  client.channel("news").on("message", () => {});
  await settled();
  assert.equal(world.sources.length, 2);
});

test("in dev mode a stream itself says why it was refused", async () => {
  const { world, client } = await page();
  world.source.say("$refused", { status: 403, code: "origin_refused", detail: "not yours" });
  await settled();
  assert.deepEqual([client.state.state, client.state.error.code], ["refused", "origin_refused"]);
});

test("a close code that says never is obeyed", async () => {
  const { world, client } = await page({ transports: ["ws"] });
  world.socket.ready("a.1");
  world.socket.fail(4403, "forbidden");
  await settled();
  assert.deepEqual([client.state.state, client.state.error.code], ["refused", "forbidden"]);
});

test("a server that asks to be left alone for a while is", async () => {
  const { world } = await page();
  world.answer = () => ({ status: 503, json: { code: "overloaded" }, headers: { "Retry-After": "7" } });
  world.source.fail();
  await settled();
  assert.equal(world.next_ms, 7_000);
});

test("a gap is told before what follows, by name and reason, and moves the cursor", async () => {
  const { world, client, told } = await page();
  const of_channel = [];
  client.channel("prices").on("$gap", ({ reason }) => of_channel.push(reason));
  world.source.ready("a.1");
  world.source.say("$gap", { channels: ["prices"], reason: "trimmed", cursor: "a.40" });
  assert.deepEqual([told.gaps, of_channel, client.cursor], [["trimmed prices"], ["trimmed"], "a.40"]);
});

test("a channel that joins begins now: the others are brought up to now by a poll first", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  world.answer = ({ url }) => (url.includes("a.1") ? pageOf(["a.2"], { more: true }) : pageOf([], { cursor: "a.9" }));
  client.channel("news").on("message", () => {});
  await settled();
  const asked = world.requests.map(({ url }) => url);
  assert.deepEqual(asked, ["http://server/c/prices?cursor=a.1&", "http://server/c/prices?cursor=a.2&"]);
  assert.deepEqual(told.ids, ["a.2"]);
  assert.match(world.source.url, /\/c\/prices,news\?/);
  assert.equal(world.source.query.get("cursor"), "a.9");
  world.source.say("$gap", { channels: ["news"], reason: "transient", cursor: null });
  assert.deepEqual(told.gaps, [], "it cannot have missed anything");
});

test("when every channel is another one, nothing of the past is asked for", async () => {
  const { world, client } = await page({}, []);
  const off = client.channel("prices").on("message", () => {});
  await settled();
  world.source.ready("a.1");
  off();
  client.channel("news").on("message", () => {});
  await settled();
  assert.equal(world.requests.length, 0);
  assert.equal(world.source.query.get("cursor"), null);
});

test("a page that was made from a cursor begins there, and is told of a gap at once", async () => {
  const { world, told } = await page({ cursor: "a.5" });
  assert.equal(world.source.query.get("cursor"), "a.5");
  world.source.say("$gap", { channels: ["prices"], reason: "epoch", cursor: "b.1" });
  assert.deepEqual(told.gaps, ["epoch prices"]);
});

test("much to publish changes over to a WebSocket, and nothing is lost or told twice on the way", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  world.source.message("a.2");
  world.answer = () => ({ json: { id: "a.9", channel: "prices", receivers: {} } });
  for (let n = 0; n < 10; n += 1) await client.channel("prices").publish("x");
  await settled();
  assert.equal(world.socket.query.get("cursor"), "a.2");
  assert.ok(world.source.is_closed);
  world.socket.ready("a.2");
  for (const id of ["a.2", "a.3"]) world.socket.message(id);
  assert.deepEqual(told.ids, ["a.2", "a.3"]);
});

test("so does one binary message, but not what is published at leisure", async () => {
  const { world, client } = await page();
  world.source.ready("a.1");
  world.answer = () => ({ json: { id: "a.9", channel: "prices", receivers: {} } });
  for (let n = 0; n < 20; n += 1) {
    await client.channel("prices").publish("x");
    await world.pass(2_000);
  }
  assert.equal(world.sockets.length, 0);
  await client.channel("prices").publish(new Uint8Array([1]));
  assert.equal(world.sockets.length, 1);
});

test("if Upgrade is blocked when a page changes over, it returns to what worked", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  world.answer = () => pageOf([]);
  client.channel("prices").publish(new Uint8Array([1]));
  await settled();
  for (let n = 0; n < 2; n += 1) {
    world.socket.fail();
    await world.pass(1_000);
  }
  assert.equal(told.states.at(-1), "connecting sse");
  world.source.ready("a.1");
  await client.channel("prices").publish(new Uint8Array([1]));
  assert.equal(world.sockets.length, 2, "and does not try again on this network");
});

test("a network that is back is used at once", async () => {
  const { world, told } = await page();
  world.answer = () => Promise.reject(new Error("no network"));
  for (let n = 0; n < 6; n += 1) {
    world.source.fail();
    await settled();
    await world.pass(world.next_ms);
  }
  world.source.fail();
  await settled();
  const before = world.sources.length;
  world.events.dispatchEvent(new Event("online"));
  await settled();
  assert.equal(world.sources.length, before + 1);
  assert.equal(told.states.at(-1), "connecting sse");
});

test("a page that is shown again does not trust a connection that was silent for long", async () => {
  const { world } = await page();
  world.source.ready("a.1");
  const look = async (hidden) => {
    world.document.hidden = hidden;
    world.document.dispatchEvent(new Event("visibilitychange"));
    await settled();
  };
  await look(true);
  await world.pass(44_000);
  await look(false);
  assert.equal(world.sources.length, 1);
  await look(true);
  await world.pass(60_000);
  assert.equal(world.sources.length, 1, "not while it is hidden");
  await look(false);
  assert.equal(world.sources.length, 2);
  assert.equal(world.source.query.get("cursor"), "a.1");
});

test("a page out of the browser's memory connects anew", async () => {
  const { world } = await page();
  world.source.ready("a.1");
  world.events.dispatchEvent(new Event("pageshow"));
  await settled();
  assert.equal(world.sources.length, 1, "it is only being shown for the first time");
  world.events.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  await settled();
  assert.equal(world.sources.length, 2);
});

test("a WebSocket that does not answer is given up after a minute of silence", async () => {
  const { world, told } = await page({ transports: ["ws"] });
  world.socket.ready("a.1");
  await world.pass(40_000);
  assert.deepEqual(world.socket.sent.at(-1), { type: "ping" });
  world.socket.say({ type: "pong", id: null });
  await world.pass(40_000);
  assert.equal(told.states.at(-1), "live ws");
  await world.pass(20_000);
  assert.equal(told.states.at(-1), "waiting ws");
});

test("a long poll asks again with the cursor of the answer", async () => {
  const answers = [pageOf([]), pageOf(["a.1", "a.2"])];
  const world = new World();
  world.answer = () => answers.shift() ?? new Promise(() => {});
  const { told, client } = await page({ world, transports: "longpoll" });
  assert.deepEqual(world.requests.map(({ url }) => url.split("?")[1]), ["", "cursor=now.0&wait=25", "cursor=a.2&wait=25"]);
  assert.deepEqual([told.ids, client.cursor], [["a.1", "a.2"], "a.2"]);
});

test("a long poll whose wait is cut short by something on the way does not ask in a hurry", async () => {
  const world = new World();
  world.answer = () => pageOf([]);
  await page({ world, transports: "longpoll" });
  await world.pass(30_000);
  assert.equal(world.requests.length, 8);
});

test("a poll that is never answered is given up", async () => {
  const world = new World();
  world.answer = ({ url }) => (url.includes("wait=") ? new Promise(() => {}) : pageOf([]));
  const { told } = await page({ world, transports: "longpoll" });
  await world.pass(39_999);
  assert.equal(told.states.at(-1), "live longpoll");
  await world.pass(1);
  assert.equal(told.states.at(-1), "waiting longpoll");
});

test("a short poll rests between its questions, and repeats the address of one that brought nothing", async () => {
  const world = new World();
  let n = 0;
  world.answer = () => pageOf([], { cursor: `a.${(n += 1)}` });
  await page({ world, transports: "poll", poll_ms: 1_000 });
  await world.pass(2_500);
  assert.deepEqual(world.requests.map(({ url }) => url.split("?")[1]), ["", "cursor=a.1&", "cursor=a.1&"]);
});

test("a listener that closes the client in the middle of a page hears no more of it", async () => {
  const world = new World();
  world.answer = () => pageOf(["a.1", "a.2"]);
  const client = connect("http://server", { world, transports: "poll" });
  const ids = [];
  client.channel("prices").on("message", ({ id }) => {
    ids.push(id);
    client.close();
  });
  await world.pass(20_000);
  assert.deepEqual([ids, world.requests.length], [["a.1"], 1]);
});

test("nothing happens after the end", async () => {
  const { world, client, told } = await page();
  world.source.ready("a.1");
  client.close();
  assert.ok(world.source.is_closed);
  world.events.dispatchEvent(new Event("online"));
  client.channel("news").on("message", () => {});
  await world.pass(60_000);
  assert.deepEqual([told.states.at(-1), world.sources.length], ["closed sse", 1]);
  await assert.rejects(client.channel("news").publish("x"), { code: "closed" });
});
