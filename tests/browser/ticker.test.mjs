// The stock ticker: prices that are those of the server, whatever happens on the way.

import assert from "node:assert/strict";
import test from "node:test";

import { tidewire } from "../e2e/harness/tidewire.mjs";
import { choose, live, PATIENCE_MS, visitors } from "./demo.mjs";
import { agrees } from "./market.mjs";

const start = (t) => tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
const first = (page) => page.locator("tbody tr:visible").first();

test("prices are the server's over every transport, and a switch loses none", async (t) => {
  const server = await start(t);
  const [ada, ben] = await visitors(t, server, "/demo/ticker/", ["sse", "longpoll"]);
  await Promise.all([ada, ben].map(agrees));
  for (const transport of ["ws", "poll", "sse", "longpoll", "auto"]) {
    await choose(ada, transport);
    await live(ada);
    await agrees(ada);
  }
  for (const page of [ada, ben]) assert.equal(await page.locator(".ticker > .panel > .notice").isVisible(), false);
});

test("the market goes on where it was when its server is started anew, and a page says what it missed", async (t) => {
  const server = await start(t);
  const pages = await visitors(t, server, "/demo/ticker/", ["sse", "ws"]);
  const opened = async () => (await (await fetch(`${server.url}/demo/api/ticker`)).json()).shares.map(({ open }) => open);
  const before = await opened();
  await server.restart();
  await Promise.all(pages.map(live));
  await Promise.all(pages.map((page) => page.getByText("Prices were missed until").waitFor()));
  await Promise.all(pages.map(agrees));
  assert.deepEqual(await opened(), before);
});

test("a share shows the history of its channel, and stays on the watch list", async (t) => {
  const server = await start(t);
  const [page] = await visitors(t, server, "/demo/ticker/", ["sse"]);
  await page.getByPlaceholder("Symbol or name").fill("fathom g");
  await page.getByText("1 of 200 shares").waitFor();
  await page.getByRole("button", { name: "FAGL Fathom Glass" }).click();
  await page.getByRole("heading", { name: "FAGL · Fathom Glass" }).waitFor();
  const points = page.locator('[data-fact="points"]');
  await page.waitForFunction(() => Number(document.querySelector('[data-fact="points"]').textContent) >= 30);
  assert.match(await page.locator(".detail path.line").getAttribute("d"), /^M0\.0 /);
  const count = Number(await points.textContent());
  await server.publish("demo-ticker:FAGL", JSON.stringify({ time: "now", price: -1 }), { "Tidewire-Event": "point" });
  await server.publish("demo-ticker:FAGL", "not a point", { "Tidewire-Event": "point" });
  await page.waitForFunction((count) => Number(document.querySelector('[data-fact="points"]').textContent) === count + 1, count);
  assert.doesNotMatch(await page.locator(".detail path.line").getAttribute("d"), /NaN|Infinity/);

  await page.locator(".detail button.star").click();
  await page.reload();
  await page.getByRole("heading", { name: "FAGL · Fathom Glass" }).waitFor();
  await page.getByLabel("Watch list").check();
  await page.getByText("1 of 200 shares").waitFor();
  await first(page).getByText("FAGL").waitFor();
});

test("the greatest change of the day comes first where that is asked for", async (t) => {
  const server = await start(t);
  const [page] = await visitors(t, server, "/demo/ticker/", ["ws"]);
  await agrees(page);
  await page.getByRole("button", { name: "Today" }).click();
  assert.equal(await page.locator("th.change").getAttribute("aria-sort"), "descending");
  await page.waitForFunction(() => {
    const shown = [...document.querySelectorAll("tbody tr")].slice(0, 8).map((row) => parseFloat(row.querySelector(".change").textContent));
    return shown.every((value, at) => Number.isFinite(value) && (at === 0 || value <= shown[at - 1]));
  }, undefined, { polling: 50, timeout: PATIENCE_MS });
});
