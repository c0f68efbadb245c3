// The client in Firefox, against what networks and servers do to it. What only the client's own code decides is told in
// the files beside this one, by Chromium.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { firefox } from "../../../../tests/browser/firefox.mjs";
import { site } from "../../../../tests/browser/pages.mjs";
import { alone, open, tab } from "../../../../tests/browser/tab.mjs";
import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { guarded, token } from "../../../../tests/e2e/harness/keys.mjs";
import { redisServer } from "../../../../tests/e2e/harness/redis.mjs";
import { tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { tunnel } from "../../../../tests/e2e/harness/tunnel.mjs";
import { gaps, hears, listen, live, ways } from "./page.mjs";
import { sharing, streams } from "./sharing.mjs";
import { bufferingNginx, plainProxy } from "./ways.mjs";

const fox = await firefox({ after });
const page = async (t) => tab(t, await alone(t, fox));

for (const transport of ["sse", "ws", "longpoll", "poll"]) {
  test(`m12_over_${transport}_a_page_comes_back_after_a_cut_and_nothing_is_lost_or_told_twice`, async (t) => {
    const server = await tidewire(t);
    const network = await tunnel(t, server.port);
    const tab = await listen(await page(t), network.url, { transports: transport, poll_ms: 50 });
    await live(tab, transport);
    await server.publish("prices", "0");
    await server.publish("prices", Buffer.from([0, 254, 255]), { "Content-Type": "application/octet-stream" });
    await hears(tab, ["0", [0, 254, 255]]);
    network.cutUntilHealed();
    await tab.heard.find(({ state }) => state === "waiting");
    for (const data of ["1", "2"]) await server.publish("prices", data);
    network.heal();
    await hears(tab, ["0", [0, 254, 255], "1", "2"]);
    assert.deepEqual(gaps(tab), []);
  });
}

test("m12_a_server_that_is_killed_and_started_again_loses_nothing_that_its_redis_keeps", async (t) => {
  const server = await tidewire(t, { set: { "broker.url": `redis://127.0.0.1:${await redisServer(t)}` } });
  const tab = await listen(await page(t), server.url);
  await live(tab, "sse");
  await server.publish("prices", "before");
  await hears(tab, ["before"]);
  await server.crash();
  await tab.heard.find(({ state }) => state === "waiting");
  await server.start();
  await server.publish("prices", "after");
  await hears(tab, ["before", "after"]);
  assert.deepEqual(gaps(tab), []);
});

test("r5_a_history_that_was_trimmed_is_a_gap_before_what_is_left", async (t) => {
  const server = await tidewire(t, { set: { "history.messages_max": "2" } });
  const network = await tunnel(t, server.port);
  const tab = await listen(await page(t), network.url);
  await live(tab);
  network.cutUntilHealed();
  await tab.heard.find(({ state }) => state === "waiting");
  for (const data of ["1", "2", "3", "4"]) await server.publish("prices", data);
  network.heal();
  assert.equal((await tab.heard.find(({ gap }) => gap)).gap, "trimmed");
  await hears(tab, ["3", "4"]);
});

test("behind an nginx that buffers and knows no upgrade a page ends up with long polls, and hears", async (t) => {
  const server = await tidewire(t);
  const nginx = await bufferingNginx(t, server.port);
  const tab = await listen(await page(t), nginx.url);
  await live(tab);
  assert.deepEqual(ways(tab), ["longpoll"]);
  await server.publish("prices", "at last");
  await tab.heard.find(({ data }) => data === "at last");
});

test("an EventSource that a proxy's 502 has closed for good is built anew until the proxy is mended", async (t) => {
  const server = await tidewire(t);
  const proxy = await plainProxy(t, server.port);
  const tab = await listen(await page(t), proxy.url);
  await live(tab, "sse");
  await server.publish("prices", "0");
  await hears(tab, ["0"]);
  proxy.breakDown();
  await server.publish("prices", "1");
  await eventually("it was refused", () => proxy.refused >= 2);
  proxy.mend();
  await hears(tab, ["0", "1"]);
  await live(tab, "sse");
  assert.deepEqual([gaps(tab), ways(tab)], [[], ["sse"]]);
});

test("s25_a_page_whose_token_ends_goes_on_with_the_next_one_and_misses_nothing", async (t) => {
  const app = await site(t, "localhost");
  const server = await tidewire(t, guarded({ origins: [app.origin] }));
  const network = await tunnel(t, server.port);
  const tokens = [];
  const newToken = () => {
    tokens.push(token("alice", ["prices"], { lasts_s: 2 }));
    return tokens.at(-1);
  };
  const url = network.url.replace("127.0.0.1", "localhost");
  const tab = await listen(await app.open(await alone(t, fox)), url, { token: newToken, transports: "sse" });
  await live(tab);
  await server.publish("prices", "1");
  await tab.heard.find(({ state, error }) => state === "waiting" && error === "expired");
  await server.publish("prices", "2");
  await live(tab);
  await server.publish("prices", "3");
  await hears(tab, ["1", "2", "3"]);
  assert.ok(tokens.length >= 2);
});

test("a page that publishes much changes over to a WebSocket, and its publishes happen once and in order", async (t) => {
  const server = await tidewire(t);
  const tab = await listen(await page(t), server.url);
  await live(tab, "sse");
  await tab.page.evaluate(async () => {
    for (let n = 0; n < 20; n += 1) await client.channel("prices").publish(`${n}`);
  });
  await live(tab, "ws");
  await hears(tab, Array.from({ length: 20 }, (_, n) => `${n}`));
});

test("f27_seven_tabs_over_http_1_share_one_stream_and_a_hidden_one_takes_over_when_it_is_closed", async (t) => {
  const server = await tidewire(t);
  const [context, app] = [await alone(t, fox), await site(t, "localhost")];
  const tabs = [];
  for (let n = 0; n < 7; n += 1) tabs.push(await sharing(context, app, server.url, ["prices"]));
  for (const tab of tabs) await live(tab, "shared");
  assert.equal(await streams(server, "prices"), 1);
  assert.equal(await tabs[0].page.evaluate(() => document.hidden), true);
  await server.publish("prices", "1");
  for (const tab of tabs) await hears(tab, ["1"]);
  await tabs.shift().page.close();
  await server.publish("prices", "2");
  for (const tab of tabs) await hears(tab, ["1", "2"]);
  await eventually("there is one stream again", async () => (await streams(server, "prices")) === 1);
  for (const tab of tabs) assert.deepEqual(gaps(tab), []);
});

test("a_tab_that_is_hidden_keeps_its_stream_and_comes_back_after_a_cut_without_being_looked_at", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  const context = await alone(t, fox);
  const hidden = await listen(await tab(t, context), network.url);
  await live(hidden, "sse");
  const front = await tab(t, context);
  await eventually("it is hidden", () => hidden.page.evaluate(() => document.hidden));
  await server.publish("prices", "unseen");
  await hears(hidden, ["unseen"]);
  network.cutUntilHealed();
  await hidden.heard.find(({ state }) => state === "waiting");
  await server.publish("prices", "missed");
  network.heal();
  await hears(hidden, ["unseen", "missed"]);
  assert.equal(await hidden.page.evaluate(() => document.hidden), true);
  await front.page.close();
  assert.deepEqual(gaps(hidden), []);
});

test("a page that is left is loaded anew by the back button, and goes on from the cursor that it kept", async (t) => {
  const server = await tidewire(t);
  const app = await site(t, "localhost");
  const tab = await listen(await app.open(await alone(t, fox)), server.url);
  await live(tab);
  await server.publish("prices", "seen");
  await hears(tab, ["seen"]);
  await tab.page.evaluate(() => addEventListener("pagehide", () => sessionStorage.setItem("cursor", client.cursor)));
  await tab.page.goto(`${app.origin}/login`);
  await server.publish("prices", "while elsewhere");
  await tab.page.traverse(-1);
  await eventually("it is there, without what it was", () => tab.page.evaluate(() => location.pathname === "/" && !globalThis.client));
  await listen(tab, server.url, { cursor: await tab.page.evaluate(() => sessionStorage.getItem("cursor")) });
  await hears(tab, ["seen", "while elsewhere"]);
  assert.deepEqual(gaps(tab), []);
});
