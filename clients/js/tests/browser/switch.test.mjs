// What a page says and hears while its client changes over, and while its rights end.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { site } from "../../../../tests/browser/pages.mjs";
import { alone, browser, tab } from "../../../../tests/browser/tab.mjs";
import { eventually } from "../../../../tests/e2e/harness/heard.mjs";
import { guarded, token } from "../../../../tests/e2e/harness/keys.mjs";
import { tidewire } from "../../../../tests/e2e/harness/tidewire.mjs";
import { tunnel } from "../../../../tests/e2e/harness/tunnel.mjs";
import { gaps, hears, listen, live, messages, ways } from "./page.mjs";

const chromium = await browser({ after });

test("r4_order_and_once_by_the_cursor_while_a_busy_page_changes_over_and_its_network_is_cut", async (t) => {
  const server = await tidewire(t);
  const network = await tunnel(t, server.port);
  const page = await listen(await tab(t, await alone(t, chromium)), network.url);
  await live(page, "sse");
  const said = page.page.evaluate(async () => {
    const chat = client.channel("prices");
    for (let n = 0; n < 60; n += 5) await Promise.all([0, 1, 2, 3, 4].map((m) => chat.publish(`page ${n + m}`)));
  });
  const others = (async () => {
    for (let n = 0; n < 60; n += 1) await server.publish("prices", `backend ${n}`);
  })();
  await live(page, "ws");
  network.cut();
  await Promise.all([said, others]);
  await server.publish("prices", "the end");
  await eventually("the end is heard", () => messages(page).includes("the end"));
  await hears(page, await server.texts("prices"));
  assert.equal(messages(page).filter((text) => text.startsWith("page ")).length, 60, "each was published once");
  assert.deepEqual([gaps(page), ways(page).slice(0, 2)], [[], ["sse", "ws"]]);
});

test("a channel that joins a page that listens begins now, and the others miss nothing", async (t) => {
  const server = await tidewire(t);
  for (const transports of ["sse", "ws", "longpoll"]) {
    const page = await listen(await tab(t, await alone(t, chromium)), server.url, { transports, names: [`a-${transports}`] });
    await live(page);
    await server.publish(`b-${transports}`, "before");
    await page.page.evaluate((name) => client.channel(name).on("message", ({ data }) => tell({ data })), `b-${transports}`);
    await server.publish(`a-${transports}`, "meanwhile");
    await live(page);
    await server.publish(`b-${transports}`, "after");
    await hears(page, ["meanwhile", "after"]);
    assert.deepEqual(gaps(page), []);
  }
});

/** A server that asks who comes, and a page of its app whose tokens last for `lasts_s`. */
async function guardedPage(t, { lasts_s, ...options }) {
  const app = await site(t, "localhost");
  const server = await tidewire(t, guarded({ origins: [app.origin] }));
  const network = await tunnel(t, server.port);
  const tokens = [];
  const newToken = () => {
    tokens.push(token("alice", ["prices"], { lasts_s }));
    return tokens.at(-1);
  };
  const url = network.url.replace("127.0.0.1", "localhost");
  const page = await listen(await app.open(await alone(t, chromium)), url, { token: newToken, ...options });
  return { server, network, page, tokens };
}

test("s25_a_stream_whose_token_ends_goes_on_with_the_next_one_and_misses_nothing", async (t) => {
  const { server, network, page, tokens } = await guardedPage(t, { lasts_s: 2, transports: "sse" });
  await live(page);
  await server.publish("prices", "1");
  await page.heard.find(({ state, error }) => state === "waiting" && error === "expired");
  await server.publish("prices", "2");
  await live(page);
  await server.publish("prices", "3");
  await hears(page, ["1", "2", "3"]);
  assert.ok(tokens.length >= 2);
  const lines = network.asked.match(/^(GET|POST) .*$/gm);
  assert.ok(lines.some((line) => line.includes("ticket=")));
  for (const token of tokens) assert.ok(!lines.some((line) => line.includes(token)), "s49: no token in an address");
});

test("s25_a_websocket_outlives_its_token_because_it_is_given_the_next_one", async (t) => {
  const { server, page, tokens } = await guardedPage(t, { lasts_s: 5, transports: "ws" });
  await live(page);
  const first_ends_at = Date.now() + 5_000;
  await eventually("the first token has ended", () => tokens.length >= 3 && Date.now() > first_ends_at + 1_000);
  await server.publish("prices", "still here");
  await hears(page, ["still here"]);
  assert.equal(page.heard.all.filter(({ state }) => state === "live").length, 1);
});

test("a page without rights is told so once, and asks for nothing again", async (t) => {
  const { page, network } = await guardedPage(t, { lasts_s: 600, names: ["salaries"] });
  const refused = await page.heard.find(({ state }) => state === "refused");
  assert.equal(refused.error, "forbidden");
  const requests = network.heads.length;
  const failure = await page.page.evaluate(() => client.channel("salaries").publish("x").catch(({ code, status }) => ({ code, status })));
  assert.deepEqual(failure, { code: "forbidden", status: 403 });
  assert.ok(network.heads.length <= requests + 2);
});

test("history is read with the right to, and for await takes what comes", async (t) => {
  const { server, page } = await guardedPage(t, { lasts_s: 600 });
  await live(page);
  for (const data of ["1", "2", "3"]) await server.publish("prices", data);
  const kept = await page.page.evaluate(async () => (await client.channel("prices").history({ tail: 2 })).messages.map(({ data }) => data));
  assert.deepEqual(kept, ["2", "3"]);
  const reading = page.page.evaluate(async () => {
    const heard = [];
    tell({ reading: true });
    for await (const { data } of client.channel("prices")) if (heard.push(data) === 2) return heard;
  });
  await page.heard.find(({ reading }) => reading);
  await server.publish("prices", "4");
  await server.publish("prices", "5");
  assert.deepEqual(await reading, ["4", "5"]);
});
