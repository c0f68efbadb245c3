// Channels: the list of them, and one of them.

import { useMemo, useState } from "preact/hooks";

import { get, post } from "./api";
import { Channel, type Source, receivers } from "./channel";
import { bytes, count, plural } from "./format";
import { Problem, Table, useAsked, useRested } from "./parts";
import { route, toChannel, toConnections } from "./route";
import { look, mayAct, session } from "./session";

interface Row {
  channel: string;
  receivers: { sse: number; ws: number; poll: number };
  messages: number;
  bytes: number;
}

export function Channels() {
  const { name } = route.value;
  return name ? <One key={name} name={name} /> : <List />;
}

function List() {
  const [search, type] = useState("");
  const asked = useRested(search.trim());
  const { value, problem } = useAsked(
    (byItself) => get<{ channels: Row[]; more: boolean }>(`/admin/channels?${new URLSearchParams({ search: asked })}`, { byItself }),
    asked, 2_000,
  );
  const open = (event: Event) => {
    event.preventDefault();
    if (search.trim()) location.hash = toChannel(search.trim());
  };
  return (
    <section class="panel">
      <form class="bar" role="search" onSubmit={open}>
        <h2>Channels</h2>
        <span class="push" />
        <label class="unseen" for="search">Search channels</label>
        <input id="search" type="search" placeholder="Part of a name" autocomplete="off" spellcheck={false} value={search}
          onInput={(event) => type(event.currentTarget.value)} />
        <button class="small">Open</button>
      </form>
      <Problem text={problem} />
      {value && (value.channels.length ? (
        <Table label="Channels" head={["Channel", "SSE", "WebSocket", "Poll", "Messages kept", "Bytes kept"]} numbers={[1, 2, 3, 4, 5]}>
          {value.channels.map(({ channel, receivers: { sse, ws, poll }, messages, bytes: kept }) => (
            <tr key={channel}>
              <th scope="row"><a href={toChannel(channel)}>{channel}</a></th>
              <td class="number">{count(sse)}</td>
              <td class="number">{count(ws)}</td>
              <td class="number">{count(poll)}</td>
              <td class="number">{count(messages)}</td>
              <td class="number">{bytes(kept)}</td>
            </tr>
          ))}
        </Table>
      ) : <p class="empty">{asked ? "No channel of this node has that in its name. Open it all the same to watch it." : "There is no channel yet: one begins with its first message or subscriber."}</p>)}
      {value?.more && <p class="soft">There are more: search for a part of the name, or type the whole of it.</p>}
    </section>
  );
}

interface Detail extends Row {
  bridged: boolean;
  presence: { members: { subject: string; sessions: number }[]; count: number } | null;
}

function One({ name }: { name: string }) {
  const path = `/admin/channel?${new URLSearchParams({ channel: name })}`;
  const { value, problem } = useAsked((byItself) => get<Detail>(path, { byItself }), path, 2_000);
  const source = useMemo<Source>(() => {
    const { port, secure } = session.value!.clients;
    const base = `http${secure ? "s" : ""}://${location.hostname}${port === (secure ? 443 : 80) ? "" : `:${port}`}`;
    return {
      live: `/admin/tail?${new URLSearchParams({ channel: name })}`,
      clients: { base, open: session.value!.dev },
      closed: () => void look(),
      ...(mayAct() ? { send: async ({ event, data, base64 }) => (await post<{ id?: string }>("/admin/publish", { channel: name, event, data, base64 })).id ?? "" } : {}),
    };
  }, [name, session.value?.role]);
  return (
    <>
      <div class="title">
        <p><a href="#/channels">Channels</a></p>
        <h2>{name}</h2>
        {value && (
          <p class="soft">
            {receivers(value.receivers)} on this node · {plural(value.messages, "message")} kept, {bytes(value.bytes)}
            {value.bridged && " · bridged: kept nowhere"}
          </p>
        )}
        {value && <p><a href={toConnections({ channel: name })}>Its connections</a></p>}
      </div>
      <Problem text={problem} />
      {!problem && <Channel name={name} source={source} />}
      {value?.presence && (
        <section class="panel">
          <div class="bar"><h3>Present</h3><p class="soft">{plural(value.presence.count, "member")}</p></div>
          {value.presence.members.length > 0 && (
            <ul class="names">
              {value.presence.members.map(({ subject, sessions }) => (
                <li key={subject}><code>{subject}</code>{sessions > 1 && <small class="soft"> × {count(sessions)}</small>}</li>
              ))}
            </ul>
          )}
        </section>
      )}
    </>
  );
}
