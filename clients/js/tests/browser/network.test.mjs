// The client against what networks do: they are cut, proxies hold back, break and forget, and servers die.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { alone, browser, tab } from "../../../../tests/browser/tab.mjs";
import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { redisServer } from "../../../../tests/e2e/harness/redis.mjs";
import { tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { tunnel } from "../../../../tests/e2e/harness/tunnel.mjs";
import { gaps, hears, listen, live, ways } from "./page.mjs";
import { bufferingNginx, plainProxy } from "./ways.mjs";

const chromium = await browser({ after });
const page = async (t) => tab(t, await alone(t, chromium));

for (const transport of ["sse", "ws", "longpoll", "poll"]) {
  test(`m12_over_${transport}_a_page_comes_back_after_a_cut_and_nothing_is_lost_or_told_twice`, async (t) => {
    const server = await tidewire(t);
    const network = await tunnel(t, server.port);
    const tab = await listen(await page(t), network.url, { transports: transport, poll_ms: 50 });
    await live(tab, transport);
    await server.publish("prices", "0");
    await server.publish("prices", Buffer.from([0, 254, 255]), { "Content-Type": "application/octet-stream" });
    const wanted = ["0", [0, 254, 255]];
    await hears(tab, wanted);
    for (const round of ["1", "2"]) {
      network.cutUntilHealed();
      await tab.heard.find(({ state }) => state === "waiting");
      for (const n of ["a", "b"]) {
        await server.publish("prices", round + n);
        wanted.push(round + n);
      }
      network.heal();
      await hears(tab, wanted);
    }
    assert.deepEqual(gaps(tab), []);
    assert.ok(tab.heard.all.every((told) => !told.transport || told.transport === transport));
  });
}

test("a quiet short poll is answered by 304 after 304", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  await server.publish("prices", "0");
  const tab = await listen(await page(t), network.url, { transports: "poll", poll_ms: 50 });
  await live(tab);
  await eventually("three answers had nothing new", () => network.sent.split("HTTP/1.1 304").length > 3);
  await server.publish("prices", "1");
  await hears(tab, ["1"]);
});

test("m12_a_server_that_is_killed_and_started_again_loses_nothing_that_its_redis_keeps", async (t) => {
  const server = await tidewire(t, { set: { "broker.url": `redis://127.0.0.1:${await redisServer(t)}` } });
  const tab = await listen(await page(t), server.url);
  await live(tab);
  await server.publish("prices", "before");
  await hears(tab, ["before"]);
  await server.crash();
  await tab.heard.find(({ state }) => state === "waiting");
  await server.start();
  await server.publish("prices", "after");
  await hears(tab, ["before", "after"]);
  assert.deepEqual(gaps(tab), []);
});

test("r7_a_server_that_has_forgotten_everything_is_a_gap_before_what_is_new", async (t) => {
  const server = await tidewire(t);
  const tab = await listen(await page(t), server.url);
  await live(tab);
  await server.publish("prices", "before");
  await hears(tab, ["before"]);
  await server.crash();
  await tab.heard.find(({ state }) => state === "waiting");
  await server.start();
  await server.publish("prices", "after");
  await tab.heard.find(({ gap }) => gap === "epoch");
  await tab.heard.find(({ data }) => data === "after");
  await hears(tab, ["before", "after"]);
});

test("r5_a_history_that_was_trimmed_is_a_gap_before_what_is_left_over_every_transport", async (t) => {
  const server = await tidewire(t, { set: { "history.messages_max": "2" } });
  const network = await tunnel(t, server.port);
  const context = await alone(t, chromium);
  for (const transports of ["sse", "ws", "longpoll"]) {
    const page = await listen(await tab(t, context), network.url, { transports, names: [transports] });
    await live(page);
    network.cutUntilHealed();
    await page.heard.find(({ state }) => state === "waiting");
    for (const data of ["1", "2", "3", "4"]) await server.publish(transports, data);
    network.heal();
    const gap = await page.heard.find(({ gap }) => gap);
    assert.deepEqual([gap.gap, gap.channels], ["trimmed", [transports]]);
    await page.heard.find(({ data }) => data === "3");
    await hears(page, ["3", "4"]);
    await page.page.close();
  }
});

test("behind an nginx that buffers and knows no upgrade a page ends up with long polls, and hears", async (t) => {
  const server = await tidewire(t);
  const nginx = await bufferingNginx(t, server.port);
  const tab = await listen(await page(t), nginx.url);
  await server.publish("prices", "while it looks for a way");
  await live(tab);
  assert.deepEqual(ways(tab), ["longpoll"]);
  const tried = tab.heard.all.filter(({ state }) => state === "connecting").map(({ transport }) => transport);
  assert.deepEqual([...new Set(tried)], ["sse", "ws", "longpoll"]);
  await server.publish("prices", "at last");
  await tab.heard.find(({ data }) => data === "at last");
});

test("behind a proxy that strips Upgrade a busy page tries a WebSocket, returns to its stream, and misses nothing", async (t) => {
  const server = await tidewire(t);
  const proxy = await plainProxy(t, server.port);
  const tab = await listen(await page(t), proxy.url);
  await live(tab, "sse");
  await server.publish("prices", "0");
  await tab.page.evaluate(() => client.channel("prices").publish(new Uint8Array([1, 2])));
  await tab.heard.find((told) => told.state === "connecting" && told.transport === "ws");
  await server.publish("prices", "1");
  await live(tab, "sse");
  await server.publish("prices", "2");
  await hears(tab, ["0", [1, 2], "1", "2"]);
  assert.equal(proxy.upgrades, 2);
  assert.deepEqual([gaps(tab), ways(tab)], [[], ["sse"]]);
});

test("an EventSource that a proxy's 502 has closed for good is built anew until the proxy is mended", async (t) => {
  const server = await tidewire(t);
  const proxy = await plainProxy(t, server.port);
  const tab = await listen(await page(t), proxy.url);
  await live(tab, "sse");
  await server.publish("prices", "0");
  await hears(tab, ["0"]);
  proxy.breakDown();
  const broken_at = Date.now();
  await server.publish("prices", "1");
  await eventually("it was refused for five seconds", () => proxy.refused >= 4 && Date.now() - broken_at > 5_000);
  proxy.mend();
  await hears(tab, ["0", "1"]);
  await live(tab, "sse");
  assert.deepEqual([gaps(tab), ways(tab)], [[], ["sse"]]);
});

test("a browser that is offline and online again has its page live at once, with what it missed", async (t) => {
  const server = await tidewire(t);
  const context = await alone(t, chromium);
  const tab = await listen(await page(t), server.url);
  await live(tab, "sse");
  await context.setOffline(true);
  t.after(() => context.setOffline(false));
  await server.publish("prices", "while offline");
  await context.setOffline(false);
  await hears(tab, ["while offline"]);
  assert.deepEqual(gaps(tab), []);
});
