// WebSocket as npm's `ws` meets it: raw, and `tidewire.v1` (docs/protocol.md, "WebSocket").

import assert from "node:assert/strict";
import test from "node:test";

import { v1, webSocket } from "./harness/clients.mjs";
import { tidewire } from "./harness/tidewire.mjs";
import { tunnel } from "./harness/tunnel.mjs";

test("raw: what one client sends reaches everyone, itself included, in one order", async (t) => {
  const server = await tidewire(t);
  const ada = await webSocket(t, `${server.wsUrl}/c/chat`);
  const ben = await webSocket(t, `${server.wsUrl}/c/chat`);
  assert.equal(ada.socket.protocol, "");
  ada.socket.send("hello");
  assert.equal(await ben.heard.next(), "hello");
  ben.socket.send("hi");
  await server.publish("chat", "welcome, both");
  for (const { heard } of [ada, ben]) await heard.find((item) => item === "welcome, both");
  assert.deepEqual(ada.heard.all, ben.heard.all);
});

test("raw: text stays text, binary stays binary, byte for byte", async (t) => {
  const server = await tidewire(t);
  const { socket, heard } = await webSocket(t, `${server.wsUrl}/c/mixed`);
  const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, n) => n & 0xff));
  socket.send(bytes);
  assert.deepEqual(await heard.next(), bytes);
  await server.publish("mixed", "grüße\r\n\u0000");
  assert.equal(await heard.next(), "grüße\r\n\u0000");
  await server.publish("mixed", Buffer.from([0xff, 0]), { "Content-Type": "application/octet-stream" });
  assert.deepEqual(await heard.next(), Buffer.from([0xff, 0]));
  socket.send("");
  assert.equal(await heard.next(), "");
});

test("raw: an id from anywhere is a cursor to connect with", async (t) => {
  const server = await tidewire(t);
  const { id } = await server.publish("chat", "seen");
  await server.publish("chat", "missed 1");
  await server.publish("chat", "missed 2");
  const { heard } = await webSocket(t, `${server.wsUrl}/c/chat?cursor=${id}`);
  assert.deepEqual(await heard.take(2), ["missed 1", "missed 2"]);
  await server.publish("chat", "live");
  assert.equal(await heard.next(), "live");
});

test("raw: a gap closes with 4410 and a cursor, which is good to come back with", async (t) => {
  const server = await tidewire(t, { set: { "history.messages_max": "2" } });
  const { id } = await server.publish("chat", "seen");
  for (const data of ["1", "2", "3", "4"]) await server.publish("chat", data);
  const late = await webSocket(t, `${server.wsUrl}/c/chat?cursor=${id}`);
  const { code, reason } = await late.heard.next();
  assert.equal(code, 4410);
  assert.match(reason, /^[a-z0-9]+\.[a-z0-9]+$/);
  const again = await webSocket(t, `${server.wsUrl}/c/chat?cursor=${reason}`);
  assert.deepEqual(await again.heard.take(2), ["3", "4"]);
});

test("raw: sending with several channels closes with 4400", async (t) => {
  const server = await tidewire(t);
  const { socket, heard } = await webSocket(t, `${server.wsUrl}/c/a,b`);
  await server.publish("b", "listening is fine");
  assert.equal(await heard.next(), "listening is fine");
  socket.send("to whom?");
  assert.equal((await heard.next()).code, 4400);
});

test("raw: a mebibyte of history arrives whole and in order", async (t) => {
  const server = await tidewire(t);
  const sent = Array.from({ length: 20 }, (_, n) => `${n} ${"y".repeat(60_000)}`);
  for (const data of sent) await server.publish("log", data);
  const { heard } = await webSocket(t, `${server.wsUrl}/c/log?cursor=earliest`);
  assert.deepEqual(await heard.take(sent.length), sent);
});

test("a ping is answered with its own payload", async (t) => {
  const server = await tidewire(t);
  const { socket } = await webSocket(t, `${server.wsUrl}/c/chat`);
  const pong = new Promise((resolve) => socket.once("pong", resolve));
  socket.ping("are you there");
  assert.equal((await pong).toString(), "are you there");
});

test("a quiet client is pinged, and one that answers stays", async (t) => {
  const server = await tidewire(t, { set: { "limits.ping": "200ms", "limits.silence_max": "1s" } });
  const { socket, heard } = await webSocket(t, `${server.wsUrl}/c/chat`);
  // Ten pings at 200 ms each are twice the silence that would have ended it.
  for (let pings = 0; pings < 10; pings += 1) await new Promise((resolve) => socket.once("ping", resolve));
  await server.publish("chat", "still here");
  assert.equal(await heard.next(), "still here");
});

test("a client that went away without a word frees its slot", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  const sockets = await Promise.all([1, 2, 3].map(() => webSocket(t, `${network.wsUrl}/c/chat`)));
  await server.receivers("chat", { ws: 3 });
  network.cut();
  await server.receivers("chat", { ws: 0 });
  for (const { heard } of sockets) assert.equal((await heard.find(({ code }) => code)).code, 1006);
});

test("v1: the subprotocol is chosen, and a connection begins with ready", async (t) => {
  const server = await tidewire(t);
  const { id } = await server.publish("prices", "before");
  const { socket, heard } = await v1(t, `${server.wsUrl}/c/prices`);
  assert.equal(socket.protocol, "tidewire.v1");
  assert.deepEqual(await heard.next(), { type: "ready", channels: ["prices"], cursor: id });
  const receipt = await server.publish("prices", "1", { "Tidewire-Event": "trade" });
  const { time, ...message } = await heard.next();
  assert.deepEqual(message, { type: "message", channel: "prices", id: receipt.id, event: "trade", data: "1" });
  assert.ok(Number.isInteger(time));
});

test("v1: channels are joined and left on an open socket, each answered by an ack", async (t) => {
  const server = await tidewire(t);
  const { heard, say } = await v1(t, `${server.wsUrl}/c/`);
  say({ type: "subscribe", channels: ["a", "b"], id: 1 });
  const joined = await heard.find(({ type }) => type === "ack");
  assert.equal(joined.id, 1);
  await server.publish("a", "1");
  assert.equal((await heard.next()).data, "1");

  say({ type: "unsubscribe", channels: ["a"], id: "leave" });
  assert.equal((await heard.find(({ type }) => type === "ack")).id, "leave");
  await server.publish("a", "not for us");
  await server.publish("b", "2");
  assert.equal((await heard.next()).data, "2");
  assert.deepEqual((await server.publish("a", "x")).receivers, { sse: 0, ws: 0, poll: 0 });
});

test("v1: a publish is answered by an ack with the id, and comes back like any message", async (t) => {
  const server = await tidewire(t);
  const { heard, say } = await v1(t, `${server.wsUrl}/c/chat`);
  await heard.find(({ type }) => type === "ready");
  say({ type: "publish", channel: "chat", event: "said", data: "hello", key: "k1", id: 7 });
  say({ type: "publish", channel: "chat", event: "said", data: "hello", key: "k1", id: 8 });
  say({ type: "publish", channel: "chat", base64: "AP8=", id: 9 });
  const frames = await heard.take(5);
  const acks = new Map(frames.filter(({ type }) => type === "ack").map((ack) => [ack.id, ack]));
  const messages = frames.filter(({ type }) => type === "message");
  assert.deepEqual(messages.map(({ data, base64, event }) => data ?? base64), ["hello", "AP8="]);
  assert.equal(messages[0].event, "said");
  assert.equal(acks.get(7).message_id, messages[0].id);
  assert.equal(acks.get(8).message_id, messages[0].id, "the same key, the same id");
  assert.equal(acks.get(9).message_id, messages[1].id);
});

test("r11_v1_a_subscribe_with_a_cursor_is_acked_with_what_was_missed", async (t) => {
  const server = await tidewire(t);
  const { id: cursor } = await server.publish("a", "seen");
  await server.publish("a", "missed");
  const { heard, say } = await v1(t, `${server.wsUrl}/c/`);
  say({ type: "subscribe", channels: ["a"], cursor, id: 1 });
  const ack = await heard.find(({ type }) => type === "ack");
  assert.deepEqual(ack.messages.map(({ data }) => data), ["missed"]);
  assert.equal(ack.more, false);
  assert.equal(ack.gap, null);
  assert.equal(ack.cursor, ack.messages[0].id);
});

test("v1: a gap is told in the stream, and the connection stays", async (t) => {
  const server = await tidewire(t, { set: { "history.messages_max": "2" } });
  const { id } = await server.publish("a", "seen");
  for (const data of ["1", "2", "3", "4"]) await server.publish("a", data);
  const { heard } = await v1(t, `${server.wsUrl}/c/a?cursor=${id}`);
  const gap = await heard.find(({ type }) => type === "gap");
  assert.deepEqual([gap.channels, gap.reason], [["a"], "trimmed"]);
  const first = await heard.find(({ type }) => type === "message");
  assert.deepEqual([first.data, (await heard.next()).data], ["3", "4"]);
});

test("v1: ping is answered by pong, and what cannot be understood by error, without ending the connection", async (t) => {
  const server = await tidewire(t);
  const { heard, say, socket } = await v1(t, `${server.wsUrl}/c/`);
  say({ type: "no such thing", id: 1 });
  const error = await heard.find(({ type }) => type === "error");
  assert.equal(error.id, 1);
  assert.match(error.code, /^[a-z_0-9]+$/);
  say({ type: "subscribe", channels: ["bad name"], id: 2 });
  assert.equal((await heard.find(({ type }) => type === "error")).code, "channel_invalid");
  socket.send("{ not json");
  await heard.find(({ type }) => type === "error");
  say({ type: "ping", id: 3 });
  assert.equal((await heard.find(({ type }) => type === "pong")).id, 3);
});

test("a draining server closes with 1012, and raw is told where it stood", async (t) => {
  const server = await tidewire(t, { set: { drain_within: "500ms" } });
  const raw = await webSocket(t, `${server.wsUrl}/c/chat`);
  const json = await v1(t, `${server.wsUrl}/c/chat`);
  await json.heard.find(({ type }) => type === "ready");
  server.terminate();
  const { code, reason } = await raw.heard.next();
  assert.equal(code, 1012);
  assert.match(reason, /^[a-z0-9]+\.[a-z0-9]+$/);
  assert.equal((await json.heard.find(({ code }) => code)).code, 1012);
  assert.deepEqual(await server.gone, { code: 0, signal: null }, server.said);
});
