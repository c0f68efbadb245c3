// Tidewire as Firefox meets it, with nothing installed: its own EventSource, WebSocket and fetch. Where it is not as
// Chromium is, the test says so.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { guarded, token } from "../e2e/harness/keys.mjs";
import { redisServer } from "../e2e/harness/redis.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { firefox } from "./firefox.mjs";
import { site } from "./pages.mjs";
import { SHOWN, showing } from "./pages_shown.mjs";
import { each, eventSources } from "./streams.mjs";
import { alone, eventSource, open, tab, webSocket } from "./tab.mjs";

const quickRetry = { "limits.retry": "50ms" };
const fox = await firefox({ after });
const page = async (t) => tab(t, await alone(t, fox));
const ready = ({ heard }) => heard.find(({ type }) => type === "$ready");
const texts = async ({ heard }, count) => (await heard.take(count)).map(({ data }) => data);

test("an EventSource hears several channels live, from a page of another origin", async (t) => {
  const server = await tidewire(t);
  const tab = await page(t);
  await eventSource(tab, `${server.url}/c/prices,scores`, ["prices", "scores"]);
  await ready(tab);
  const { id } = await server.publish("prices", "1");
  await server.publish("scores", "2");
  assert.deepEqual(await tab.heard.next(), { type: "prices", data: "1", id });
  assert.equal((await tab.heard.next()).data, "2");
});

test("r4_after_a_cut_firefox_resumes_by_itself_and_nothing_is_lost_or_repeated", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  await eventSource(tab, `${network.url}/c/prices`);
  await ready(tab);
  await server.publish("prices", "0");
  assert.deepEqual(await texts(tab, 1), ["0"]);
  for (let round = 1; round <= 3; round += 1) {
    network.cutAndHold();
    for (const n of [1, 2, 3]) await server.publish("prices", `${round}.${n}`);
    network.heal();
    await ready(tab);
    assert.deepEqual(await texts(tab, 3), [`${round}.1`, `${round}.2`, `${round}.3`]);
  }
  assert.ok(!tab.heard.all.some(({ type }) => type === "$gap" || type === "closed"));
});

test("r5_a_trimmed_history_is_a_gap_before_what_is_left", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "history.messages_max": "2" } });
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  await eventSource(tab, `${network.url}/c/prices`);
  await ready(tab);
  network.cutAndHold();
  for (const data of ["1", "2", "3", "4"]) await server.publish("prices", data);
  network.heal();
  const gap = await tab.heard.next();
  assert.deepEqual([gap.type, JSON.parse(gap.data).reason], ["$gap", "trimmed"]);
  await ready(tab);
  assert.deepEqual(await texts(tab, 2), ["3", "4"]);
});

test("firefox_passes_over_an_id_without_data_so_a_heartbeat_moves_nothing_and_yet_nothing_is_missed", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "limits.heartbeat": "200ms" } });
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  await eventSource(tab, `${network.url}/c/quiet`);
  const { id } = await ready(tab);
  const elsewhere = await server.publish("elsewhere", "moves the log on");
  await eventually("heartbeats name the new position", () => network.sent.split(`id: ${elsewhere.id}\n\n`).length > 3);
  network.cutAndHold();
  await server.publish("quiet", "while away");
  network.heal();
  await tab.heard.find(({ data }) => data === "while away");
  assert.match(network.heads.at(-1).toLowerCase(), new RegExp(`last-event-id: ${id}\r\n`));
  assert.deepEqual(tab.heard.all.map(({ type }) => type), ["$ready", "$ready", "message"]);
});

test("r7_a_server_that_was_killed_and_started_again_is_a_gap_and_firefox_stays_with_it", async (t) => {
  const server = await tidewire(t, { set: quickRetry });
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  await eventSource(tab, `${network.url}/c/prices`);
  await ready(tab);
  await server.publish("prices", "before");
  await tab.heard.find(({ data }) => data === "before");
  network.hold();
  await server.restart();
  network.heal();
  const gap = await tab.heard.next();
  assert.deepEqual([gap.type, JSON.parse(gap.data).reason], ["$gap", "epoch"]);
  await ready(tab);
  await server.publish("prices", "after");
  assert.deepEqual(await texts(tab, 1), ["after"]);
});

test("firefox_gives_up_where_its_first_attempt_to_come_back_fails_and_a_new_event_source_has_missed_nothing", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, "broker.url": `redis://127.0.0.1:${await redisServer(t)}` } });
  const tab = await page(t);
  await eventSource(tab, `${server.url}/c/prices`);
  await ready(tab);
  const { id } = await server.publish("prices", "before");
  await tab.heard.find(({ data }) => data === "before");
  await server.crash();
  // Chromium would try again.
  assert.equal((await tab.heard.next()).type, "closed");
  await server.start();
  await server.publish("prices", "meanwhile");
  await eventSource(tab, `${server.url}/c/prices?cursor=${id}`);
  await ready(tab);
  assert.deepEqual(await texts(tab, 1), ["meanwhile"]);
  assert.ok(!tab.heard.all.some(({ type }) => type === "$gap"));
});

test("a draining server sends firefox to the next process: EventSource returns, WebSocket hears 1012", async (t) => {
  const server = await tidewire(t, { set: { ...quickRetry, drain_within: "500ms" } });
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  await eventSource(tab, `${network.url}/c/prices`);
  await ready(tab);
  await webSocket(tab, `${network.wsUrl}/c/prices`);
  await tab.heard.find((item) => item === "open");
  network.hold();
  server.terminate();
  assert.equal((await tab.heard.find(({ code }) => code)).code, 1012);
  await server.gone;
  await server.start();
  network.heal();
  await server.receivers("prices", { sse: 1 });
  await server.publish("prices", "the next process");
  await tab.heard.find(({ data }) => data === "the next process");
  assert.ok(!tab.heard.all.some(({ type }) => type === "closed"));
});

test("a raw WebSocket carries text and bytes both ways", async (t) => {
  const server = await tidewire(t);
  const tab = await page(t);
  await webSocket(tab, `${server.wsUrl}/c/chat`);
  assert.equal(await tab.heard.next(), "open");
  await tab.page.evaluate(() => socket.send(new Uint8Array([0, 254, 255])));
  assert.deepEqual(await tab.heard.next(), [0, 254, 255]);
  await tab.page.evaluate(() => socket.send("text"));
  assert.equal(await tab.heard.next(), "text");
  await server.publish("chat", "from the backend");
  assert.equal(await tab.heard.next(), "from the backend");
  await tab.page.evaluate(() => socket.close(1000));
  assert.equal((await tab.heard.next()).code, 1000);
});

test("a tidewire.v1 WebSocket subscribes, publishes, and comes back by its cursor", async (t) => {
  const server = await tidewire(t);
  const tab = await page(t);
  /** Opens one that says `frame`, and tells every frame that comes. */
  const connect = (frame) => tab.page.evaluate(([url, frame]) => {
    globalThis.socket = new WebSocket(url, "tidewire.v1");
    socket.onopen = () => socket.send(JSON.stringify(frame));
    socket.onmessage = ({ data }) => tell(JSON.parse(data));
  }, [`${server.wsUrl}/c/`, frame]);
  await connect({ type: "subscribe", channels: ["chat", "news"], id: 1 });
  await tab.heard.find(({ type, id }) => type === "ack" && id === 1);
  await tab.page.evaluate(() => socket.send(JSON.stringify({ type: "publish", channel: "chat", data: "hello", id: 2 })));
  const hello = await tab.heard.find(({ type }) => type === "message");
  assert.deepEqual([hello.channel, hello.data], ["chat", "hello"]);
  await tab.page.evaluate(() => socket.close());
  await server.publish("news", "while away");
  await connect({ type: "subscribe", channels: ["chat", "news"], cursor: hello.id, id: 3 });
  const { messages } = await tab.heard.find(({ type, id }) => type === "ack" && id === 3);
  assert.deepEqual(messages.map(({ data }) => data), ["while away"]);
});

test("fetch polls long and short, and what has not changed is a 304", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  const tab = await page(t);
  const poll = (query) => tab.page.evaluate((url) => fetch(url).then(async (answer) => {
    tell(answer.status);
    return answer.json();
  }), `${network.url}/c/prices?${query}`);
  const { cursor } = await poll("");
  const waiting = poll(`wait=20&cursor=${cursor}`);
  await eventually("it has been asked", () => network.asked.includes("wait=20"));
  await server.publish("prices", "1");
  assert.equal((await waiting).messages[0].data, "1");
  const short = `cursor=${cursor}`;
  const first = await poll(short);
  assert.equal(first.messages.at(-1).data, "1");
  assert.deepEqual(await poll(short), first, "from Firefox's own cache");
  await eventually("it was revalidated", () => network.sent.includes("HTTP/1.1 304"));
  await server.publish("prices", "2");
  assert.equal((await poll(short)).messages.at(-1).data, "2");
});

test("a page that is left frees its slots", async (t) => {
  const server = await tidewire(t);
  const tab = await open(await alone(t, fox), `${server.url}/livez`);
  await eventSource(tab, "/c/prices");
  await webSocket(tab, `${server.wsUrl}/c/prices`);
  await server.receivers("prices", { sse: 1, ws: 1 });
  await tab.page.goto(`${server.url}/readyz`);
  await server.receivers("prices", {});
});

test("what a foreign site asks for is refused, and its EventSource closed for good", async (t) => {
  const server = await tidewire(t);
  const tab_ = await tab(t, await alone(t, fox), { host: "foreign.example" });
  await webSocket(tab_, `${server.wsUrl}/c/prices`);
  assert.equal((await tab_.heard.next()).code, 1006);
  await eventSource(tab_, `${server.url}/c/prices`);
  assert.equal((await tab_.heard.next()).type, "closed");
});

test("s23_a_ticketed_event_source_comes_back_by_its_cookie_and_has_missed_nothing", async (t) => {
  const app = await site(t, "localhost", token("alice", ["prices"]));
  const server = await tidewire(t, guarded({ origins: [app.origin], set: quickRetry }));
  const network = await tunnel(t, server.port);
  const url = network.url.replace("127.0.0.1", "localhost");
  const tab = await app.login(await alone(t, fox));
  const ticket = await tab.page.evaluate(
    (url) => fetch(`${url}/v1/tickets`, { method: "POST", credentials: "include" }).then(async (answer) => (await answer.json()).ticket),
    url,
  );
  await eventSource(tab, `${url}/c/prices?ticket=${ticket}`, [], { withCredentials: true });
  await ready(tab);
  for (const round of ["1", "2"]) {
    network.cutAndHold();
    for (const n of ["a", "b"]) await server.publish("prices", round + n);
    network.heal();
    await ready(tab);
    assert.deepEqual(await texts(tab, 2), [`${round}a`, `${round}b`]);
  }
  assert.ok(!tab.heard.all.some(({ type }) => type === "$gap" || type === "closed"));
  assert.match(network.heads.at(-1), /\r\ncookie: [^\r]*tidewire_ticket=/i, "it was the cookie that let it in");
});

test("every page of ours is live, and complains of nothing", async (t) => {
  const server = await showing(t);
  const page = await (await alone(t, fox)).newPage();
  for (const { path, live } of SHOWN.filter(({ enter }) => !enter)) {
    await page.goto(`${server.url}${path}`);
    await eventually(
      `${path} is live`,
      () => page.evaluate((live) => document.querySelector(live) !== null, live),
      () => page.complaints.join(),
    );
  }
  assert.deepEqual(page.complaints, []);
});

test("f29_a_hundred_streams_of_a_page_share_one_connection_and_all_resume_after_a_cut", async (t) => {
  const STREAMS = 100;
  const server = await tidewire(t, { set: quickRetry, secure: true });
  const network = await tunnel(t, server.port);
  const url = network.url.replace("http", "https");
  const tab = await open(await alone(t, fox), `${url}/livez`);
  const before = network.heads.length;
  await eventSources(tab, url, STREAMS);
  await each(tab.heard, STREAMS, ({ ready }) => ready);
  assert.equal(network.heads.length, before, "the connection that brought the page carries them all");
  for (let channel = 0; channel < STREAMS; channel += 1) await server.publish(`c${channel}`, `first ${channel}`);
  await each(tab.heard, STREAMS, ({ channel, data }) => (data === `first ${channel}` ? channel : undefined));
  network.cutAndHold();
  for (let channel = 0; channel < STREAMS; channel += 1) await server.publish(`c${channel}`, `missed ${channel}`);
  network.heal();
  await each(tab.heard, STREAMS, ({ channel, data }) => (data === `missed ${channel}` ? channel : undefined));
  assert.equal(tab.heard.all.filter(({ data }) => data?.startsWith("first")).length, STREAMS, "nothing came twice");
  assert.ok(!tab.heard.all.some(({ closed }) => closed !== undefined));
});

test("f27_over_http_1_seven_tabs_have_six_streams_and_the_seventh_waits_though_pages_still_load", async (t) => {
  const server = await tidewire(t);
  const context = await alone(t, fox);
  const tabs = [];
  for (let n = 0; n < 7; n += 1) tabs.push(await open(context, `${server.url}/livez`));
  for (const tab of tabs) await eventSource(tab, `${server.url}/c/prices`);
  await server.receivers("prices", { sse: 6 });
  const waits = () => tabs.filter(({ heard }) => !heard.all.length);
  await eventually("six of them hear", () => waits().length === 1);
  const [seventh] = waits();
  // In Chromium it would wait, too.
  await open(context, `${server.url}/readyz`);
  await tabs.find(({ heard }) => heard.all.length).page.close();
  await ready(seventh);
});
