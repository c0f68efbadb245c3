// How pages come in where somebody has to be let in: with the cookie of their login, and with tickets.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { guarded, token } from "../e2e/harness/keys.mjs";
import { freePort, tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { site } from "./pages.mjs";
import { alone, browser, eventSource, open, webSocket } from "./tab.mjs";

const quickRetry = { "limits.retry": "50ms" };
const chromium = await browser({ after });

/** A server and an app beside it, on another port of the same host, whose visitor Alice may do all on `prices`. */
async function appOf(t, { host = "localhost" } = {}) {
  const app = await site(t, host, token("alice", ["prices"]));
  const server = await tidewire(t, guarded({ origins: [app.origin], set: quickRetry }));
  return { app, server, url: `http://localhost:${server.port}`, wsUrl: `ws://localhost:${server.port}` };
}

/** Runs in a page. Buys a ticket, with a token where one is given and with the cookie of its login elsewhere. */
async function buy([url, token]) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(`${url}/v1/tickets`, { method: "POST", headers, credentials: token ? "omit" : "include" });
  return answer.status === 200 ? (await answer.json()).ticket : `${answer.status} ${await answer.text()}`;
}

/** Runs in a page. Reads a stream by fetch, and tells what comes. */
function readStream(url) {
  return fetch(url, { headers: { Accept: "text/event-stream" }, credentials: "include" }).then(async (answer) => {
    tell(answer.status);
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) tell(piece);
  });
}

const withCredentials = { withCredentials: true };

test("s5_a_page_of_an_allowed_origin_comes_in_with_the_cookie_of_its_login_by_every_way", async (t) => {
  const { app, server, url, wsUrl } = await appOf(t);
  const context = await alone(t, chromium);
  const page = await app.login(context);
  await eventSource(page, `${url}/c/prices`, [], withCredentials);
  await page.heard.find(({ type }) => type === "$ready");
  await webSocket(page, `${wsUrl}/c/prices`);
  await page.heard.find((item) => item === "open");
  await page.page.evaluate(() => socket.send("said by Alice"));
  const twice = await page.heard.take(2);
  assert.deepEqual(twice.map((item) => item.data ?? item), ["said by Alice", "said by Alice"]);
  const reader = await app.open(context);
  void reader.page.evaluate(readStream, `${url}/c/prices`).catch(() => {});
  assert.equal(await reader.heard.next(), 200);
  await reader.heard.find((piece) => `${piece}`.includes("$ready"));
  await server.publish("prices", "42.10");
  await reader.heard.find((piece) => `${piece}`.includes("data: 42.10\n"));
  const polled = await reader.page.evaluate((url) => fetch(url, { credentials: "include" }).then((answer) => answer.json()), `${url}/c/prices?tail=1`);
  assert.deepEqual(polled.messages.map(({ data }) => data), ["42.10"]);
});

test("s5_a_page_of_this_very_server_comes_in_with_its_cookie_and_says_no_origin", async (t) => {
  const { app, server, url } = await appOf(t);
  const context = await alone(t, chromium);
  await app.login(context);
  const page = await open(context, `${url}/livez`);
  await eventSource(page, "/c/prices");
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "1");
  assert.equal((await page.heard.next()).data, "1");
});

test("s9_a_page_of_an_allowed_origin_cannot_publish_with_its_cookie_alone", async (t) => {
  const { app, server, url } = await appOf(t);
  const page = await app.login(await alone(t, chromium));
  const post = (headers) => page.page.evaluate(
    ([url, headers]) => fetch(url, { method: "POST", body: "x", credentials: "include", headers }).then(({ status }) => status),
    [`${url}/c/prices`, headers],
  );
  assert.equal(await post({}), 401);
  assert.equal(await post({ Authorization: `Bearer ${token("alice", ["prices"])}` }), 200);
  assert.deepEqual(await server.texts("prices"), ["x"]);
});

for (const [bought, by] of [["a cookie", ""], ["a token", token("alice", ["prices"])]]) {
  test(`s19_a_ticket_that_a_page_bought_with_${bought.replace(" ", "_")}_opens_each_transport_once`, async (t) => {
    const { app, server, url, wsUrl } = await appOf(t);
    const context = await alone(t, chromium);
    const page = by ? await app.open(context) : await app.login(context);
    const tickets = [];
    for (let n = 0; n < 3; n += 1) tickets.push(await page.page.evaluate(buy, [url, by]));
    assert.equal(new Set(tickets).size, 3, `${tickets}`);
    await eventSource(page, `${url}/c/prices?ticket=${tickets[0]}`);
    await page.heard.find(({ type }) => type === "$ready");
    await webSocket(page, `${wsUrl}/c/prices?ticket=${tickets[1]}`);
    await page.heard.find((item) => item === "open");
    await server.publish("prices", "1");
    assert.deepEqual((await page.heard.take(2)).map((item) => item.data ?? item), ["1", "1"]);
    const poll = (ticket) => page.page.evaluate(
      (url) => fetch(url).then(async (answer) => [answer.status, (await answer.json()).messages?.length]),
      `${url}/c/prices?tail=1&ticket=${ticket}`,
    );
    assert.deepEqual(await poll(tickets[2]), [200, 1]);
    for (const ticket of tickets) assert.deepEqual(await poll(ticket), [401, undefined], "it was spent");
  });
}

test("s23_a_ticketed_event_source_comes_back_after_a_cut_and_has_missed_nothing", async (t) => {
  const { app, server } = await appOf(t);
  const network = await tunnel(t, server.port);
  const url = network.url.replace("127.0.0.1", "localhost");
  const page = await app.login(await alone(t, chromium));
  const ticket = await page.page.evaluate(buy, [url, ""]);
  await eventSource(page, `${url}/c/prices?ticket=${ticket}`, [], withCredentials);
  await page.heard.find(({ type }) => type === "$ready");
  await server.publish("prices", "0");
  assert.equal((await page.heard.next()).data, "0");
  for (let round = 1; round <= 3; round += 1) {
    network.cutUntilHealed();
    for (const n of [1, 2]) await server.publish("prices", `${round}.${n}`);
    network.heal();
    await page.heard.find(({ type }) => type === "$ready");
    assert.deepEqual((await page.heard.take(2)).map(({ data }) => data), [`${round}.1`, `${round}.2`]);
  }
  assert.ok(!page.heard.all.some(({ type }) => type === "$gap" || type === "closed"));
  assert.notEqual(await page.page.evaluate(() => source.readyState), 2, "not CLOSED");
  assert.match(network.heads.at(-1), /\r\ncookie: [^\r]*tidewire_ticket=/i, "it was the cookie that let it in");
});

test("s23_a_ticket_of_a_page_of_this_very_server_comes_back_too", async (t) => {
  const port = await freePort();
  const network = await tunnel(t, port);
  const server = await tidewire(t, { ...guarded({ origins: [network.url], set: quickRetry }), port });
  const page = await open(await alone(t, chromium), `${network.url}/livez`);
  const ticket = await page.page.evaluate(buy, ["", token("alice", ["prices"])]);
  await eventSource(page, `/c/prices?ticket=${ticket}`);
  await page.heard.find(({ type }) => type === "$ready");
  network.cutUntilHealed();
  await server.publish("prices", "while away");
  network.heal();
  await page.heard.find(({ data }) => data === "while away");
  assert.ok(!page.heard.all.some(({ type }) => type === "closed"));
});

test("s23_the_cookie_of_a_ticket_goes_to_no_page_of_another_site_so_there_a_cut_is_the_end", async (t) => {
  const { app, server } = await appOf(t, { host: "127.0.0.1" });
  const network = await tunnel(t, server.port);
  const url = network.url.replace("127.0.0.1", "localhost");
  const page = await app.open(await alone(t, chromium));
  const ticket = await page.page.evaluate(buy, [url, token("alice", ["prices"])]);
  await eventSource(page, `${url}/c/prices?ticket=${ticket}`, [], withCredentials);
  await page.heard.find(({ type }) => type === "$ready");
  network.cut();
  assert.equal((await page.heard.next()).type, "closed");
});

test("s20_a_replayed_address_opens_nothing_wherever_it_is_replayed", async (t) => {
  const { app, server, url } = await appOf(t);
  const context = await alone(t, chromium);
  const page = await app.login(context);
  const ticket = await page.page.evaluate(buy, [url, ""]);
  const address = `${url}/c/prices?ticket=${ticket}`;
  await eventSource(page, address, [], withCredentials);
  await page.heard.find(({ type }) => type === "$ready");
  const accepts = ["text/event-stream", "application/json"];
  for (const Accept of accepts) {
    const replayed = await fetch(address, { headers: { Accept } });
    assert.equal(replayed.status, 401, Accept);
    assert.doesNotMatch(await replayed.text(), new RegExp(ticket));
  }
  // Somebody who got hold of the address, in a browser of their own.
  const elsewhere = await app.open(await browser(t));
  await eventSource(elsewhere, address, [], withCredentials);
  assert.equal((await elsewhere.heard.next()).type, "closed");
  await server.publish("prices", "only Alice hears");
  assert.equal((await page.heard.next()).data, "only Alice hears");
  assert.equal(elsewhere.heard.all.length, 1);
});
