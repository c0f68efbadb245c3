// What a connection has done since the page began to count.

import type { Client } from "./client.js";
import type { State } from "./types.js";

/** Figures of one client. */
export interface Stats {
  readonly state: State;
  readonly transport: string;
  readonly cursor: string;
  /** Messages that were told, and the bytes of their payloads. */
  readonly messages: number;
  readonly bytes: number;
  readonly gaps: number;
  /** Times that the connection became live. */
  readonly connections: number;
  /** For how long it has been live, in milliseconds; 0 while it is not. */
  readonly live_ms: number;
  /**
   * Between the newest message's place in the log and now, in milliseconds; `null` before there was one. Two clocks are
   * compared, the server's and the page's: it may be negative.
   */
  readonly latency_ms: number | null;
}

/** Begins to count, and gives what tells the figures of the moment. */
export function stats(client: Client, clock: Pick<DateConstructor, "now"> = Date): () => Stats {
  let messages = 0;
  let bytes = 0;
  let gaps = 0;
  let connections = 0;
  let live_at: number | undefined;
  let latency_ms: number | null = null;
  const text = new TextEncoder();
  const observe = ({ state }: { state: State }) => {
    if (state == "live") {
      connections += 1;
      live_at = clock.now();
    } else live_at = undefined;
  };
  if (client.state.state == "live") observe(client.state);
  client.on("state", observe);
  client.on("gap", () => (gaps += 1));
  client.on("message", ({ data, time }) => {
    messages += 1;
    bytes += typeof data == "string" ? text.encode(data).length : data.length;
    latency_ms = clock.now() - time;
  });
  return () => ({
    state: client.state.state,
    transport: client.state.transport,
    cursor: client.cursor,
    messages,
    bytes,
    gaps,
    connections,
    live_ms: live_at === undefined ? 0 : clock.now() - live_at,
    latency_ms,
  });
}
