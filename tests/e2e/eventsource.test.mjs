// Server-Sent Events as npm's `eventsource` meets them (docs/protocol.md, "Server-Sent Events").

import assert from "node:assert/strict";
import test from "node:test";

import { eventSource } from "./harness/clients.mjs";
import { tidewire } from "./harness/tidewire.mjs";
import { tunnel } from "./harness/tunnel.mjs";

const quickRetry = { "limits.retry": "50ms" };

test("a published message arrives live, with the id its publisher was told", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  const receipt = await server.publish("prices", "42");
  assert.equal(receipt.channel, "prices");
  assert.deepEqual(receipt.receivers, { sse: 1, ws: 0, poll: 0 });
  assert.deepEqual(await heard.next(), { type: "message", data: "42", id: receipt.id });
});

test("$ready names the channels and the cursor where the stream starts", async (t) => {
  const server = await tidewire(t);
  const { id: last } = await server.publish("prices", "before");
  const { heard } = eventSource(t, `${server.url}/c/prices`);
  const ready = await heard.next();
  assert.equal(ready.type, "$ready");
  assert.deepEqual(JSON.parse(ready.data), { channels: ["prices"], cursor: last });
  assert.equal(ready.id, last);
});

test("on a single channel the publisher's event name is the event's type", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/prices`, ["trade"]);
  await heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "named", { "Tidewire-Event": "trade" });
  await server.publish("prices", "nameless");
  const [named, nameless] = await heard.take(2);
  assert.deepEqual([named.type, named.data], ["trade", "named"]);
  assert.deepEqual([nameless.type, nameless.data], ["message", "nameless"]);
});

test("several channels share one stream and each is an event type, in the order of publishing", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/prices,orders:42`, ["prices", "orders:42"]);
  const ready = await heard.next();
  assert.deepEqual(JSON.parse(ready.data).channels, ["prices", "orders:42"]);
  for (const [channel, data] of [["prices", "1"], ["orders:42", "2"], ["unrelated", "3"], ["prices", "4"]]) {
    await server.publish(channel, data, { "Tidewire-Event": "ignored-here" });
  }
  const events = await heard.take(3);
  assert.deepEqual(events.map(({ type, data }) => [type, data]), [["prices", "1"], ["orders:42", "2"], ["prices", "4"]]);
});

test("r4_after_a_cut_the_stream_resumes_and_nothing_is_lost_or_repeated", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const network = await tunnel(t, server.port);
  const { heard } = eventSource(t, `${network.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "0");
  assert.equal((await heard.next()).data, "0");

  for (let round = 1; round <= 3; round += 1) {
    network.cutUntilHealed();
    const missed = [1, 2, 3].map((n) => `${round}.${n}`);
    for (const data of missed) await server.publish("prices", data);
    network.heal();
    await heard.find(({ type }) => type === "$ready");
    const events = await heard.take(3);
    assert.deepEqual(events.map(({ type, data }) => [type, data]), missed.map((data) => ["message", data]));
  }

  const ids = heard.all.filter(({ type }) => type === "message").map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length, "no id came twice");
  assert.equal(heard.all.filter(({ type }) => type === "$gap").length, 0, "and no gap, since nothing was missing");
});

test("r6_a_cut_before_the_first_message_still_loses_nothing", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const network = await tunnel(t, server.port);
  const { heard } = eventSource(t, `${network.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  network.cutUntilHealed();
  await server.publish("prices", "while away");
  network.heal();
  assert.equal((await heard.find(({ type }) => type === "message")).data, "while away");
});

test("r5_after_history_was_trimmed_a_gap_comes_before_what_is_left", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "history.messages_max": "3" } });
  const network = await tunnel(t, server.port);
  const { heard } = eventSource(t, `${network.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "seen");
  await heard.find(({ data }) => data === "seen");

  network.cutUntilHealed();
  const ids = [];
  for (let n = 1; n <= 10; n += 1) ids.push((await server.publish("prices", `${n}`)).id);
  network.heal();

  const gap = await heard.next();
  assert.equal(gap.type, "$gap");
  assert.deepEqual(JSON.parse(gap.data), { channels: ["prices"], reason: "trimmed", cursor: gap.id });
  const ready = await heard.next();
  assert.deepEqual([ready.type, ready.id], ["$ready", gap.id]);
  const left = await heard.take(3);
  assert.deepEqual(left.map(({ data, id }) => [data, id]), [["8", ids[7]], ["9", ids[8]], ["10", ids[9]]]);
});

test("r7_after_a_restart_a_gap_says_epoch_and_the_stream_goes_on", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const { heard } = eventSource(t, `${server.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "before");
  await heard.find(({ data }) => data === "before");

  await server.restart();
  const gap = await heard.next();
  assert.equal(gap.type, "$gap");
  assert.deepEqual(JSON.parse(gap.data), { channels: ["prices"], reason: "epoch", cursor: gap.id });
  await heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "after");
  assert.equal((await heard.next()).data, "after");
});

test("s48_an_unreadable_cursor_is_a_gap_and_never_an_error_status", async (t) => {
  const server = await tidewire(t);
  for (const cursor of ["nonsense", "1.1", "%00", "9".repeat(4000), "..", "-1.5", "zz.zz%0aid: 1"]) {
    const { source, heard } = eventSource(t, `${server.url}/c/prices?cursor=${cursor}`);
    const gap = await heard.next();
    assert.equal(gap.type, "$gap", cursor);
    assert.equal(JSON.parse(gap.data).reason, "epoch", cursor);
    source.close();
  }
});

test("r10_a_mebibyte_of_history_arrives_page_after_page_whole_and_in_order", async (t) => {
  const server = await tidewire(t);
  const sent = Array.from({ length: 900 }, (_, n) => `${n} ${"x".repeat(1200)}`);
  for (const data of sent) await server.publish("log", data);
  const { heard } = eventSource(t, `${server.url}/c/log?cursor=earliest`);
  const ready = await heard.next();
  assert.deepEqual([ready.type, ready.id], ["$ready", ""], "a start with `earliest` has no id yet");
  const got = await heard.take(sent.length);
  assert.deepEqual(got.map(({ data }) => data), sent);
  await server.publish("log", "live");
  assert.equal((await heard.next()).data, "live");
});

test("tail asks for the newest messages over all channels, merged in order", async (t) => {
  const server = await tidewire(t);
  for (const [channel, data] of [["a", "1"], ["b", "2"], ["a", "3"], ["b", "4"]]) await server.publish(channel, data);
  const { heard } = eventSource(t, `${server.url}/c/a,b?tail=3`, ["a", "b"]);
  await heard.find(({ type }) => type === "$ready");
  const newest = await heard.take(3);
  assert.deepEqual(newest.map(({ type, data }) => [type, data]), [["b", "2"], ["a", "3"], ["b", "4"]]);
});

test("s45_line_breaks_and_leading_spaces_survive_and_cannot_split_an_event", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/text`);
  await heard.find(({ type }) => type === "$ready");
  const hostile = " two leading\n\nevent: $gap\ndata: forged\nid: 1.1\n\n: comment\r\nretry: 1\r  end";
  await server.publish("text", hostile);
  assert.equal((await heard.next()).data, hostile.replace(/\r\n?/g, "\n"));
  await server.publish("text", "");
  assert.equal((await heard.next()).data, "", "an empty message is a message");
});

test("binary is base64 in data, and an envelope tells it from text", async (t) => {
  const server = await tidewire(t);
  const plain = eventSource(t, `${server.url}/c/bytes`);
  const wrapped = eventSource(t, `${server.url}/c/bytes?format=json`);
  for (const { heard } of [plain, wrapped]) await heard.find(({ type }) => type === "$ready");
  const bytes = Buffer.from([0, 1, 0xfe, 0xff, 10, 13]);
  const { id } = await server.publish("bytes", bytes, { "Content-Type": "application/octet-stream" });
  assert.equal((await plain.heard.next()).data, bytes.toString("base64"));
  const { time, ...envelope } = JSON.parse((await wrapped.heard.next()).data);
  assert.deepEqual(envelope, { channel: "bytes", id, event: null, base64: bytes.toString("base64") });
  assert.ok(Number.isInteger(time) && Math.abs(Date.now() - time) < 60_000);
});

test("an envelope holds JSON exactly as it was published, as a string", async (t) => {
  const server = await tidewire(t);
  const { heard } = eventSource(t, `${server.url}/c/orders?format=json`);
  await heard.find(({ type }) => type === "$ready");
  const text = '{ "b":1,\n "a" : "é\\u0000\u2028" , "a":2 }';
  await server.publish("orders", text, { "Content-Type": "application/json", "Tidewire-Event": "changed" });
  const { type, data } = await heard.next();
  assert.equal(type, "message");
  const envelope = JSON.parse(data);
  assert.equal(envelope.data, text);
  assert.equal(envelope.event, "changed");
});

test("a closed EventSource frees its slot at once", async (t) => {
  const server = await tidewire(t);
  const sources = Array.from({ length: 5 }, () => eventSource(t, `${server.url}/c/prices`));
  for (const { heard } of sources) await heard.find(({ type }) => type === "$ready");
  await server.receivers("prices", { sse: 5 });
  for (const { source } of sources) source.close();
  await server.receivers("prices", { sse: 0 });
});

test("a draining server ends streams cleanly and EventSource comes back to the next process", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, drain_within: "500ms" } });
  const { source, heard } = eventSource(t, `${server.url}/c/prices`);
  await heard.find(({ type }) => type === "$ready");
  server.terminate();
  assert.deepEqual(await server.gone, { code: 0, signal: null }, server.said);
  await server.start();
  await server.receivers("prices", { sse: 1 });
  await server.publish("prices", "the next process");
  await heard.find(({ data }) => data === "the next process");
  assert.equal(source.readyState, source.OPEN);
});
