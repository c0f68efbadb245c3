// Monitoring: what every node measures of its machine, drawn as it arrives.

import { clock } from "../kit/format.js";
import { Live, head } from "../kit/live.js";
import { showOrigin } from "../kit/origin.js";
import { Panel } from "./panel.js";

const CHANNEL = "demo:host";

/** The last minute of two nodes; with more of them, the older half of it comes while one looks. */
const HISTORY = 120;

/** Panels at once. Anybody may publish under any name in dev mode. */
const NODES_MAX = 8;

const GAPS = {
  trimmed: "history does not reach that far back",
  epoch: "the server began anew",
  failover: "the broker failed over",
  store_reset: "the broker lost its store",
  slow_consumer: "this page read too slowly",
  transient: "the connection to the broker was disturbed",
};

const main = document.querySelector("main");
const notice = main.querySelector(".notice");
const panels = new Map();
const live = new Live();
head(live);
showOrigin();

live.on(CHANNEL, "message", (message) => show(message, Date.now()));
live.onGap(({ reason }) => {
  notice.textContent = `${clock(Date.now())}: measurements may be missing; ${GAPS[reason] ?? "the server does not say why"}.`;
  notice.hidden = false;
});

let hasPast = false;
live.onState(async ({ state }) => {
  if (state !== "live" || hasPast) return;
  hasPast = true;
  try {
    const { messages } = await live.history(CHANNEL, { tail: HISTORY });
    messages.forEach((message) => show(message));
  } catch {
    hasPast = false;
  }
});

/** Draws a measurement. One of the past did not come at a moment that would say anything about the way here. */
function show({ id, data }, arrived) {
  const sample = read(data);
  if (!sample) return;
  if (!panels.has(sample.node)) {
    if (panels.size === NODES_MAX) return;
    document.querySelector(".nothing").hidden = true;
    panels.set(sample.node, new Panel(document.querySelector("template"), main, sample.node));
  }
  panels.get(sample.node).add(sample, id, arrived);
}

// Anybody may publish to a channel in dev mode, so what arrives is looked at before it is drawn.
function read(data) {
  const { node, cpu, memory, network, disk, subscribers, time } = parse(data) ?? {};
  const sample = {
    time,
    subscribers,
    cpu: cpu?.total,
    cores: Array.isArray(cpu?.cores) ? cpu.cores.slice(0, 512) : [],
    used: memory?.used_bytes,
    total: memory?.total_bytes,
    rx: network?.rx_bytes_per_s,
    tx: network?.tx_bytes_per_s,
    read: disk?.read_bytes_per_s,
    written: disk?.written_bytes_per_s,
  };
  const { cores, subscribers: _, ...numbers } = sample;
  if (typeof node !== "string" || ![...Object.values(numbers), ...cores].every(Number.isFinite)) return null;
  return { ...sample, node: node.slice(0, 80) };
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
