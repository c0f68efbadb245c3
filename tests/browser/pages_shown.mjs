// Every page that Tidewire shows, for whoever judges all of them. A demonstration is among them by being there.

import { readdirSync } from "node:fs";
import { join } from "node:path";

import { repository, tidewire } from "../e2e/harness/tidewire.mjs";
import { PATIENCE_MS } from "./demo.mjs";

/** The label of the kit, on a page that hears. */
const LIVE = '.state[data-state="live"]';

/**
 * `path` is where it is, `live` what it shows once it hears, as a selector. `enter(page, server)`
 * is how one comes in, where that takes more than to go there.
 */
export const SHOWN = [
  { path: "/", live: `${LIVE}, .gallery a[href^="/demo/"]` },
  ...demonstrations().map((path) => ({ path, live: LIVE })),
  { path: "/c/prices", live: ".state.live" },
  // Last: by now there are channels, connections and refusals with what the tests wrote.
  ...["", "#/channels", "#/channels/demo-feed", "#/connections", "#/refusals"].map((view) => ({ path: `/admin${view}`, live: ".state.live", enter })),
];

/** Logs in to the console, unless that has been done. */
async function enter(page, server) {
  await page.getByLabel("Password").or(page.getByRole("button", { name: "Log out" })).first().waitFor({ timeout: PATIENCE_MS });
  if (!(await page.getByLabel("Password").isVisible())) return;
  await page.getByLabel("Password").fill(/password (\S+)/.exec(server.said)[1]);
  await page.getByRole("button", { name: "Log in" }).click();
}

/** The folders of `demo/`, but for what its pages share. */
function demonstrations() {
  const folders = readdirSync(join(repository, "demo"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.map(({ name }) => `/demo/${name}/`).filter((path) => path !== "/demo/kit/");
}

/** A server that shows all of them. */
export function showing(t) {
  return tidewire(t, { flags: ["--demo"], set: { "limits.retry": "50ms" } });
}

/** Opens a page of the list in a tab, and waits until it is live. */
export async function show(page, server, shown, query = "") {
  const { path, enter } = shown;
  // To go to another place in a page is not to load it anew.
  if (path.includes("#")) await page.goto("about:blank");
  await page.goto(`${server.url}${path}${query}`);
  await enter?.(page, server);
  await hears(page, shown);
}

/** Waits until a page of the list is live. */
export function hears(page, { live }) {
  return page.locator(live).first().waitFor({ timeout: PATIENCE_MS });
}
