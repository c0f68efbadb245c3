// What a page holds: a client of one server, and a channel of it for each name.

import { backoff_ms } from "./backoff.js";
import { http as requests, Refusal } from "./http.js";
import { link as connected, opened } from "./link.js";
import type { Change, Gap, Members, Message, Options, Page, Receipt, StateChange, World } from "./types.js";

/** Messages that wait for a slow `for await`, at most. */
const WAITING_MAX = 1_000;

/** How often a publish that was not answered is tried, with the same key each time. */
const TRIES_MAX = 6;

const NAME = /^[\w.:@=+~-]{1,128}$/;

/** Stops listening. */
export type Off = () => void;

/** What can be published: text and bytes as they are, everything else as JSON. */
export type Payload = string | Uint8Array | ArrayBuffer | object | number | boolean | null;

/** How a message is published. */
export interface Publishing {
  /** The name of the event. */
  event?: string;
  /** Makes a repetition harmless. One is made up; `null` sends none, as bridged channels want it, and tries once. */
  key?: string | null;
}

/** Where reading what is kept begins: after a cursor (`earliest` is one), or with the newest `tail`, 100 by default. */
export type Past = { cursor: string } | { tail?: number };

/** A channel of a client. It is subscribed to while somebody listens. */
export interface Channel extends AsyncIterable<Message> {
  readonly name: string;
  /** `message` is every message; any other name those that were published under it. */
  on(event: "$gap", listener: (gap: Gap) => void): Off;
  on(event: "$presence", listener: (change: Change) => void): Off;
  on(event: string, listener: (message: Message) => void): Off;
  /** Resolves once the message has its place. Messages of a client leave in the order of the calls. */
  publish(data: Payload, publishing?: Publishing): Promise<Receipt>;
  history(past?: Past): Promise<Page>;
  /** Who is connected; the channel event `$presence` tells of changes. */
  presence(): Promise<Members>;
  /** Messages from now on. Ends with the client, and throws where the channel is refused. */
  [Symbol.asyncIterator](): AsyncGenerator<Message, void>;
}

/** A client of one server, with one connection for all of its channels. */
export interface Client {
  channel(name: string): Channel;
  /** `gap`: messages may be missing. `state`: the connection changed. `message`: every message of every channel. */
  on(event: "gap", listener: (gap: Gap) => void): Off;
  on(event: "state", listener: (change: StateChange) => void): Off;
  on(event: "message", listener: (message: Message) => void): Off;
  on(event: "presence", listener: (change: Change) => void): Off;
  readonly state: StateChange;
  /** Up to here everything is known; empty before the first connection. */
  readonly cursor: string;
  /** Ends everything. Nothing is heard or published afterwards. */
  close(): void;
}

/** Listeners by event. What one of them throws is reported, and keeps nobody else from hearing. */
function listeners(world: World) {
  const all = new Map<string, Set<(value: any) => void>>();
  return {
    all,
    on(event: string, listener: (value: any) => void): Off {
      const own = (value: unknown) => listener(value);
      const some = all.get(event) || new Set();
      all.set(event, some.add(own));
      return () => {
        some.delete(own);
        if (!some.size && all.get(event) == some) all.delete(event);
      };
    },
    tell(event: string, value: unknown): void {
      for (const listener of [...(all.get(event) || [])]) {
        try {
          listener(value);
        } catch (error) {
          world.setTimeout(() => {
            throw error;
          });
        }
      }
    },
  };
}

/**
 * A client of the server at `url`, which is the page's own where there is none. Nothing is connected before somebody
 * listens.
 */
export function connect(url = "", options: Options = {}): Client {
  const world = options.world || globalThis;
  const base = (url || world.location!.origin).replace(/\/+$/, "");
  const http = requests(base, options, world);
  const ears = listeners(world);
  const channels = new Map<string, Channel & { told: ReturnType<typeof listeners> }>();
  let before: Promise<unknown> = Promise.resolve();
  let planned = false;

  const link = connected(base, options, http, world, {
    message(message) {
      ears.tell("message", message);
      const { told } = channels.get(message.channel) || {};
      told?.tell("message", message);
      if (message.event && message.event != "message") told?.tell(message.event, message);
    },
    gap(gap) {
      ears.tell("gap", gap);
      for (const name of gap.channels) channels.get(name)?.told.tell("$gap", gap);
    },
    presence(change) {
      ears.tell("presence", change);
      channels.get(change.channel)?.told.tell("$presence", change);
    },
    state: (change) => ears.tell("state", change),
  });
  const is_closed = () => link.state().state == "closed";

  /** Once for all that a page asks for in one go. */
  const plan = () => {
    if (planned) return;
    planned = true;
    queueMicrotask(() => {
      planned = false;
      if (!is_closed()) link.want([...channels.keys()].filter((name) => channels.get(name)!.told.all.size));
    });
  };

  const publish = (channel: string, payload: Payload, { event, key }: Publishing): Promise<Receipt> => {
    const bytes = payload instanceof ArrayBuffer ? new Uint8Array(payload) : payload instanceof Uint8Array && payload;
    const data = typeof payload == "string" ? payload : JSON.stringify(payload);
    // A hundred bits; a page without TLS has no better source everywhere, and nothing is secret about it.
    if (key === undefined) key = "" + world.Math.random() + world.Math.random();
    link.published(!!bytes);
    const post = () =>
      http.ask("/c/" + channel, {
        method: "POST",
        body: (bytes || data) as BodyInit,
        headers: {
          // What has no other type is text.
          ...(bytes && { "Content-Type": "application/octet-stream" }),
          // Header fields are bytes, and a script may only name those below 256.
          ...(event && { "Tidewire-Event": unescape(encodeURIComponent(event)) }),
          ...(key && { "Idempotency-Key": key }),
        },
      });
    const attempt = async (tries: number): Promise<Receipt> => {
      if (is_closed()) throw new Refusal("closed");
      try {
        // What a frame is refused for, or whether it arrived at all, a request says again.
        const sent =
          tries == 1 &&
          link.request({
            type: "publish",
            channel,
            event,
            key,
            ...(bytes ? { base64: btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), "")) } : { data }),
          });
        if (!sent) return await post();
        const { message_id, receivers } = await sent;
        return { id: message_id, channel, receivers };
      } catch (error) {
        const { final, retry_after_ms } = error as Refusal;
        if (final || key === null || tries == TRIES_MAX) throw error;
        const wait_ms = backoff_ms(tries, world.Math.random(), retry_after_ms);
        await new Promise((resolve) => world.setTimeout(resolve as () => void, wait_ms));
        return attempt(tries + 1);
      }
    };
    // A connection keeps their order; requests only do one after the other.
    const done = link.state().transport == "ws" ? attempt(1) : before.then(() => attempt(1));
    before = done.catch(() => {});
    return done;
  };

  const channel = (name: string): Channel => {
    const known = channels.get(name);
    if (known) return known;
    if (!NAME.test(name)) throw new TypeError("no channel: " + name);
    const told = listeners(world);
    const on = (event: string, listener: (value: any) => void) => {
      const off = told.on(event, listener);
      plan();
      return () => {
        off();
        plan();
      };
    };
    const made = {
      name,
      told,
      on,
      publish: (data: Payload, publishing: Publishing = {}) => publish(name, data, publishing),
      async history(past: Past = {}) {
        const { cursor, tail = 100 } = past as { cursor?: string; tail?: number };
        const page = await link.page([name], (cursor ? "cursor=" + cursor : "tail=" + tail) + "&");
        return { ...page, messages: page.messages.map(opened) };
      },
      presence: async () => link.request({ type: "presence", channel: name }) || http.ask("/v1/channels/" + name + "/presence"),
      async *[Symbol.asyncIterator]() {
        let queue: Message[] = [];
        let wake: (() => void) | undefined;
        let refusal: Error | undefined;
        const offs = [
          on("message", (message) => {
            if (queue.length == WAITING_MAX) {
              queue = [];
              told.tell("$gap", { channels: [name], reason: "slow_consumer", cursor: message.id });
            }
            queue.push(message);
            wake?.();
          }),
          ears.on("state", ({ state, error }) => {
            if (state == "refused") refusal = error;
            wake?.();
          }),
        ];
        try {
          for (;;) {
            while (queue[0]) yield queue.shift()!;
            if (is_closed()) return;
            if (refusal) throw refusal;
            await new Promise<void>((resolve) => (wake = resolve));
          }
        } finally {
          for (const off of offs) off();
        }
      },
    };
    channels.set(name, made);
    return made;
  };

  return {
    channel,
    on: ears.on,
    get state() {
      return link.state();
    },
    get cursor() {
      return link.cursor();
    },
    close: link.close,
  };
}
