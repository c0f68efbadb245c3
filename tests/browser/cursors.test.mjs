// Shared cursors as several people see them, beside one who does not read.

import assert from "node:assert/strict";
import { connect } from "node:net";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { live, visitors } from "./demo.mjs";

const path = "/demo/cursors/";
const settings = { flags: ["--demo"], set: { "limits.retry": "50ms" } };

const named = async (page, name) => {
  await page.getByLabel("You are").fill(name);
  await page.getByLabel("You are").press("Tab");
  await page.getByText(`${name} (you)`).waitFor();
};
const isHere = (page, name) => page.locator(".people li", { hasText: name }).waitFor();
const isGone = (page, name) => page.locator(".people li", { hasText: name }).waitFor({ state: "detached" });

/** Points at a place of the stage, in shares of it. */
async function pointAt(page, x, y) {
  const box = await page.locator(".stage").boundingBox();
  await page.mouse.move(box.x + box.width * x, box.y + box.height * y, { steps: 5 });
}

/** Waits until a page shows the pointer of `name` there. */
function shows(page, name, x, y) {
  return page.waitForFunction(([name, x, y]) => {
    const stage = document.querySelector(".stage").getBoundingClientRect();
    const cursor = [...document.querySelectorAll(".cursor:not([hidden])")].find((cursor) => cursor.textContent === name);
    const at = cursor?.getBoundingClientRect();
    return at && Math.abs(at.x - stage.x - stage.width * x) < 4 && Math.abs(at.y - stage.y - stage.height * y) < 4;
  }, [name, x, y]);
}

test("everybody sees where the others point, on each transport, and who leaves disappears", async (t) => {
  const server = await tidewire(t, settings);
  const way = await tunnel(t, server.port);
  const [[ada], [ben]] = await Promise.all([visitors(t, server, path, ["sse"]), visitors(t, way, path, ["ws"])]);
  await Promise.all([named(ada, "Ada"), named(ben, "Ben"), isHere(ada, "Ben"), isHere(ben, "Ada")]);
  await pointAt(ben, 0.25, 0.5);
  await shows(ada, "Ben", 0.25, 0.5);
  await ada.locator('[data-way="in"]', { hasText: /\+33\s%/ }).waitFor();
  await ada.getByLabel("Hear it over a raw WebSocket, too").check();
  await ada.locator('[data-way="raw"]', { hasText: /[1-9]\d*\/s.*not needed/ }).waitFor();

  await Promise.all([pointAt(ada, 0.75, 0.25), pointAt(ben, 0.3, 0.5)]);
  for (const transport of ["Long poll", "Short poll", "SSE", "Auto", "WebSocket"]) {
    await ben.getByText(transport, { exact: true }).click();
    await live(ben);
    await shows(ben, "Ada", 0.75, 0.25);
  }

  way.cut();
  await server.restart();
  await Promise.all([ada, ben].map(live));
  await Promise.all([isHere(ada, "Ben"), isHere(ben, "Ada"), pointAt(ben, 0.5, 0.5)]);
  await shows(ada, "Ben", 0.5, 0.5);
  await ben.close({ runBeforeUnload: false });
  await isGone(ada, "Ben");
});

test("a pointer is moved by keys and by touch, and draws", async (t) => {
  const server = await tidewire(t, settings);
  const [ada, ben] = await visitors(t, server, path, ["sse", "ws"]);
  await Promise.all([named(ada, "Ada"), named(ben, "Ben"), isHere(ada, "Ben")]);
  await ben.locator(".stage").focus();
  for (let count = 0; count < 5; count += 1) await ben.keyboard.press("ArrowRight");
  await shows(ada, "Ben", 0.65, 0.5);
  await ben.keyboard.down("Space");
  await ben.keyboard.press("ArrowUp");
  await shows(ada, "Ben", 0.65, 0.47);
  await ada.locator(".cursor.pressed", { hasText: "Ben" }).waitFor();
  await ben.keyboard.up("Space");
  await ada.locator(".cursor:not(.pressed)", { hasText: "Ben" }).waitFor();

  const browser = await ben.context().newCDPSession(ben);
  const box = await ben.locator(".stage").boundingBox();
  const touch = (type, x, y) => browser.send("Input.dispatchTouchEvent", {
    type, touchPoints: type === "touchEnd" ? [] : [{ x: box.x + box.width * x, y: box.y + box.height * y }],
  });
  await touch("touchStart", 0.2, 0.2);
  await touch("touchMove", 0.3, 0.6);
  await shows(ada, "Ben", 0.3, 0.6);
  await ada.locator(".cursor.pressed", { hasText: "Ben" }).waitFor();
  await touch("touchEnd");
  await ada.locator(".cursor:not(.pressed)", { hasText: "Ben" }).waitFor();
});

test("whoever does not read skips to the newest of each channel, is told so, and delays nobody", async (t) => {
  const large = { "namespace.demo-cursors.message_bytes_max": "65536" };
  const server = await tidewire(t, { ...settings, set: { ...settings.set, ...large } });
  const [ada, ben] = await visitors(t, server, path, ["sse", "ws"]);
  await Promise.all([named(ada, "Ada"), named(ben, "Ben"), isHere(ada, "Ben")]);

  // Two channels of the namespace that are nobody's seat, so that the pages are spared.
  const slow = connect({ port: server.port, host: "127.0.0.1" });
  t.after(() => slow.destroy());
  let read = "";
  slow.setEncoding("latin1").on("data", (text) => (read += text));
  slow.write("GET /c/demo-cursors:98,demo-cursors:99?format=json HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n");
  await eventually("the stream has begun", () => read.includes("$ready"));
  slow.pause();
  const bytes = { "Content-Type": "application/octet-stream" };
  const much = new Uint8Array(60 << 10);
  let [published, newest, newestQuiet] = [0];
  const skipped = async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return /^tidewire_gaps\S*reason="slow_consumer"\S* [1-9]/m.test(metrics);
  };
  await eventually("it is behind", async () => {
    newestQuiet = await server.publish("demo-cursors:98", new Uint8Array(6), bytes);
    for (let count = 0; count < 40; count += 1) newest = await server.publish("demo-cursors:99", much, bytes);
    published += 40;
    return skipped();
  });

  await pointAt(ben, 0.4, 0.6);
  await shows(ada, "Ben", 0.4, 0.6);
  assert.equal(await ada.getByText("Skipped to the newest").count(), 0);

  slow.resume();
  await eventually("it has the newest", () => read.includes(newest.id));
  const gap = JSON.parse(/event: \$gap\r?\ndata: (.*)/.exec(read)[1]);
  assert.equal(gap.reason, "slow_consumer");
  assert.ok(gap.channels.includes("demo-cursors:99"), gap.channels);
  // Many of one channel lay between; what is the newest of the other one is kept for all that.
  assert.ok(read.includes(newestQuiet.id), "the newest of the quiet channel");
  assert.ok(read.split('"channel":"demo-cursors:99"').length - 1 < published, "some were skipped");
});
