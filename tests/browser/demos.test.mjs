// Every demonstration, with networks that fail, servers that crash, tabs that sleep and browsers that have too many of them.

import assert from "node:assert/strict";
import test, { after } from "node:test";

import { PAGES } from "../../demo/kit/pages.js";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { choose, live, PATIENCE_MS } from "./demo.mjs";
import { agrees } from "./market.mjs";
import { alone, browser } from "./tab.mjs";

/** What the switch of every page offers. */
const TRANSPORTS = ["sse", "ws", "longpoll", "poll", "auto"];

/** Longer than a page notices, shorter than a visitor's patience. */
const OUTAGE_MS = 3_000;

/** What can be seen on a page that has caught up, where that is known: `happens` at the server, and then `sees`. */
const NEWS = {
  "/demo/feed/": {
    happens: (server) => post(server, "feed/post", { author: "Ada", text: "Neap tide" }),
    sees: (page) => page.getByText("Neap tide").waitFor({ timeout: PATIENCE_MS }),
  },
  "/demo/ticker/": { sees: agrees },
};

const context = await browser({ after });

const start = (t) => tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });

const post = (server, path, body) => fetch(`${server.url}/demo/api/${path}`, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

/** Opens `path` in a tab that fails the test `t` if its page complains, or is ever loaded anew. */
async function visit(t, url, path, { transport = "auto" } = {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`${error}`));
  page.on("console", (message) => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
  await page.goto(`${url}${path}?transport=${transport}`);
  page.once("load", () => complaints.push("it was loaded anew"));
  t.after(() => assert.deepEqual(complaints, [], path));
  return page;
}

/** Shows the page as a browser does whose tab is in front, or behind another. */
const show = (page, isShown) => page.evaluate((isShown) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => !isShown });
  Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (isShown ? "visible" : "hidden") });
  document.dispatchEvent(new Event("visibilitychange"));
}, isShown);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What holds a connection open, in turn: the pages share what comes back over it. One of them shows that of each. */
const HELD = ["sse", "ws", "longpoll"];

/** The comparison has four transports at once and none to choose; its own tests cut each of them. */
const CHOOSING = PAGES.filter(({ path }) => path !== "/demo/compare/");

for (const [at, { path, title }] of CHOOSING.entries()) {
  const { happens = () => {}, sees = live } = NEWS[path] ?? {};

  test(`${title}: every transport of the switch is live`, async (t) => {
    await alone(t, context);
    const server = await start(t);
    const page = await visit(t, server.url, path);
    await live(page);
    for (const transport of TRANSPORTS) {
      await choose(page, transport);
      await page.waitForFunction((transport) => {
        const { state, transport: over } = document.querySelector("header.top .state").dataset;
        return state === "live" && (over === transport || transport === "auto");
      }, transport);
    }
  });

  for (const transport of path === "/demo/feed/" ? HELD : [HELD[at % HELD.length]]) {
    test(`${title}: a crash, an outage and a sleep are survived over ${transport}`, async (t) => {
      await alone(t, context);
      const server = await start(t);
      const network = await tunnel(t, server.port);
      const page = await visit(t, network.url, path, { transport });
      await live(page);
      await server.crash();
      await page.locator('header.top .state:not([data-state="live"])').waitFor();
      await server.start();
      await live(page);

      network.cutUntilHealed();
      await page.locator('header.top .state:not([data-state="live"])').waitFor();
      await pause(OUTAGE_MS);
      network.heal();
      await live(page);

      await show(page, false);
      const devtools = await context.newCDPSession(page);
      await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
      await happens(server);
      await pause(OUTAGE_MS);
      await devtools.send("Page.setWebLifecycleState", { state: "active" });
      await show(page, true);
      await live(page);
      await sees(page);
    });
  }
}

test("seven tabs of one browser are live, though HTTP/1.1 has six connections", async (t) => {
  await alone(t, context);
  const server = await start(t);
  const tabs = [];
  for (let count = 0; count < 7; count += 1) {
    tabs.push(await visit(t, server.url, "/demo/feed/"));
    await live(tabs.at(-1));
  }
  const over = await Promise.all(tabs.map((page) => page.locator("header.top .state").getAttribute("data-transport")));
  assert.deepEqual(over.toSorted(), ["sse", "sse", "sse", "sse", "ws", "ws", "ws"]);
  await post(server, "feed/post", { author: "Ada", text: "Seven at once" });
  await Promise.all(tabs.map((page) => page.getByText("Seven at once").waitFor()));
});

test("a tab that insists on a stream has that of a hidden one, which has it again when it is shown", async (t) => {
  await alone(t, context);
  const server = await start(t);
  const tabs = [];
  for (let count = 0; count < 7; count += 1) tabs.push(await visit(t, server.url, "/demo/feed/", { transport: "sse" }));
  await Promise.all(tabs.slice(0, 4).map(live));
  const waiting = tabs.slice(4);
  for (const page of waiting) {
    await page.locator('header.top .state[data-state="waiting"][title*="HTTP/1.1"]').waitFor();
  }
  await Promise.all(tabs.slice(0, 4).map((page) => show(page, false)));
  await Promise.all(waiting.map(live));
  await post(server, "feed/post", { author: "Ada", text: "Meanwhile" });
  await Promise.all(waiting.map((page) => page.getByText("Meanwhile").waitFor()));

  await Promise.all(waiting.map((page) => show(page, false)));
  await Promise.all(tabs.slice(0, 4).map((page) => show(page, true)));
  await Promise.all(tabs.slice(0, 4).map(live));
  await Promise.all(tabs.slice(0, 4).map((page) => page.getByText("Meanwhile").waitFor()));
});
