// The whole client: the core with figures, and one connection for all tabs where the page asks for that.

import { connect as connectCore, type Client } from "./client.js";
import { stats, type Stats } from "./stats.js";
import { canShare, tabs, type TabsOptions } from "./tabs.js";
import type { Options } from "./types.js";

export * from "./core.js";
export { canShare, tabs } from "./tabs.js";
export type { TabsOptions } from "./tabs.js";
export { stats } from "./stats.js";
export type { Stats } from "./stats.js";

/** A client that counts. */
export interface CountingClient extends Client {
  /** The figures of this moment. */
  stats(): Stats;
}

/** How a page connects. */
export interface WholeOptions extends Options, TabsOptions {
  /** Whether all tabs with pages of this origin share one connection, where the browser can. */
  tabs?: boolean;
}

/** A client of the server at `url`, which is the page's own where there is none. */
export function connect(url = "", options: WholeOptions = {}): CountingClient {
  const { tabs: isShared, ...own } = options;
  const base = (url || location.origin).replace(/\/+$/, "");
  const client = connectCore(base, isShared && canShare() ? { ...own, transports: [tabs(base, own)] } : own);
  // In place, so that `state` and `cursor` stay what they are at each moment.
  return Object.assign(client, { stats: stats(client) });
}
