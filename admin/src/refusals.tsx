// Why was it refused? The newest refusals of this node.

import { useState } from "preact/hooks";

import { get } from "./api";
import { count, plural, time } from "./format";
import { Problem, Words, sentence, useAsked } from "./parts";

interface Row {
  time: number;
  status: number;
  code: string;
  detail: string;
  hint: string;
  client: string | null;
  origin: string | null;
  asked: string;
  path: string;
  trace_id: string | null;
}

export function Refusals() {
  const { value, problem } = useAsked((byItself) => get<{ refusals: Row[] }>("/admin/refusals", { byItself }), "", 2_000);
  const [search, type] = useState("");
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = (value?.refusals ?? []).filter((row) => {
    const text = Object.values(row).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return (
    <section class="panel">
      <form class="bar" role="search" onSubmit={(event) => event.preventDefault()}>
        <h2>Why was it refused?</h2>
        {value && <p class="soft" role="status">{words.length ? `${count(rows.length)} of ` : ""}{plural(value.refusals.length, "refusal")}, the newest first</p>}
        <span class="push" />
        <label class="unseen" for="search">Search refusals</label>
        <input id="search" type="search" placeholder="Code, path, origin, address, trace id" autocomplete="off" spellcheck={false} value={search}
          onInput={(event) => type(event.currentTarget.value)} />
      </form>
      <Problem text={problem} />
      {value && (rows.length ? (
        <ol class="refusals">
          {rows.map((row, at) => (
            <li key={`${row.trace_id ?? at}-${row.time}`}>
              <p class="bar">
                <time class="soft" dateTime={new Date(row.time).toISOString()}>{time(row.time)}</time>
                <span class={row.status >= 500 ? "badge bad" : "badge"}>{row.status}</span>
                <b><code>{row.code}</code></b>
                <code class="path">{names[row.asked] ?? row.asked} {row.path || "something that is no request"}</code>
              </p>
              <p><Words text={sentence(row.detail)} /> {row.detail !== row.hint && <span class="soft"><Words text={row.hint} /></span>}</p>
              <p class="soft facts">
                {row.client && <span>from <code>{row.client}</code></span>}
                {row.origin && <span>page of <code>{row.origin}</code></span>}
                {row.trace_id && <span>trace <code>{row.trace_id}</code></span>}
              </p>
            </li>
          ))}
        </ol>
      ) : <p class="empty">{words.length ? "None of those that are remembered has all of that." : "Nobody was refused since this node started."}</p>)}
      <p class="soft">The newest 256 are remembered, without tokens, tickets, queries and bodies.</p>
    </section>
  );
}

const names: Record<string, string> = { sse: "SSE", ws: "WebSocket", poll: "Poll" };
