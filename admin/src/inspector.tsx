// The page of a channel in dev mode: what `GET /c/{channel}` shows to a browser.

import { render } from "preact";
import { useMemo } from "preact/hooks";

import { refused } from "./api";
import { Channel, type Sent, type Source, receivers } from "./channel";
import { plural } from "./format";
import { Mark, useAsked } from "./parts";

interface Row {
  channel: string;
  receivers: { sse: number; ws: number; poll: number };
  messages: number;
}

const names = decodeURIComponent(location.pathname.slice("/c/".length));

function Inspector() {
  const several = names.includes(",");
  const source = useMemo<Source>(() => ({
    live: `${location.pathname}?format=json&tail=100`,
    clients: { base: location.origin, open: true },
    ...(several ? {} : { send }),
  }), []);
  const { value } = useAsked(detail, "", 2_000);
  return (
    <>
      <header class="top"><Mark /><h1>{names}</h1></header>
      <main>
        <h2 class="unseen">Channel</h2>
        <p class="soft title">{value ? `${receivers(value.receivers)} · ${plural(value.messages, "message")} kept` : several ? "Several channels on one connection" : " "}</p>
        <Channel name={names} source={source} />
      </main>
      <footer class="soft"><a href="/admin">The console</a> shows all channels, who is connected, and what was refused.</footer>
    </>
  );
}

async function detail(): Promise<Row | undefined> {
  const response = await fetch("/v1/channels?limit=1000", { cache: "no-store" });
  if (!response.ok) throw await refused(response);
  const { channels } = (await response.json()) as { channels: Row[] };
  return channels.find(({ channel }) => channel === names);
}

async function send({ event, data, base64 }: Sent): Promise<string> {
  const bytes = base64 === undefined ? data! : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const headers = new Headers({ "Content-Type": base64 === undefined ? "text/plain" : "application/octet-stream" });
  if (event) headers.set("Tidewire-Event", event);
  const response = await fetch(location.pathname, { method: "POST", headers, body: bytes });
  if (!response.ok) throw await refused(response);
  return ((await response.json()) as { id?: string }).id ?? "";
}

document.title = `${names} – Tidewire`;
render(<Inspector />, document.getElementById("app")!);
