// What the nodes do.

import { useState } from "preact/hooks";

import { BINARY, Chart, TENTHS } from "./chart";
import { type Figures, isSilent, nodes, series, way } from "./figures";
import { bytes, count, micros, plural, rate, span } from "./format";
import { Table } from "./parts";

export function Overview() {
  const [chosen, choose] = useState("");
  const known = [...nodes.value].sort(([a], [b]) => a.localeCompare(b));
  if (!known.length) return <p class="empty" role="status">Waiting for the first figures…</p>;
  const node = known.some(([name]) => name === chosen) ? chosen : "";
  const counted = known.filter(([name, { at }]) => (!node || name === node) && !isSilent(at)).map(([, { figures }]) => figures);
  const sum = (of: (figures: Figures) => number | null) => counted.reduce((all, figures) => all + (of(figures) ?? 0), 0);
  const shared = known.some(([, { figures }]) => figures.broker.kind === "redis");
  // Nodes that share a log all count what is placed there.
  const published = shared ? Math.max(0, ...counted.map(({ rates }) => rates.published ?? 0)) : sum(({ rates }) => rates.published ?? 0);
  return (
    <>
      <h2 class="unseen">Overview</h2>
      {way.value === "asked" && shared && (
        <p class="note" role="status">The feed is silent, as it is while Redis is away: these are the figures of this node alone, asked for each second.</p>
      )}
      <dl class="tiles">
        <Tile name="Connections" value={count(sum(({ connections }) => connections.all))} />
        <Tile name="Published" value={rate(published)} unit="/s" />
        <Tile name="Delivered" value={rate(sum(({ rates }) => rates.delivered ?? 0))} unit="/s" />
        <Tile name="Waiting to be read" value={bytes(sum((figures) => figures.queued_bytes))} />
        <Tile name="Slow readers ended" value={count(sum((figures) => figures.slow_consumers))} />
        <Tile name="Gaps told" value={count(sum(({ gaps }) => all(gaps)))} />
      </dl>
      {known.length > 1 && (
        <fieldset class="choice">
          <legend class="unseen">Nodes that are shown</legend>
          {["", ...known.map(([name]) => name)].map((name) => (
            <label key={name}>
              <input type="radio" name="node" checked={name === node} onChange={() => choose(name)} />
              <span>{name || "All nodes"}</span>
            </label>
          ))}
        </fieldset>
      )}
      <div class="charts">
        <Chart title="Subscribers" show={count} lines={[
          { name: "SSE", colour: "one", values: series(({ connections }) => connections.sse, node) },
          { name: "WebSocket", colour: "two", values: series(({ connections }) => connections.ws, node) },
          { name: "Poll", colour: "three", values: series(({ connections }) => connections.poll, node) },
        ]} />
        <Chart title="Messages a second" show={rate} lines={[
          { name: "published", colour: "two", values: series(({ rates }) => rates.published ?? null, node, shared ? "max" : "sum") },
          { name: "delivered", colour: "one", values: series(({ rates }) => rates.delivered ?? null, node) },
        ]} />
        <Chart title="Until a message is placed" show={micros} lines={[
          { name: shared ? "publish" : "", colour: "one", values: series((figures) => figures.placed_us, node, "max") },
          ...(shared ? [{ name: "Redis round trip", colour: "two" as const, values: series(({ broker }) => broker.probe_us, node, "max") }] : []),
        ]} />
        <Chart title="Bytes written a second" show={bytes} steps={BINARY} lines={[
          { name: "", colour: "one", values: series(({ rates }) => rates.bytes_out ?? null, node) },
        ]} />
        <Chart title="Waiting to be read" show={bytes} steps={BINARY} lines={[
          { name: "", colour: "one", values: series((figures) => figures.queued_bytes, node) },
        ]} />
        <Chart title="CPU" show={(value) => `${rate(value)} %`} steps={TENTHS} lines={[
          { name: "", colour: "one", values: series((figures) => figures.cpu_percent, node) },
        ]} />
        <Chart title="Memory" show={bytes} steps={BINARY} lines={[
          { name: "", colour: "one", values: series((figures) => figures.memory_bytes, node) },
        ]} />
        <Chart title="Coming in a second" show={rate} steps={TENTHS} lines={[
          { name: "connections", colour: "three", values: series(({ rates }) => rates.accepted ?? null, node) },
          { name: "subscriptions", colour: "one", values: series(({ rates }) => rates.admitted ?? null, node) },
          { name: "refused", colour: "two", values: series(({ rates }) => rates.refused ?? null, node) },
        ]} />
        <Chart title="History" show={bytes} steps={BINARY} lines={[
          { name: "", colour: "one", values: series((figures) => figures.history_bytes, node, shared ? "max" : "sum") },
        ]} />
        {shared && (
          <Chart title="Since Redis was heard" show={(value) => `${count(value)} ms`} lines={[
            { name: "", colour: "one", values: series(({ broker }) => broker.lag_ms, node, "max") },
          ]} />
        )}
      </div>
      <section class="panel">
        <div class="bar">
          <h3>{known.length > 1 ? "Nodes" : "This node"}</h3>
          <p class="soft"><small>What this console is told counts, too: one message a second and node.</small></p>
        </div>
        <Table label="Nodes" head={["Node", "State", "Up", "Connections", "Published", "Delivered", "Channels", "History", "Memory", "CPU", "Broker"]} numbers={[3, 4, 5, 6, 7, 8, 9]}>
          {known.map(([name, { figures, at }]) => (
            <tr key={name} class={isSilent(at) ? "silent" : ""}>
              <th scope="row"><code>{name}</code></th>
              <td>{isSilent(at) ? "silent" : figures.phase}</td>
              <td>{span(figures.uptime_ms)}</td>
              <td class="number">{count(figures.connections.all)}</td>
              <td class="number">{rate(figures.rates.published ?? 0)}/s</td>
              <td class="number">{rate(figures.rates.delivered ?? 0)}/s</td>
              <td class="number">{count(figures.channels)}</td>
              <td class="number">{bytes(figures.history_bytes)}</td>
              <td class="number">{figures.memory_bytes === null ? "–" : bytes(figures.memory_bytes)}</td>
              <td class="number">{figures.cpu_percent === null ? "–" : `${rate(figures.cpu_percent)} %`}</td>
              <td>{broker(figures)}</td>
            </tr>
          ))}
        </Table>
      </section>
      <div class="columns">
        <Reasons title="Gaps, by reason" none="Nobody was told of a gap." counts={counted.map(({ gaps }) => gaps)} />
        <Reasons title="Refusals, by reason" none="Nobody was refused." counts={counted.map(({ refusals }) => refusals)} link="#/refusals" />
      </div>
    </>
  );
}

function Tile({ name, value, unit = "" }: { name: string; value: string; unit?: string }) {
  return <div class="panel"><dt>{name}</dt><dd>{value}{unit && <small>{unit}</small>}</dd></div>;
}

function Reasons({ title, none, counts, link }: { title: string; none: string; counts: Record<string, number>[]; link?: string }) {
  const joint = new Map<string, number>();
  for (const [reason, number] of counts.flatMap(Object.entries)) joint.set(reason, (joint.get(reason) ?? 0) + number);
  const rows = [...joint].sort(([, a], [, b]) => b - a);
  return (
    <section class="panel">
      <h3>{title}</h3>
      {rows.length ? (
        <dl class="pairs">{rows.map(([reason, number]) => <div key={reason}><dt><code>{reason}</code></dt><dd>{count(number)}</dd></div>)}</dl>
      ) : <p class="soft">{none} Counted since the start.</p>}
      {link && rows.length > 0 && <p><a href={link}>The newest, and why</a></p>}
    </section>
  );
}

function all(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, number) => sum + number, 0);
}

function broker({ broker: { kind, state, waiting } }: Figures): string {
  if (kind === "memory") return "in memory";
  return `Redis, ${state}${waiting ? `, ${plural(waiting, "call")} waiting` : ""}`;
}
