// Every page that Tidewire shows, for whoever judges all of them: a page that is new is one line here.

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { repository, tidewire } from "../e2e/harness/tidewire.mjs";
import { PATIENCE_MS } from "./demo.mjs";

/**
 * `path` is where it is, and `live` what it shows once it hears. `says(text)` are messages for its channels, as a visitor
 * or anybody else in dev mode may publish them: `{channel, event?, data}`. `enter(page, server)` is how one comes in.
 */
export const SHOWN = [
  {
    path: "/",
    live: '#chat .state[data-state="live"]',
    says: (text) => [
      { channel: "demo:chat", data: text },
      { channel: "demo:chat", data: JSON.stringify({ name: text, text }) },
      { channel: "demo:host", data: JSON.stringify({ host: text, cpu: text, memory: text, network: text, cores: [text] }) },
    ],
  },
  demonstration("feed", (text) => ({ version: text, id: text, author: text, text, time: text, likes: text }), ["post", "like"]),
  {
    path: "/c/prices",
    live: "#state:text-is('Live')",
    says: (text) => [{ channel: "prices", event: text, data: text, key: text }, { channel: "prices", data: text }],
  },
];

/** The folders of `demo/`, but for what its pages share. */
export const DEMONSTRATIONS = readdirSync(join(repository, "demo"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== "kit")
  .map(({ name }) => `/demo/${name}/`);

/** A server that shows all of them. */
export function showing(t) {
  return tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
}

/** Opens a page of the list in a tab, and waits until it is live. */
export async function show(page, server, { path, live, enter }) {
  await page.goto(`${server.url}${path}`);
  await enter?.(page, server);
  await page.locator(live).first().waitFor({ timeout: PATIENCE_MS });
}

/** The page of a demonstration. `shape(text)` is what its backend tells of its own, under one of `events`. */
function demonstration(name, shape, events = [], channel = `demo-${name}`) {
  return {
    path: `/demo/${name}/`,
    live: 'header.top .state[data-state="live"]',
    says: (text) => [
      { channel, data: text },
      ...events.map((event) => ({ channel, event, data: JSON.stringify(shape(text)) })),
    ],
  };
}
