// Who is connected to this node.

import { useEffect, useState } from "preact/hooks";

import { get, post, said } from "./api";
import { bytes, count, plural, span } from "./format";
import { Problem, Sure, Table, useAsked, useRested } from "./parts";
import { route, toChannel } from "./route";
import { lost, mayAct } from "./session";

interface Row {
  id: string;
  transport: string;
  who: { kind: string; name: string | null; token: string | null };
  address: string;
  channels: string[];
  channel_count: number;
  age_ms: number;
  messages: number;
  backlog_bytes: number;
}

interface Rows {
  connections: Row[];
  matching: number;
  all: number;
}

/** Fields to filter by, as the server names them. */
const FILTERS: [key: string, name: string, hint: string][] = [
  ["channel", "Channel", "the whole name"],
  ["who", "Subject or key", "a part of it"],
  ["address", "Address", "how it begins"],
];

export function Connections() {
  const { query } = route.value;
  const [filter, set] = useState<Record<string, string>>(() => Object.fromEntries(query));
  useEffect(() => set(Object.fromEntries(query)), [query.toString()]);
  const asked = useRested(new URLSearchParams(filter).toString());
  const { value, problem, again } = useAsked((byItself) => get<Rows>(`/admin/connections?${asked}`, { byItself }), asked, 2_000);
  const [outcome, say] = useState("");
  const act = async (what: string, path: string, body: unknown) => {
    try {
      await post(path, body);
      say(what);
    } catch (error) {
      lost(error);
      say(`Not done: ${said(error)}`);
    }
    again();
  };
  const acts = mayAct();
  return (
    <section class="panel">
      <div class="bar">
        <h2>Connections</h2>
        {value && <p class="soft">{value.matching > value.connections.length ? `${count(value.connections.length)} of ` : ""}{plural(value.matching, "connection")} of this node</p>}
      </div>
      <form class="fields" role="search" onSubmit={(event) => event.preventDefault()}>
        {FILTERS.map(([key, name, hint]) => (
          <div key={key}>
            <label for={key}>{name}</label>
            <input id={key} type="search" placeholder={hint} autocomplete="off" spellcheck={false} value={filter[key] ?? ""}
              onInput={(event) => set({ ...filter, [key]: event.currentTarget.value.trim() })} />
          </div>
        ))}
      </form>
      <Problem text={problem} />
      <output class="soft">{outcome}</output>
      {value && (value.connections.length ? (
        <Table label="Connections" head={["Transport", "Who", "Address", "Channels", "Since", "Messages", "Waiting", ...(acts ? [""] : [])]} numbers={[5, 6]}>
          {value.connections.map((row) => (
            <tr key={row.id}>
              <td>{names[row.transport] ?? row.transport}</td>
              <td>{who(row)}</td>
              <td><code>{row.address}</code></td>
              <td class="wide">
                {row.channels.map((channel) => channel.startsWith("$") ? <span key={channel} class="soft">this console </span> : <a key={channel} href={toChannel(channel)}>{channel} </a>)}
                {row.channel_count > row.channels.length && <span class="soft">and {count(row.channel_count - row.channels.length)} more</span>}
              </td>
              <td>{span(row.age_ms)}</td>
              <td class="number">{count(row.messages)}</td>
              <td class="number">{bytes(row.backlog_bytes)}</td>
              {acts && (
                <td class="acts">
                  <Sure label={`${row.transport} of ${row.who.name ?? row.address}`} sure="Really kick" act={() => act("The connection was ended. A browser’s EventSource comes back by itself.", "/admin/kick", { id: row.id })}>Kick</Sure>
                  {row.who.kind === "token" && row.who.name && (
                    <Sure label={`rights of ${row.who.name}`} sure="Really revoke" act={() => act(`The rights of ${row.who.name} are revoked, on every node.`, "/admin/revoke", { sub: row.who.name })}>Revoke</Sure>
                  )}
                </td>
              )}
            </tr>
          ))}
        </Table>
      ) : <p class="empty">No connection of this node matches.</p>)}
    </section>
  );
}

const names: Record<string, string> = { sse: "SSE", ws: "WebSocket", "ws tidewire.v1": "WebSocket, tidewire.v1", poll: "Long poll" };

function who({ who: { kind, name, token } }: Row) {
  if (kind === "developer") return <span class="soft">anybody (dev mode)</span>;
  return <>{kind === "key" && <span class="soft">API key </span>}<code>{name}</code>{token && <small class="soft"> token {token}</small>}</>;
}
