// Tidewire as a real browser meets it, with nothing installed: Chromium's own EventSource, WebSocket and fetch.

import assert from "node:assert/strict";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { browser, eventSource, open, tab, webSocket } from "./tab.mjs";

const quickRetry = { "limits.retry": "50ms" };

test("an EventSource hears several channels live, from a page of another origin", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t));
  await eventSource(page, `${server.url}/c/prices,scores`, ["prices", "scores"]);
  await page.heard.find(({ type }) => type === "$ready");
  const { id } = await server.publish("prices", "1");
  await server.publish("scores", "2");
  assert.deepEqual(await page.heard.next(), { type: "prices", data: "1", id });
  assert.equal((await page.heard.next()).data, "2");
});

test("an EventSource on the connection that loaded the page works the same", async (t) => {
  const server = await tidewire(t);
  const page = await open(await browser(t), `${server.url}/livez`);
  await eventSource(page, "/c/prices");
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "1");
  assert.equal((await page.heard.next()).data, "1");
});

test("r4_after_a_cut_the_browser_resumes_by_itself_and_nothing_is_lost_or_repeated", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const network = await tunnel(t, server.port);
  const page = await tab(t, await browser(t));
  await eventSource(page, `${network.url}/c/prices`);
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "0");
  assert.equal((await page.heard.next()).data, "0");
  for (let round = 1; round <= 3; round += 1) {
    network.cutUntilHealed();
    for (const n of [1, 2, 3]) await server.publish("prices", `${round}.${n}`);
    network.heal();
    await page.heard.find(({ type }) => type === "$ready");
    const missed = (await page.heard.take(3)).map(({ data }) => data);
    assert.deepEqual(missed, [`${round}.1`, `${round}.2`, `${round}.3`]);
  }
  assert.ok(!page.heard.all.some(({ type }) => type === "$gap" || type === "closed"));
});

test("r5_a_trimmed_history_is_a_gap_before_what_is_left", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "history.messages_max": "2" } });
  const network = await tunnel(t, server.port);
  const page = await tab(t, await browser(t));
  await eventSource(page, `${network.url}/c/prices`);
  await page.heard.find(({ type }) => type === "$ready");
  network.cutUntilHealed();
  for (const data of ["1", "2", "3", "4"]) await server.publish("prices", data);
  network.heal();
  const gap = await page.heard.next();
  assert.deepEqual([gap.type, JSON.parse(gap.data).reason], ["$gap", "trimmed"]);
  await page.heard.find(({ type }) => type === "$ready");
  assert.deepEqual((await page.heard.take(2)).map(({ data }) => data), ["3", "4"]);
});

test("r7_a_restart_is_a_gap_and_the_browser_stays_with_us", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const page = await tab(t, await browser(t));
  await eventSource(page, `${server.url}/c/prices`);
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "before");
  await page.heard.find(({ data }) => data === "before");
  await server.restart();
  const gap = await page.heard.next();
  assert.deepEqual([gap.type, JSON.parse(gap.data).reason], ["$gap", "epoch"]);
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "after");
  assert.equal((await page.heard.next()).data, "after");
});

test("r6_a_heartbeat_moves_last_event_id_without_firing_an_event", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "limits.heartbeat": "200ms" } });
  const network = await tunnel(t, server.port);
  const page = await tab(t, await browser(t));
  await eventSource(page, `${network.url}/c/quiet`);
  await page.heard.find(({ type }) => type === "$ready");
  const { id } = await server.publish("elsewhere", "moves the log on");
  // More than one: the newest may still be on its way to the page when the network is cut.
  await eventually("heartbeats name the new position", () => network.sent.split(`id: ${id}\n\n`).length > 3);
  network.cut();
  const ready = await page.heard.next();
  assert.deepEqual([ready.type, ready.id], ["$ready", id], "no event between the first ready and this one");
  assert.match(network.heads.at(-1).toLowerCase(), new RegExp(`last-event-id: ${id}\r\n`));
});

test("binary is native on WebSocket and base64 on EventSource", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t));
  await webSocket(page, `${server.wsUrl}/c/bytes`);
  await page.heard.find((item) => item === "open");
  await page.page.evaluate(() => socket.send(new Uint8Array([0, 254, 255])));
  assert.deepEqual(await page.heard.next(), [0, 254, 255]);
  await page.page.evaluate(() => socket.send("text"));
  assert.equal(await page.heard.next(), "text");
  await eventSource(page, `${server.url}/c/bytes?tail=2&format=json`);
  const binary = await page.heard.find(({ type }) => type === "message");
  assert.equal(JSON.parse(binary.data).base64, Buffer.from([0, 254, 255]).toString("base64"));
});

test("r10_a_mebibyte_of_history_arrives_whole_on_both", async (t) => {
  const server = await tidewire(t);
  const sent = Array.from({ length: 900 }, (_, n) => `${n} ${"x".repeat(1200)}`);
  for (const data of sent) await server.publish("log", data);
  const context = await browser(t);
  const sse = await tab(t, context);
  await eventSource(sse, `${server.url}/c/log?cursor=earliest`);
  await sse.heard.find(({ type }) => type === "$ready");
  assert.deepEqual((await sse.heard.take(900)).map(({ data }) => data), sent);
  const ws = await tab(t, context);
  await webSocket(ws, `${server.wsUrl}/c/log?cursor=earliest`);
  await ws.heard.find((item) => item === "open");
  assert.deepEqual(await ws.heard.take(900), sent);
});

test("a tab that is closed frees its slots", async (t) => {
  const server = await tidewire(t);
  const context = await browser(t);
  await tab(t, context);
  const page = await tab(t, context);
  await eventSource(page, `${server.url}/c/prices`);
  await webSocket(page, `${server.wsUrl}/c/prices`);
  await server.receivers("prices", { sse: 1, ws: 1 });
  await page.page.close();
  await server.receivers("prices", {});
});

test("f27_over_http_1_a_seventh_stream_waits_until_one_of_six_is_closed", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t));
  const openOne = (n) => page.page.evaluate(([url, n]) => {
    const source = new EventSource(url);
    (globalThis.sources ??= []).push(source);
    source.addEventListener("$ready", () => tell(n));
  }, [`${server.url}/c/prices`, n]);
  for (let n = 1; n <= 7; n += 1) await openOne(n);
  const six = await page.heard.take(6);
  assert.equal(new Set(six).size, 6);
  await server.receivers("prices", { sse: 6 });
  await page.page.evaluate((n) => sources[n - 1].close(), six[0]);
  await page.heard.next();
});

test("a draining server sends browsers to the next process: EventSource returns, WebSocket hears 1012", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, drain_within: "500ms" } });
  const page = await tab(t, await browser(t));
  await eventSource(page, `${server.url}/c/prices`);
  await page.heard.find(({ type }) => type === "$ready");
  await webSocket(page, `${server.wsUrl}/c/prices`);
  await page.heard.find((item) => item === "open");
  server.terminate();
  assert.equal((await page.heard.find(({ code }) => code)).code, 1012);
  await server.gone;
  await server.start();
  await server.receivers("prices", { sse: 1 });
  await server.publish("prices", "the next process");
  await page.heard.find(({ data }) => data === "the next process");
  assert.ok(!page.heard.all.some(({ type }) => type === "closed"));
});

test("s2_a_foreign_site_can_neither_listen_nor_speak_through_its_visitor", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t), { host: "foreign.example" });
  await webSocket(page, `${server.wsUrl}/c/prices`);
  assert.equal((await page.heard.next()).code, 1006);
  await eventSource(page, `${server.url}/c/prices`);
  assert.equal((await page.heard.next()).type, "closed");
  const posted = await page.page.evaluate((url) => fetch(url, { method: "POST", mode: "no-cors", body: "x" }).then(() => "sent"), `${server.url}/c/prices`);
  assert.equal(posted, "sent", "a browser does send it");
  const { messages } = await (await fetch(`${server.url}/c/prices?cursor=earliest`)).json();
  assert.deepEqual(messages, [], "and it changed nothing");
});

test("s10_a_name_that_was_rebound_to_loopback_is_refused", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t), { host: "foreign.example" });
  await webSocket(page, `ws://foreign.example:${server.port}/c/prices`);
  assert.equal((await page.heard.next()).code, 1006);
  await eventSource(page, `http://foreign.example:${server.port}/c/prices`);
  assert.equal((await page.heard.next()).type, "closed");
});

test("s4_a_sandboxed_frame_whose_origin_is_null_is_refused", async (t) => {
  const server = await tidewire(t);
  const page = await tab(t, await browser(t));
  await page.page.evaluate((url) => {
    addEventListener("message", ({ data }) => tell(data));
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = `<script>
      const socket = new WebSocket(${JSON.stringify(url)});
      socket.onopen = () => parent.postMessage("open", "*");
      socket.onclose = ({ code }) => parent.postMessage(code, "*");
    </script>`;
    document.body.append(frame);
  }, `${server.wsUrl}/c/prices`);
  assert.equal(await page.heard.next(), 1006);
});

test("s51_the_demo_page_runs_under_its_own_content_security_policy", async (t) => {
  const server = await tidewire(t, { flags: ["--demo"] });
  const context = await browser(t);
  const page = await context.newPage();
  const complaints = [];
  // The link to the console is shown once it is known that there is one.
  const looked = [`${server.url}/admin`];
  page.on("console", (message) => {
    if (message.type() === "error" && !looked.includes(message.location().url)) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`${error}`));
  const streams = new Set();
  page.on("request", (request) => streams.add(new URL(request.url()).pathname));
  await page.goto(server.url);
  await eventually("the page listens", () => streams.has("/c/demo:host,demo:hello"));
  await page.getByText(/^CPU \d/).waitFor({ timeout: 15_000 });
  await server.publish("demo:hello", "<img src=x onerror=alert(1)> tides");
  await page.getByText("<img src=x onerror=alert(1)> tides").waitFor({ timeout: 15_000 });
  for (const path of await page.locator(".cards a").evaluateAll((links) => links.map((link) => link.href))) {
    await page.goto(path);
    await page.locator("h1").waitFor({ timeout: 15_000 });
  }
  assert.deepEqual(complaints, []);
});
