// One channel, live: its newest messages and those that come, a box to send, and lines to copy. The console and the page
// of a channel in dev mode show the same.

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { said } from "./api";
import { plural, time } from "./format";
import { Copy, Problem } from "./parts";
import { type Message, Payload, size } from "./payload";
import { type Clients, snippets } from "./snippets";

/** How this page reaches the server. */
export interface Source {
  /** Where messages come from, as an EventSource in the envelope of `format=json`. */
  live: string;
  /** Sends, and gives the id; nothing where who looks may not. */
  send?: (sent: Sent) => Promise<string>;
  clients: Clients;
  /** The stream was given up. */
  closed?: () => void;
}

export interface Sent {
  event: string;
  data?: string;
  base64?: string;
}

/** Messages that are shown. Those that are older make room. */
const SHOWN_MAX = 200;

type Item = { key: number } & ({ message: Message } | { gap: string; cursor: string });

export function Channel({ name, source }: { name: string; source: Source }) {
  return (
    <>
      {source.send && <Send key={name} name={name} send={source.send} />}
      <Tail key={source.live} source={source} />
      <Snippets name={name} clients={source.clients} />
    </>
  );
}

function Tail({ source }: { source: Source }) {
  const [state, say] = useState("Connecting");
  const [items, set] = useState<Item[]>([]);
  const [paused, pause] = useState(false);
  const held = useRef<Item[]>([]);
  const isPaused = useRef(false);
  isPaused.current = paused;
  useEffect(() => {
    let key = 0;
    let pending: Item[] = [];
    let frame = 0;
    const put = (item: Item) => {
      pending.unshift(item);
      pending.length = Math.min(pending.length, SHOWN_MAX);
      // Once a frame, however fast they come.
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        const came = pending;
        pending = [];
        if (isPaused.current) held.current = [...came, ...held.current].slice(0, SHOWN_MAX);
        else set((before) => [...came, ...before].slice(0, SHOWN_MAX));
      });
    };
    const stream = new EventSource(source.live);
    stream.addEventListener("$ready", () => say("Live"));
    stream.addEventListener("$gap", (event) => {
      const gap = JSON.parse((event as MessageEvent<string>).data) as { reason: string; cursor: string };
      put({ key: (key += 1), gap: gap.reason, cursor: gap.cursor });
    });
    stream.addEventListener("message", ({ data }) => put({ key: (key += 1), message: JSON.parse(data) as Message }));
    stream.addEventListener("$refused", (event) => {
      const { detail } = JSON.parse((event as MessageEvent<string>).data) as { detail: string };
      say(`Refused: ${detail}`);
    });
    stream.addEventListener("error", () => {
      const isClosed = stream.readyState === EventSource.CLOSED;
      say((before) => (before.startsWith("Refused") ? before : isClosed ? "Closed" : "Reconnecting"));
      if (isClosed) source.closed?.();
    });
    return () => {
      stream.close();
      cancelAnimationFrame(frame);
    };
  }, [source.live]);
  const goOn = () => {
    const came = held.current;
    held.current = [];
    set((before) => [...came, ...before].slice(0, SHOWN_MAX));
    pause(false);
  };
  return (
    <section class="panel" aria-label="Messages">
      <div class="bar">
        <h3>Messages</h3>
        <span class={state === "Live" && !paused ? "state live" : "state"} role="status">{paused ? "Paused" : state}</span>
        <span class="push" />
        <button type="button" class="small" aria-pressed={paused} onClick={paused ? goOn : () => pause(true)}>{paused ? "Go on" : "Pause"}</button>
        <button type="button" class="small" onClick={() => set([])}>Clear</button>
      </div>
      {items.length ? (
        <ol class="messages" aria-label="Messages, newest first">
          {items.map((item) => ("gap" in item ? (
            <li key={item.key} class="gap">Messages may be missing here: <code>{item.gap}</code>. What follows begins at <code>{item.cursor}</code>.</li>
          ) : (
            <li key={item.key}>
              <p class="soft">
                <time dateTime={new Date(item.message.time).toISOString()}>{time(item.message.time)}</time>
                {item.message.event && <b>{item.message.event}</b>}
                <span>{size(item.message)}</span>
                {item.message.id && <code>{item.message.id}</code>}
              </p>
              <Payload message={item.message} />
            </li>
          )))}
        </ol>
      ) : (
        <p class="empty">Nothing yet. What is sent to this channel appears here as it comes.</p>
      )}
    </section>
  );
}

function Send({ name, send }: { name: string; send: (sent: Sent) => Promise<string> }) {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const [outcome, say] = useState("");
  const [problem, complain] = useState("");
  const [busy, work] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    const fields = new FormData(form.current!);
    const text = String(fields.get("payload") ?? "");
    const sent: Sent = { event: String(fields.get("event") ?? "").trim() };
    if (fields.get("as") === "base64") sent.base64 = text.replace(/\s+/g, "");
    else sent.data = text;
    work(true);
    try {
      const id = await send(sent);
      complain("");
      say(id ? `Sent as ${id}.` : "Sent.");
    } catch (error) {
      say("");
      complain(said(error));
    }
    work(false);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.current!.requestSubmit();
  };
  return (
    <form class="panel send" ref={form} onSubmit={submit} aria-label={`Send to ${name}`}>
      <div class="bar"><h3>Send a message</h3></div>
      <label for={`${id}-payload`}>Message</label>
      <textarea id={`${id}-payload`} name="payload" rows={3} spellcheck={false} onKeyDown={keys} />
      <div class="fields">
        <div>
          <label for={`${id}-event`}>Event <span class="soft">(optional)</span></label>
          <input id={`${id}-event`} name="event" autocomplete="off" spellcheck={false} />
        </div>
        <div>
          <label for={`${id}-as`}>Sent as</label>
          <select id={`${id}-as`} name="as">
            <option value="text">text</option>
            <option value="base64">bytes, written in base64</option>
          </select>
        </div>
        <button class="main" disabled={busy}>Send</button>
      </div>
      <output class="soft">{outcome}</output>
      <Problem text={problem} />
    </form>
  );
}

function Snippets({ name, clients }: { name: string; clients: Clients }) {
  const all = snippets(clients, name);
  const [chosen, choose] = useState("curl");
  const lines = all.find(([kind]) => kind === chosen)?.[1] ?? "";
  return (
    <section class="panel" aria-label="Copy as">
      <div class="bar">
        <h3>Copy as</h3>
        <fieldset class="choice">
          <legend class="unseen">Language</legend>
          {all.map(([kind]) => (
            <label key={kind}>
              <input type="radio" name="snippet" checked={kind === chosen} onChange={() => choose(kind)} />
              <span>{kind}</span>
            </label>
          ))}
        </fieldset>
        <span class="push" />
        <Copy text={lines} />
      </div>
      <pre class="code" role="group" tabIndex={0} aria-label={`${chosen}, lines to copy`}>{lines}</pre>
    </section>
  );
}

export function receivers({ sse, ws, poll }: { sse: number; ws: number; poll: number }): string {
  return [plural(sse, "SSE stream"), plural(ws, "WebSocket"), plural(poll, "waiting poll")].join(", ");
}
