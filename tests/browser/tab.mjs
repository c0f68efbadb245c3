// A tab of Debian's Chromium, with a fresh profile, and what its page tells the test.

import { mkdtempSync, rmSync } from "node:fs";
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

/** Starts a browser for the test `t`; `CHROMIUM` names another than Debian's. */
export async function browser(t) {
  const profile = mkdtempSync(join(tmpdir(), "tidewire-browser-"));
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const context = await chromium.launchPersistentContext(profile, { executablePath, args: flags, headless: true });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
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
export function eventSource({ page }, url, types = []) {
  return page.evaluate(([url, types]) => {
    globalThis.source = new EventSource(url);
    for (const type of ["message", "$ready", "$gap", ...types]) {
      source.addEventListener(type, (event) => tell({ type, data: event.data, id: event.lastEventId }));
    }
    source.addEventListener("error", () => source.readyState === EventSource.CLOSED && tell({ type: "closed" }));
  }, [url, types]);
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
