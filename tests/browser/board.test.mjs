// The Kanban board as two people use it, one of whom loses the network.

import assert from "node:assert/strict";
import test from "node:test";

import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { live, visitors } from "./demo.mjs";

const path = "/demo/board/";
const settings = { flags: ["--demo"], set: { "limits.retry": "50ms" } };

const column = (page, name) => page.getByRole("region", { name, exact: true });
const card = (page, title) => page.locator(".card", { hasText: title });
const inColumn = (page, name, title) => column(page, name).locator(".card", { hasText: title }).waitFor();
const titles = (page, name) => column(page, name).locator(".open").allTextContents();
const settled = (page) => page.locator(".waiting:empty").waitFor({ state: "attached" });
const named = (page, name) => page.getByLabel("You are").fill(name);

/** Moves a card by the keyboard. */
const press = (page, title, keys) => card(page, title).locator(".open").press(keys);

const add = async (page, name, title) => {
  await page.getByRole("button", { name: `Add a card to ${name}` }).click();
  await page.getByLabel("Title").fill(title);
  await page.getByRole("button", { name: "Save" }).click();
};

/** Ada on the server's own address, Ben behind a network that can be cut. */
async function adaAndBen(t) {
  const server = await tidewire(t, settings);
  const way = await tunnel(t, server.port);
  const [[ada], [ben]] = await Promise.all([visitors(t, server, path, ["sse"]), visitors(t, way, path, ["ws"])]);
  await Promise.all([named(ada, "Ada"), named(ben, "Ben"), inColumn(ada, "Next", "Read the tide gauge"), inColumn(ben, "Next", "Read the tide gauge")]);
  return { server, way, ada, ben };
}

test("who was first has moved the card, and what was done offline happens once afterwards", async (t) => {
  const { way, ada, ben } = await adaAndBen(t);
  way.cutUntilHealed();
  await press(ben, "Read the tide gauge", "Shift+ArrowRight");
  await inColumn(ben, "Doing", "Read the tide gauge");
  await ben.getByText("1 change waits for the server").waitFor();
  await add(ben, "Next", "Count the seals");
  await press(ben, "Count the seals", "Shift+ArrowUp");

  for (const to of ["Doing", "Review"]) {
    await press(ada, "Read the tide gauge", "Shift+ArrowRight");
    await inColumn(ada, to, "Read the tide gauge");
  }
  await settled(ada);
  way.heal();

  await ben.locator(".card .mark", { hasText: "Ada moved it first" }).waitFor();
  await inColumn(ben, "Review", "Read the tide gauge");
  for (const page of [ada, ben]) {
    await inColumn(page, "Next", "Count the seals");
    await settled(page);
    assert.deepEqual(await titles(page, "Next"), ["Count the seals", "Order new mooring ropes"]);
  }
});

test("cards are dragged by a mouse, added, edited and deleted, and outlive the server", async (t) => {
  const { server, ada, ben } = await adaAndBen(t);
  const target = await column(ada, "Done").boundingBox();
  await card(ada, "Order new mooring ropes").hover();
  await ada.mouse.down();
  await ada.mouse.move(target.x + 40, target.y + 80, { steps: 8 });
  await ada.mouse.move(target.x + 60, target.y + target.height - 10, { steps: 4 });
  await ada.mouse.up();
  await inColumn(ben, "Done", "Order new mooring ropes");
  assert.equal((await titles(ben, "Done")).at(-1), "Order new mooring ropes");

  await card(ben, "Order new mooring ropes").locator(".open").click();
  await ben.getByLabel("Title").fill("Order green ropes");
  await ben.getByLabel("Column").selectOption("Next");
  await ben.getByRole("button", { name: "Save" }).click();
  await inColumn(ada, "Next", "Order green ropes");

  await server.restart();
  await Promise.all([ada, ben].map(live));
  await add(ada, "Review", "Paint the pier");
  await inColumn(ben, "Review", "Paint the pier");
  await card(ben, "Paint the pier").locator(".open").click();
  await ben.getByRole("button", { name: "Delete" }).click();
  await card(ada, "Paint the pier").waitFor({ state: "detached" });
  await ada.reload();
  await inColumn(ada, "Next", "Order green ropes");
  assert.equal(await card(ada, "Paint the pier").count(), 0);
});

test("what somebody wrote meanwhile is not written over, and what was written upon it is not lost", async (t) => {
  const { ada, ben } = await adaAndBen(t);
  const rename = async (page, title) => {
    await page.getByLabel("Title").fill(title);
    await page.getByRole("button", { name: "Save" }).click();
  };
  for (const page of [ada, ben]) await card(page, "Read the tide gauge").locator(".open").click();
  await rename(ada, "Read the tide gauge at noon");
  await inColumn(ben, "Next", "at noon");
  await rename(ben, "Read both gauges");
  await ben.getByText("Ada edited it first. You wrote: “Read both gauges").waitFor();
  for (const page of [ada, ben]) await inColumn(page, "Next", "at noon");
  await card(ben, "at noon").locator(".open").click();
  await rename(ben, "Read both gauges");
  await inColumn(ada, "Next", "Read both gauges");
});

test("a card is dragged by a finger at its grip, and what no backend says moves nothing", async (t) => {
  const { server, ada, ben } = await adaAndBen(t);
  const browser = await ben.context().newCDPSession(ben);
  const touch = (type, ...points) => browser.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y]) => ({ x, y })) });
  const grip = await card(ben, "Read the tide gauge").locator(".grip").boundingBox();
  const target = await column(ben, "Review").boundingBox();
  await touch("touchStart", [grip.x + 12, grip.y + 12]);
  for (const share of [0.2, 0.6, 1]) {
    await touch("touchMove", [grip.x + share * (target.x + 50 - grip.x), grip.y + share * (target.y + 200 - grip.y)]);
  }
  await touch("touchEnd");
  await inColumn(ada, "Review", "Read the tide gauge");

  await server.publish("demo-board", '{"version":2,"id":"gauge","by":"Mallory","card":{"id":"gauge","title":7}}', { "Tidewire-Event": "change" });
  await press(ben, "Read the tide gauge", "Shift+ArrowRight");
  await inColumn(ada, "Done", "Read the tide gauge");
  assert.equal(await card(ada, "7").count(), 0);
});

test("a change is heard over every transport that a visitor switches to", async (t) => {
  const { ada, ben } = await adaAndBen(t);
  for (const transport of ["Long poll", "Short poll", "SSE", "Auto", "WebSocket"]) {
    await ben.getByText(transport, { exact: true }).click();
    await live(ben);
    await add(ada, "Next", `Over ${transport}`);
    await inColumn(ben, "Next", `Over ${transport}`);
    assert.equal(await card(ben, `Over ${transport}`).count(), 1);
  }
});

test("a change that comes again after a restart happens once, and one upon an older card not at all", async (t) => {
  const server = await tidewire(t, settings);
  const ask = async (change) => {
    const answer = await fetch(`${server.url}/demo/api/board/change`, { method: "POST", body: JSON.stringify(change) });
    return { status: answer.status, said: await answer.json() };
  };
  const base = { moved: 0, edited: 0 };
  const change = { key: "k-1", by: "Ada", id: "gauge", base, what: "move", column: "done", after: null };
  const first = await ask(change);
  await server.restart();
  const again = await ask(change);
  assert.deepEqual([first.status, again.status, first.said.version, again.said.version], [200, 200, 1, 1]);

  const late = await ask({ ...change, key: "k-2", by: "Ben", column: "review" });
  assert.deepEqual([late.status, late.said.code, late.said.detail], [409, "conflict", "Ada moved it first"]);
  assert.equal(late.said.card.column, "done");
  assert.equal((await ask({ ...change, key: "k-3", by: "" })).status, 400);
});
