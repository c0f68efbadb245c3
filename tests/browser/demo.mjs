// Visitors of a demonstration, each with a browser of their own.

import assert from "node:assert/strict";

import { browser } from "./tab.mjs";

/** How long a visitor waits for what they are to see. Far above what a busy machine needs. */
export const PATIENCE_MS = 20_000;

/**
 * Opens `path` of `server` in as many browsers as there are `transports`, each over its own, and waits until all are live.
 * A page that complains in its console fails the test `t`.
 */
export async function visitors(t, server, path, transports = ["sse", "ws"]) {
  return Promise.all(transports.map(async (transport) => {
    const context = await browser(t);
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const complaints = [];
    page.on("pageerror", (error) => complaints.push(`${error}`));
    page.on("console", (message) => /Content Security Policy|Uncaught/.test(message.text()) && complaints.push(message.text()));
    t.after(() => assert.deepEqual(complaints, [], `${path} over ${transport}`));
    const address = new URL(path, server.url);
    address.searchParams.set("transport", transport);
    await page.goto(address.href);
    await live(page);
    return page;
  }));
}

/** Waits until the page says that it is live. */
export function live(page) {
  return page.locator('header.top .state[data-state="live"]').waitFor({ timeout: PATIENCE_MS });
}

/** Chooses another transport, as a visitor does: by its word, once that stands still. */
export async function choose(page, transport) {
  const input = page.locator(`input[value="${transport}"]`);
  await page.locator(".switch label").filter({ has: input }).locator("span").click({ timeout: PATIENCE_MS });
  await page.waitForFunction((input) => input.checked, await page.locator(".switch").locator(input).elementHandle());
}

/** The same, and waits until the page is live over it. */
export async function switchTo(page, transport) {
  await choose(page, transport);
  await page.locator(`header.top .state[data-state="live"][data-transport="${transport}"]`).waitFor({ timeout: PATIENCE_MS });
}

/** Every transport that can be chosen by hand. */
export const TRANSPORTS = ["sse", "ws", "longpoll", "poll"];
