// The comparison as its visitor sees it: four lanes, each over a server of its own, and what becomes of them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { repository, tidewire } from "../e2e/harness/tidewire.mjs";
import { PATIENCE_MS } from "./demo.mjs";
import { browser } from "./tab.mjs";

const LANES = ["poll", "longpoll", "sse", "ws"];

test("four lanes have the same messages, and of their bytes SSE takes the least", async (t) => {
  const { lanes, figure } = await comparison(t, "rate=10&poll=1&clients=0");
  for (const lane of LANES) await figure(lane, "messages", (text) => Number.parseInt(text) >= 30);
  const heard = await Promise.all(lanes.map(async ({ url }) => {
    const { messages } = await (await fetch(`${url}?cursor=earliest`)).json();
    return messages.slice(0, 30).map(({ data }) => data);
  }));
  assert.equal(heard[0].length, 30);
  for (const one of heard) assert.deepEqual(one, heard[0]);
  const taken = {};
  for (const lane of LANES) taken[lane] = size(await figure(lane, "bytes", (text) => text !== "–"));
  assert.ok(taken.sse < taken.poll && taken.poll < taken.longpoll && taken.sse < taken.ws, JSON.stringify(taken));
});

test("a short poll counts the answers that have nothing in them, and a stream has none", async (t) => {
  const { figure } = await comparison(t, "rate=0.5&poll=1&clients=0");
  await figure("poll", "empty", (text) => Number.parseInt(text) >= 2 && text.endsWith(" %"));
  assert.equal(await figure("sse", "empty", () => true), "none");
});

test("every lane comes back from a network that was gone, and has lost nothing", async (t) => {
  const { page, told } = await comparison(t, "rate=10&poll=1&clients=0");
  await page.getByRole("button", { name: "Drop my network" }).click();
  await eventually("the lanes are cut", async () => (await told()).lanes.every(({ open }) => open === 0));
  for (const lane of LANES) {
    await page.locator(`.outcome [data-lane="${lane}"]`, { hasText: "nothing lost" }).waitFor();
    const words = await page.locator(`.outcome [data-lane="${lane}"]`).textContent();
    assert.ok(Number(/caught up on (\d+) messages/.exec(words)?.[1]) > 20, `${lane}: ${words}`);
  }
});

test("heartbeats carry streams through a silence that a proxy would cut, and a cut loses nothing", async (t) => {
  const { ask, told, figure } = await comparison(t, "rate=10&poll=1&clients=0");
  const idled = async () => Object.fromEntries((await told()).lanes.map(({ transport, idled }) => [transport, idled]));
  const silence = async (how) => {
    await ask("idle", how);
    await eventually("the silence comes", async () => (await told()).is_silent);
    await new Promise((resolve) => setTimeout(resolve, how.seconds * 1_000));
    await eventually("the silence goes", async () => !(await told()).is_silent);
  };
  await silence({ seconds: 15, patience_s: 10 });
  const { sse, ws, longpoll } = await idled();
  assert.deepEqual([sse, ws, longpoll], [0, 0, 1]);
  await silence({ seconds: 4, patience_s: 0.5 });
  const after = await idled();
  assert.ok(after.sse > 0 && after.ws > 0 && after.longpoll > longpoll, JSON.stringify(after));
  const { newest } = await told();
  for (const lane of LANES) await figure(lane, "messages", (text) => Number.parseInt(text) >= newest && !text.includes("lost"));
});

test("a crowd is charged to each lane's process, and the verdict follows what is set", async (t) => {
  const { page, figure } = await comparison(t, "rate=10&poll=1&clients=40");
  const summary = page.locator("#verdict .summary");
  await summary.filter({ hasText: "At 10 messages a second, a short poll every 1 s asks once a second" }).waitFor();
  for (const lane of LANES) {
    await figure(lane, "memory", (text) => text.endsWith("B"));
    await figure(lane, "cpu", (text) => text.endsWith("s"));
  }
  const words = page.locator(".crowd-words");
  await words.filter({ hasText: "10 000 clients that poll every 1 s ask 10 000 times a second" }).waitFor();
  await page.locator("#poll").fill("5");
  await page.locator("#rate").fill("48");
  await summary.filter({ hasText: "a short poll every 5 s asks 0.2 times a second" }).waitFor();
  await words.filter({ hasText: "10 000 clients that poll every 5 s ask 2 000 times a second" }).waitFor();
  await figure("poll", "requests", (text) => Number.parseFloat(text) < 0.3);
});

test("whoever looks last has the comparison, and the servers of the one before are gone", async (t) => {
  const first = await comparison(t, "rate=10&poll=1&clients=0");
  const second = await first.open();
  await first.page.getByText("The comparison goes on in another tab.").waitFor();
  await eventually("the first servers are gone", () => first.lanes.every(({ process }) => !lives(process)));
  assert.ok(second.lanes.every(({ process }) => lives(process)));
  await second.page.close({ runBeforeUnload: true });
  await eventually("a page that is closed takes its servers along", () => second.lanes.every(({ process }) => !lives(process)));
});

test("no lane outlives its server, whether that drains or crashes", async (t) => {
  const drained = await comparison(t, "rate=10&poll=1&clients=0");
  drained.server.terminate();
  await drained.server.gone;
  await eventually("the lanes' servers are gone", () => drained.lanes.every(({ process }) => !lives(process)));
  await drained.server.start();
  await drained.page.getByRole("button", { name: "Start again" }).click();
  const again = await drained.started();
  assert.ok(again.every(({ process }) => lives(process)));
  await drained.server.crash();
  await eventually("the lanes' servers are gone", () => again.every(({ process }) => !lives(process)));
});

test("where other machines can reach the page, it starts no processes", async (t) => {
  const server = await tidewire(t, { flags: ["--demo", "--dev-public"] });
  const body = JSON.stringify({ rate: 1, size: 128, poll_interval_s: 5, clients: 0 });
  const answer = await fetch(`${server.url}/demo/api/compare/start`, { method: "POST", body });
  assert.equal(answer.status, 403);
  assert.match((await answer.json()).detail, /--dev-public/);
});

test("a tab that was hidden says what it heard meanwhile", async (t) => {
  const { page } = await comparison(t, "rate=10&poll=1&clients=0");
  // Chromium without a screen shows all tabs at once.
  const look = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  const count = () => page.locator('[data-lane="sse"] [data-figure="messages"]').textContent();
  await look(true);
  const before = await count();
  await page.waitForFunction((began) => Date.now() - began > 3_500, Date.now());
  assert.equal(await count(), before, "nobody sees it, so nothing is drawn");
  await look(false);
  for (const lane of LANES) {
    const words = await page.locator(`.outcome [data-lane="${lane}"]`).textContent();
    assert.match(words, /^\d+ messages, the middle one .* old, with \d+ requests?; nothing lost$/);
  }
});

test("a tally knows what is missing, what came twice and what came late", async () => {
  const { Tally, Window, read } = await module("demo/compare/tally.js");
  assert.deepEqual(read(`${(71).toString(36)}:${(1_790_000_000_123_456).toString(36)}:....`), { number: 71, at: 1_790_000_000_123.456 });
  assert.equal(read("hello"), null);
  const tally = new Tally();
  const take = (number) => tally.take({ number, at: 0 }, number * 10);
  assert.deepEqual([1, 2, 5, 2, 4].map(take), [true, true, true, false, true]);
  assert.deepEqual([tally.lost, tally.duplicated, tally.deliveries, tally.highest], [1, 1, 4, 5]);
  assert.deepEqual(tally.latency(0), { mean_ms: 30, p50_ms: 40, p99_ms: 50 });
  // A poll every two seconds, looked at for seven: what counts are six.
  const window = new Window();
  for (let second = 0; second <= 7; second += 1) window.add({ now: second * 1_000, requests: Math.floor(second / 2) });
  assert.deepEqual(window.figures(), { since: 0, wall_s: 7, requests: 3 });
  assert.deepEqual(window.figures(2_000), { since: 1_000, wall_s: 6, requests: 3 });
});

/** Opens the page on a server of its own, and waits until all lanes are live. */
async function comparison(t, query) {
  const server = await tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
  const context = await browser(t);
  return visit(t, server, context, query);
}

async function visit(t, server, context, query) {
  const page = await context.newPage();
  page.setDefaultTimeout(2 * PATIENCE_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`${error}`));
  page.on("console", (message) => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
  t.after(() => assert.deepEqual(complaints, []));
  let latest = null;
  page.on("response", async (response) => {
    if (response.url().endsWith("/compare/start")) latest = await response.json().catch(() => null);
  });
  const started = async () => {
    await page.locator('.lane .state[data-state="live"]').nth(LANES.length - 1).waitFor();
    return latest.lanes;
  };
  await page.goto(`${server.url}/demo/compare/?${query}`);
  const lanes = await started();
  return {
    server, page, lanes, started,
    /** Opens it once more, in another tab. */
    open: () => visit(t, server, context, query),
    /** Asks the page's server as the page does. */
    ask: (verb, body) => page.evaluate(async ([verb, body]) => {
      const answer = await fetch(`/demo/api/compare/${verb}`, { method: "POST", body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(await answer.text());
    }, [verb, { run: latest.run, ...body }]),
    /** What the server has told last. */
    async told() {
      const { messages } = await (await fetch(`${server.url}/c/demo:compare?tail=1`)).json();
      return JSON.parse(messages[0].data);
    },
    /** Waits until a figure of a lane is as it should be, and gives it back. */
    async figure(lane, name, holds) {
      const cell = page.locator(`[data-lane="${lane}"] [data-figure="${name}"]`);
      let text;
      await eventually(`${name} of ${lane}`, async () => holds((text = await cell.textContent())), () => text);
      return text;
    },
  };
}

/** A module of a page, which Node would take for another kind. */
function module(path) {
  return import(`data:text/javascript,${encodeURIComponent(readFileSync(`${repository}/${path}`, "utf8"))}`);
}

function size(text) {
  const [value, unit] = text.split(" ");
  return Number(value) * { B: 1, KiB: 1_024 }[unit];
}

/** Whether a process runs. One that has ended may be waiting for somebody to ask how. */
function lives(process) {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${process}/stat`, "utf8"));
  } catch {
    return false;
  }
}
