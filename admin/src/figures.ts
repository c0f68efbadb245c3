// What every node did, once a second, for the last ten minutes: out of the feed, or asked for where the feed is silent.

import { signal } from "@preact/signals";

import { get } from "./api";
import { look, lost } from "./session";

export interface Figures {
  node: string;
  time: number;
  uptime_ms: number;
  phase: string;
  connections: { sse: number; ws: number; poll: number; http: number; all: number };
  rates: Record<string, number>;
  queued_bytes: number;
  slow_consumers: number;
  gaps: Record<string, number>;
  refusals: Record<string, number>;
  channels: number;
  history_messages: number;
  history_bytes: number;
  memory_bytes: number | null;
  cpu_percent: number | null;
  broker: { kind: string; state: string; lag_ms: number | null; probe_us: number | null; waiting: number | null };
  placed_us: number | null;
}

/** Seconds that are kept. */
const KEPT_S = 600;

/** Seconds that are shown of a page that has just been opened. */
const SHOWN_MIN_S = 60;

/** After so long without a word a node is silent, and after so long it is forgotten. */
const SILENT_S = 4;
const FORGOTTEN_S = 60;

/** How the figures come. */
export type Way = "connecting" | "live" | "asked";
export const way = signal<Way>("connecting");

/** What each node said last, and in which second of this machine's clock: nodes may have other clocks. */
export const nodes = signal<ReadonlyMap<string, { figures: Figures; at: number }>>(new Map());

/** Every second, what each node said in it. */
const seconds = new Map<number, Map<string, Figures>>();

export function isSilent(at: number): boolean {
  return now() - at >= SILENT_S;
}

/** The sum over the nodes that count, second by second; a gap where none said anything. */
export function series(of: (figures: Figures) => number | null, node: string, join: "sum" | "max" = "sum"): (number | null)[] {
  return times().map((second) => {
    const said = seconds.get(second);
    let joint: number | null = null;
    for (const [name, figures] of said ?? []) {
      const value = node && name !== node ? null : of(figures);
      if (value !== null) joint = join === "sum" ? (joint ?? 0) + value : Math.max(joint ?? 0, value);
    }
    return joint;
  });
}

/** The seconds that are shown. The one that is not over yet is not. */
export function times(): number[] {
  const last = now() - 1;
  const first = Math.min(last, ...seconds.keys());
  const shown = Math.min(KEPT_S, Math.max(SHOWN_MIN_S, last - first + 1));
  return Array.from({ length: shown }, (_, at) => last - shown + 1 + at);
}

/** Listens for as long as the page is logged in. */
export function listen(): () => void {
  const source = new EventSource("/admin/feed");
  source.addEventListener("figures", (event) => {
    way.value = "live";
    take(JSON.parse((event as MessageEvent<string>).data) as Figures);
  });
  source.addEventListener("error", () => {
    // It gives up for good where it is refused, which mostly means that the session is over.
    if (source.readyState === EventSource.CLOSED) void look();
  });
  const beat = setInterval(async () => {
    const newest = Math.max(0, ...[...nodes.value.values()].map(({ at }) => at));
    if (now() - newest < SILENT_S - 1) return;
    try {
      take(await get<Figures>("/admin/figures", { byItself: true }));
      way.value = "asked";
    } catch (error) {
      way.value = "connecting";
      lost(error);
    }
  }, 1_000);
  return () => {
    source.close();
    clearInterval(beat);
  };
}

function take(figures: Figures): void {
  const at = now();
  const said = seconds.get(at) ?? new Map<string, Figures>();
  said.set(figures.node, figures);
  seconds.set(at, said);
  for (const second of seconds.keys()) if (second < at - KEPT_S) seconds.delete(second);
  const known = new Map(nodes.value);
  known.set(figures.node, { figures, at });
  for (const [node, { at: last }] of known) if (at - last > FORGOTTEN_S) known.delete(node);
  nodes.value = known;
}

function now(): number {
  return Math.floor(Date.now() / 1_000);
}
