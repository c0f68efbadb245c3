// Live scores as two people see them, one of whom loses the network for a while.

import assert from "node:assert/strict";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { live, visitors } from "./demo.mjs";

const path = "/demo/scores/";
const settings = { flags: ["--demo"], set: { "limits.retry": "50ms" } };

/** What a page has told, newest first, as the league counts it. */
const counts = (page) => page.locator(".latest li:visible").evaluateAll((items) => items.map((item) => Number(item.dataset.count)));

/** Between two rounds nothing is told for a while. */
const ROUND_MS = 60_000;

/** What a page shows of the latest at most. */
const LATEST_MAX = 60;

/** Waits until a page has told what the league counts as `count`. */
const told = (page, count) => page.waitForFunction(
  (count) => Number(document.querySelector(".latest li")?.dataset.count) >= count, count, { timeout: ROUND_MS });

/** Fails where something is missing in what a page has told, or stands there twice. */
async function nothingIsMissing(page) {
  const all = await counts(page);
  assert.deepEqual(all, Array.from({ length: all.length }, (_, at) => all[0] - at));
  if (all.length < LATEST_MAX) assert.equal(all.at(-1), 1);
}

test("what was missed during a cut is told in order, and what was missed during a restart, too", async (t) => {
  const server = await tidewire(t, settings);
  const way = await tunnel(t, server.port);
  const [[ada], [ben]] = await Promise.all([visitors(t, server, path, ["ws"]), visitors(t, way, path, ["sse"])]);
  await Promise.all([told(ada, 2), told(ben, 2)]);

  way.cutUntilHealed();
  await ben.locator('.state[data-state="waiting"]').waitFor();
  const before = (await counts(ben))[0];
  await told(ada, before + 3);
  way.heal();
  await told(ben, before + 3);
  for (const page of [ada, ben]) await nothingIsMissing(page);
  assert.ok(await ben.locator(".latest .missed").count() >= 2, "what was missed says so");
  assert.equal(await ada.locator(".latest .missed").count(), 0);

  const season = (await counts(ada))[0];
  await server.restart();
  await Promise.all([ada, ben].map(live));
  for (const page of [ada, ben]) {
    await told(page, season + 2);
    await nothingIsMissing(page);
  }
});

test("whoever follows one match is sent no other, and finds the others complete afterwards", async (t) => {
  const server = await tidewire(t, settings);
  const way = await tunnel(t, server.port);
  const [ben] = await visitors(t, way, path, ["ws"]);
  await told(ben, 2);
  const connections = way.heads.length;
  await ben.getByLabel("Follow").selectOption("quayside");
  await eventually("one match is heard", () => way.heads.slice(connections).some((head) => /^GET \/c\/\S*demo-scores:quayside/.test(head)));
  const head = way.heads.slice(connections).find((head) => head.includes("demo-scores:quayside") && head.includes("Upgrade"));
  assert.ok(!/harbour-park|lighthouse-road|breakwater/.test(head), head);
  await live(ben);
  assert.equal(await ben.locator(".match:visible").count(), 1);

  const { matches } = await (await fetch(`${server.url}/demo/api/scores`)).json();
  const last = Math.max(...matches.flatMap(({ log }) => log.map(({ count }) => count)));
  await eventually("the league plays on", async () => {
    const { matches } = await (await fetch(`${server.url}/demo/api/scores`)).json();
    return matches.flatMap(({ log }) => log).some(({ count }) => count > last + 1);
  });
  await ben.getByLabel("Follow").selectOption("");
  await told(ben, last + 2);
  await nothingIsMissing(ben);
});

test("news comes once over every transport that a visitor switches to", async (t) => {
  const server = await tidewire(t, settings);
  const [ben] = await visitors(t, server, path, ["auto"]);
  for (const transport of ["Long poll", "Short poll", "WebSocket", "SSE"]) {
    await told(ben, 1);
    const before = (await counts(ben))[0];
    await ben.getByText(transport, { exact: true }).click();
    await told(ben, before + 1);
    await nothingIsMissing(ben);
  }
});
