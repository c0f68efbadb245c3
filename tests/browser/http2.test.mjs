// Chromium over TLS: what a page may have that needs more than six connections over HTTP/1.1.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";

import { eventually } from "../e2e/harness/heard.mjs";
import { tidewire } from "../e2e/harness/tidewire.mjs";
import { tunnel } from "../e2e/harness/tunnel.mjs";
import { each, eventSources } from "./streams.mjs";
import { browser, open, webSocket } from "./tab.mjs";

const STREAMS = 100;
const quickRetry = { "limits.retry": "50ms" };

test("f29_a_hundred_streams_of_a_page_share_one_connection_and_all_resume_after_a_cut", async (t) => {
  const server = await tidewire(t, { set: quickRetry, secure: true });
  const network = await tunnel(t, server.port);
  const url = network.url.replace("http", "https");
  const page = await open(await browser(t), `${url}/livez`);
  const before = network.heads.length;
  await eventSources(page, url, STREAMS);
  await each(page.heard, STREAMS, ({ ready }) => ready);
  assert.equal(network.heads.length, before, "the connection that brought the page carries them all");
  for (let channel = 0; channel < STREAMS; channel += 1) await server.publish(`c${channel}`, `first ${channel}`);
  await each(page.heard, STREAMS, ({ channel, data }) => (data === `first ${channel}` ? channel : undefined));

  network.cutUntilHealed();
  for (let channel = 0; channel < STREAMS; channel += 1) await server.publish(`c${channel}`, `missed ${channel}`);
  network.heal();
  await each(page.heard, STREAMS, ({ channel, data }) => (data === `missed ${channel}` ? channel : undefined));
  const again = page.heard.all.filter(({ data }) => data?.startsWith("first")).length;
  assert.equal(again, STREAMS, "nothing came twice");
  assert.ok(!page.heard.all.some(({ closed }) => closed !== undefined));
});

test("f27_over_http_1_1_the_seventh_stream_of_a_page_waits", async (t) => {
  const server = await tidewire(t);
  const page = await open(await browser(t), `${server.url}/livez`);
  await eventSources(page, server.url, 7);
  await each(page.heard, 6, ({ ready }) => ready);
  await server.publish("c0", "they hear");
  await page.heard.find(({ data }) => data === "they hear");
  assert.equal(new Set(page.heard.all.map(({ ready }) => ready).filter((ready) => ready !== undefined)).size, 6);
  await page.page.evaluate(() => sources[0].close());
  await eventually("the seventh comes in once there is room", () =>
    page.heard.all.some(({ ready }) => ready === 6));
});

test("a WebSocket of a page that came over HTTP/2 is an extended CONNECT on the same connection", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-netlog-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const log = join(folder, "net.json");
  const server = await tidewire(t, { secure: true });
  const context = await browser(t, { flags: [`--log-net-log=${log}`, "--net-log-capture-mode=Everything"] });
  const page = await open(context, `${server.url}/livez`);
  await webSocket(page, `${server.wsUrl}/c/chat`);
  assert.equal(await page.heard.next(), "open");
  await page.page.evaluate(() => socket.send("hello"));
  assert.equal(await page.heard.next(), "hello");
  await server.publish("chat", "from the backend");
  assert.equal(await page.heard.next(), "from the backend");
  await page.page.evaluate(() => socket.close(1000));
  assert.equal((await page.heard.next()).code, 1000);
  await eventually("the browser's own log shows how it asked", () => {
    const said = readFileSync(log, "utf8");
    return said.includes(":method: CONNECT") && said.includes(":protocol: websocket");
  });
});
