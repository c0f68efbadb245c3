// A tab of Debian's Chromium, with a fresh profile, and what its page tells the test.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

import { Heard } from "../e2e/harness/heard.mjs";

const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
  // A name that is not this machine's own and yet leads here: what a foreign site, or DNS rebinding, looks like.
  "--host-resolver-rules=MAP foreign.example 127.0.0.1",
];

/** Starts a browser for the test `t`, or for a whole file with `{ after }`; `CHROMIUM` names another than Debian's. */
export async function browser(t, { flags: more = [] } = {}) {
  const profile = mkdtempSync(join(tmpdir(), "tidewire-browser-"));
  // Without its protection from cookies of other sites: whoever relies on that has none in other browsers.
  mkdirSync(join(profile, "Default"));
  writeFileSync(join(profile, "Default", "Preferences"), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, args: [...flags, ...more], headless: true, ignoreHTTPSErrors: true,
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return context;
}

/** Gives the test `t` the browser of its file as if it were new: without cookies, and without the tabs of others. */
export async function alone(t, context) {
  await context.clearCookies();
  // A browser whose last tab is closed may end; its first one is nobody's.
  t.after(() => Promise.all(context.pages().slice(1).map((page) => page.close())));
  return context;
}

/** Opens an empty page of an origin of its own, as a developer's page on another port is. */
export async function tab(t, context, { host = "127.0.0.1" } = {}) {
  const pages = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>a page</title>");
  });
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    pages.closeAllConnections();
    return new Promise((resolve) => pages.close(resolve));
  });
  return open(context, `http://${host}:${pages.address().port}/`);
}

/** Opens `url` in a new tab. Its page has `tell(item)`; what it tells is in `heard`. */
export async function open(context, url) {
  const page = await context.newPage();
  const heard = new Heard();
  await page.exposeFunction("tell", (item) => heard.push(item));
  await page.goto(url);
  return { page, heard };
}

/** Opens an EventSource in the page, as `source`: it tells `{type, data, id}`, and `{type: "closed"}` if it gives up. */
export function eventSource({ page }, url, types = [], how = {}) {
  return page.evaluate(([url, types, how]) => {
    globalThis.source = new EventSource(url, how);
    for (const type of ["message", "$ready", "$gap", ...types]) {
      source.addEventListener(type, (event) => tell({ type, data: event.data, id: event.lastEventId }));
    }
    source.addEventListener("error", () => source.readyState === EventSource.CLOSED && tell({ type: "closed" }));
  }, [url, types, how]);
}

/** Opens a WebSocket in the page, as `socket`: it tells `"open"`, texts, arrays of bytes, and `{code, reason}` at last. */
export function webSocket({ page }, url) {
  return page.evaluate((url) => {
    globalThis.socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => tell("open");
    socket.onmessage = ({ data }) => tell(typeof data === "string" ? data : [...new Uint8Array(data)]);
    socket.onclose = ({ code, reason }) => tell({ code, reason });
  }, url);
}
