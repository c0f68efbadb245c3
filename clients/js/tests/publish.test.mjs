// What a page says: in order, once, and with the reason where it is refused.

import assert from "node:assert/strict";
import test from "node:test";

import { source } from "./built.mjs";
import { settled, World } from "./world.mjs";

const { connect } = await source("core.ts");

const receipt = { id: "a.9", channel: "chat", receivers: { sse: 1, ws: 0, poll: 0 } };

function page(options = {}) {
  const world = new World();
  world.answer = () => ({ json: receipt });
  const client = connect("http://server", { world, ...options });
  return { world, client, chat: client.channel("chat") };
}

/** A client whose WebSocket is live. */
async function onWebSocket(options = {}) {
  const opened = page({ transports: ["ws"], ...options });
  opened.chat.on("message", () => {});
  await settled();
  opened.world.socket.ready("a.1");
  return opened;
}

test("a publish is one POST with a key, and resolves to the receipt", async () => {
  const { world, chat } = page();
  assert.deepEqual(await chat.publish("hello", { event: "said" }), receipt);
  const [{ url, method, body, headers }] = world.requests;
  assert.deepEqual([url, method, body, headers["Tidewire-Event"]], ["http://server/c/chat", "POST", "hello", "said"]);
  assert.match(headers["Idempotency-Key"], /^[!-~]+$/);
});

test("bytes are binary, and what is neither bytes nor text is JSON", async () => {
  const { world, chat } = page();
  await chat.publish(new Uint8Array([0, 255]));
  await chat.publish(new Uint8Array([0, 255]).buffer);
  await chat.publish({ bid: 1 });
  await chat.publish(null);
  const sent = world.requests.map(({ body, headers }) => [typeof body === "string" ? body : [...body], headers["Content-Type"]]);
  assert.deepEqual(sent, [[[0, 255], "application/octet-stream"], [[0, 255], "application/octet-stream"], ['{"bid":1}', undefined], ["null", undefined]]);
});

test("the name of an event may have any letters", async () => {
  const { world, chat } = page();
  await chat.publish("x", { event: "größer" });
  const field = world.requests[0].headers["Tidewire-Event"];
  assert.equal(Buffer.from(field, "latin1").toString("utf8"), "größer");
});

test("a publish that was not answered is repeated with the same key, and the next one waits for it", async () => {
  const { world, chat } = page();
  const answers = [() => Promise.reject(new Error("cut")), () => ({ status: 503, json: { code: "draining" } }), () => ({ json: receipt })];
  world.answer = () => (answers.shift() ?? (() => ({ json: receipt })))();
  const first = chat.publish("1");
  world.chance = 0.5;
  const both = Promise.all([first, chat.publish("2")]);
  await world.pass(10_000);
  await both;
  assert.deepEqual(world.requests.map(({ body }) => body), ["1", "1", "1", "2"]);
  const keys = new Set(world.requests.map(({ headers }) => headers["Idempotency-Key"]));
  assert.equal(keys.size, 2);
});

test("without a key a publish is tried once, since a repetition might be heard twice", async () => {
  const { world, chat } = page();
  world.answer = () => Promise.reject(new Error("cut"));
  await assert.rejects(chat.publish("x", { key: null }));
  assert.equal(world.requests.length, 1);
  assert.ok(!("Idempotency-Key" in world.requests[0].headers));
});

test("a publish is given up at last", async () => {
  const { world, chat } = page();
  world.answer = () => Promise.reject(new Error("cut"));
  const refused = assert.rejects(chat.publish("x"), /cut/);
  await world.pass(120_000);
  await refused;
  assert.equal(world.requests.length, 6);
});

test("a refusal has its code and its words, and is not repeated", async () => {
  const { world, chat } = page();
  world.answer = () => ({ status: 403, json: { code: "forbidden", detail: "the grant allows nothing" } });
  await assert.rejects(chat.publish("x"), { code: "forbidden", status: 403, message: "the grant allows nothing", final: true });
  assert.equal(world.requests.length, 1);
});

test("a refused publish does not keep the next one back", async () => {
  const { world, chat } = page();
  world.answer = ({ body }) => (body === "bad" ? { status: 400, json: { code: "event_invalid" } } : { json: receipt });
  const bad = assert.rejects(chat.publish("bad"), { code: "event_invalid" });
  assert.deepEqual(await chat.publish("good"), receipt);
  await bad;
});

test("over a WebSocket a publish is a frame, and several leave without waiting for each other", async () => {
  const { world, chat } = await onWebSocket();
  const both = Promise.all([chat.publish("1", { event: "said", key: "k-1" }), chat.publish(new Uint8Array([255]))]);
  await settled();
  const [first, second] = world.socket.sent;
  assert.deepEqual(first, { type: "publish", channel: "chat", event: "said", key: "k-1", data: "1", id: 1 });
  assert.deepEqual([second.base64, second.id], ["/w==", 2]);
  for (const id of [1, 2]) world.socket.say({ type: "ack", id, message_id: `a.${id}`, channel: "chat", receivers: receipt.receivers });
  assert.deepEqual((await both).map(({ id }) => id), ["a.1", "a.2"]);
  assert.equal(world.requests.length, 0);
});

test("a frame whose answer was lost with its WebSocket is repeated by a request with the same key", async () => {
  const { world, chat } = await onWebSocket();
  const published = chat.publish("x");
  await settled();
  const [{ key }] = world.socket.sent;
  world.socket.fail();
  await world.pass(2_000);
  assert.deepEqual(await published, receipt);
  assert.equal(world.requests.at(-1).headers["Idempotency-Key"], key);
});

test("what a frame is refused for, a request says in full", async () => {
  const { world, chat } = await onWebSocket();
  const refused = assert.rejects(chat.publish("x"), { code: "forbidden", status: 403 });
  await settled();
  world.answer = () => ({ status: 403, json: { code: "forbidden" } });
  world.socket.say({ type: "error", id: 1, code: "forbidden", detail: "no" });
  await world.pass(1_000);
  await refused;
});

test("history is what the channel keeps, the newest or after a cursor", async () => {
  const { world, chat } = page();
  world.answer = () => ({ json: { messages: [{ channel: "chat", id: "a.1", event: null, base64: "/w==", time: 1 }], cursor: "a.1", more: false, gap: null } });
  const { messages, cursor } = await chat.history();
  assert.deepEqual([[...messages[0].data], cursor], [[255], "a.1"]);
  await chat.history({ tail: 5 });
  await chat.history({ cursor: "earliest" });
  assert.deepEqual(world.requests.map(({ url }) => url.split("?")[1]), ["tail=100&", "tail=5&", "cursor=earliest&"]);
});

test("presence is a list, and changes are told to the channel", async () => {
  const { world, client, chat } = page();
  const members = { channel: "chat", members: [{ subject: "alice", sessions: 1 }], count: 1, more: false };
  world.answer = () => ({ json: members });
  assert.deepEqual(await chat.presence(), members);
  assert.equal(world.requests[0].url, "http://server/v1/channels/chat/presence");
  const changes = [];
  chat.on("$presence", ({ event, subject }) => changes.push(`${event} ${subject}`));
  client.on("presence", ({ subject }) => changes.push(subject));
  await settled();
  world.source.say("$presence", { channel: "chat", event: "join", subject: "bob" });
  assert.deepEqual(changes, ["bob", "join bob"]);
});

test("over a WebSocket presence is asked for there, which works for a page that has nothing but tickets", async () => {
  const { world, chat } = await onWebSocket();
  const members = { channel: "chat", members: [], count: 0, more: false };
  const asked = chat.presence();
  await settled();
  assert.deepEqual(world.socket.sent, [{ type: "presence", channel: "chat", id: 1 }]);
  world.socket.say({ type: "ack", id: 1, ...members });
  assert.equal((await asked).count, 0);
});

test("a name that is no channel is refused before it becomes an address", () => {
  const { client } = page();
  for (const name of ["", "a,b", "a/b", "a b", "ä", "x".repeat(129), "../v1"]) assert.throws(() => client.channel(name), TypeError, name);
  assert.equal(client.channel("user:a=4F.~+@-_"), client.channel("user:a=4F.~+@-_"));
});

test("a channel is named like a property of every object, and is a channel all the same", async () => {
  const { world, client } = page();
  const heard = [];
  client.channel("__proto__").on("constructor", ({ data }) => heard.push(data));
  await settled();
  world.source.ready("a.1");
  world.source.message("a.2", { channel: "__proto__", event: "constructor" });
  world.source.message("a.3", { channel: "toString" });
  assert.deepEqual(heard, ["a.2"]);
});

test("a listener that throws is reported, and keeps nobody else from hearing", async () => {
  const { world, chat } = page();
  const heard = [];
  chat.on("message", () => {
    throw new Error("a bug of the page");
  });
  chat.on("message", ({ id }) => heard.push(id));
  await settled();
  world.source.ready("a.1");
  world.source.message("a.2", { channel: "chat" });
  assert.deepEqual(heard, ["a.2"]);
  await assert.rejects(world.pass(0), /a bug of the page/);
});

test("for await hears every message, and listens no more once it is left", async () => {
  const { world, client, chat } = page();
  const heard = [];
  const reading = (async () => {
    for await (const { id } of chat) {
      heard.push(id);
      if (heard.length === 3) break;
    }
  })();
  await settled();
  world.source.ready("a.1");
  for (const id of ["a.2", "a.3", "a.4", "a.5"]) world.source.message(id, { channel: "chat" });
  await reading;
  await settled();
  assert.deepEqual([heard, client.state.state], [["a.2", "a.3", "a.4"], "idle"]);
});

test("for await ends with the client, and throws what its channel is refused for", async () => {
  const read = async (chat) => {
    for await (const _ of chat);
    return "ended";
  };
  const closed = page();
  const ended = read(closed.chat);
  await settled();
  closed.client.close();
  assert.equal(await ended, "ended");
  const refused = page();
  const thrown = assert.rejects(read(refused.chat), { code: "forbidden" });
  await settled();
  refused.world.answer = () => ({ status: 403, json: { code: "forbidden" } });
  refused.world.source.fail();
  await thrown;
});

test("a reader that is too slow for its messages is told of a gap and gets the newest", async () => {
  const { world, chat } = page();
  const gaps = [];
  chat.on("$gap", ({ reason }) => gaps.push(reason));
  const reader = chat[Symbol.asyncIterator]();
  const first = reader.next();
  await settled();
  world.source.ready("a.1");
  for (let n = 2; n <= 1_003; n += 1) world.source.message(`a.${n}`, { channel: "chat" });
  assert.deepEqual(gaps, ["slow_consumer"]);
  assert.equal((await first).value.id, "a.1002");
  assert.equal((await reader.next()).value.id, "a.1003");
});
