// The one connection of a page: which transport it takes, where it stands, and how it comes back.
//
//   idle ── channels ──▶ connecting ── ready ──▶ live ── lost ──▶ waiting ── backoff ──▶ connecting ── …
//                            │                                                              refused: never by itself
//                            └─ not ready, though a poll is answered: the next transport of the list
//
// The cursor is the last id that was received, whatever the transport (docs/protocol.md, "Ids and cursors"). An attempt
// that is over is heard no more: what it still brings comes again, after the cursor.

import { backoff_ms } from "./backoff.js";
import { Refusal, type Http } from "./http.js";
import { TRANSPORTS } from "./transports.js";
import type { Change, Gap, Line, Message, Options, Page, State, StateChange, Transport, TransportName, World } from "./types.js";

/** A stream that has said nothing for so long is held back by something on the way. */
const READY_MS = 3_000;

/** A connection that held for so long was a good one, and the next failure begins with a short wait again. */
const GOOD_MS = 5_000;

/** After so long without a word a page that is looked at again does not trust its connection. */
const DOUBT_MS = 45_000;

/** Tokens are not renewed more often, however short they last. */
const HURRY_MS = 1_000;

/** Ids that are remembered, to tell a repetition from a message. */
const SEEN_MAX = 2_000;

/** More than a browser's timer can count. */
const TIMER_MS_MAX = 2 ** 31;

/** So many publishes within so long are much: a WebSocket carries them for less. */
const BUSY_COUNT = 10;
const BUSY_MS = 10_000;

/** What a link tells its page. */
export interface Ears {
  message(message: Message): void;
  gap(gap: Gap): void;
  presence(change: Change): void;
  state(change: StateChange): void;
}

export interface Link {
  readonly cursor: () => string;
  readonly state: () => StateChange;
  /** Listens to these channels and no others. */
  want(names: readonly string[]): void;
  /** One page of channels after `query`. */
  page(names: readonly string[], query: string, abort?: AbortController, wait_s?: number): Promise<Page>;
  /** Sends a frame and resolves to its answer; `undefined` where the transport has no way back. */
  request(frame: object): Promise<any> | undefined;
  /** The page publishes; `much` where this one alone is reason enough for a WebSocket. */
  published(much: boolean): void;
  close(): void;
}

/** The envelope of the wire as a message. */
export const opened = ({ base64, data, ...rest }: Message & { base64?: string }): Message => ({
  ...rest,
  data: base64 == null ? data : Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)),
});

export function link(base: string, options: Options, http: Http, world: World, ears: Ears): Link {
  const { transports = "auto" } = options;
  const auto = transports == "auto";
  const list = (auto ? Object.keys(TRANSPORTS) : [transports].flat()) as (TransportName | Transport)[];
  let order = [...list];
  let names: readonly string[] = [];
  let cursor = options.cursor || "";
  /** The channels that have been heard up to the cursor; nobody knows before the first connection. */
  let joined: Set<string> | undefined;
  let line: Line | undefined;
  let now: StateChange = { state: "idle", transport: "" };
  /** Counts attempts: what belongs to an older one is passed over. */
  let turn = 0;
  /** Two of them, and the transport is given up. */
  let strikes = 0;
  let failures = 0;
  let ready_at = 0;
  let heard_at = 0;
  let timer: ReturnType<World["setTimeout"]>;
  let frames = 0;
  /** Frames that wait for their answer. */
  const pending = new Map<number, (answer: any) => void>();
  const seen = new Set<string>();
  const publishes: number[] = [];

  const time = () => world.Date.now();
  const after = (ms: number, what: () => void) => {
    world.clearTimeout(timer);
    timer = world.setTimeout(what, ms);
  };
  const tell = (state: State, error?: Error) => {
    const first = order[0] as any;
    ears.state((now = { state, transport: first.name || first, error }));
  };

  const from = () => cursor && "cursor=" + cursor + "&";
  const page = async (names: readonly string[], query: string, abort?: AbortController, wait_s?: number): Promise<Page> =>
    http.ask("/c/" + names + "?" + query + (await http.opens(false)) + (wait_s ? "wait=" + wait_s : ""), {}, abort, wait_s);

  const message = (message: Message) => {
    const { id, channel } = message;
    if (id) {
      cursor = id;
      const key = channel + " " + id;
      if (seen.has(key)) return;
      seen.add(key);
      if (seen.size > SEEN_MAX) seen.delete(seen.values().next().value!);
    }
    ears.message(opened(message));
  };
  const gap = (gap: Gap) => {
    cursor = gap.cursor || cursor;
    // A channel that has only just joined cannot have missed anything.
    const channels = gap.channels.filter((name) => !joined || joined.has(name));
    if (channels[0]) ears.gap({ ...gap, channels });
  };
  const take = (page: Page, is_now?: unknown) => {
    if (page.gap) gap(page.gap);
    // A listener may close the client in the middle of a page.
    for (const each of page.messages) if (now.state != "closed") message(each);
    // A short poll that brought nothing asks with the same address again, so that its answer may be a 304.
    if (is_now || !cursor || page.gap || page.messages[0]) ({ cursor } = page);
  };

  /** Leaves the attempt that is under way. */
  const end = () => {
    world.clearTimeout(timer);
    line?.close();
    line = undefined;
    ready_at = 0;
    for (const answer of pending.values()) answer({});
    pending.clear();
    return ++turn;
  };

  const open = async () => {
    const mine = end();
    const asked = names;
    const [first] = order;
    if (!asked[0]) return tell("idle");
    tell("connecting");

    const failed = async (error?: Error & Partial<Refusal>, strike = 1) => {
      if (mine != turn) return;
      const was_ready_at = ready_at;
      const next = end();
      if (was_ready_at) {
        if (time() - was_ready_at > GOOD_MS) failures = 0;
        order = [...list];
      } else if (!error) {
        // Is it the server, or the way there? A poll tells, and brings what there is.
        try {
          const answer = await page(asked, from());
          if (next != turn) return;
          take(answer, 1);
          strikes += strike;
        } catch (reason) {
          error = reason as Refusal;
        }
        if (next != turn) return;
        if (strikes > 1 && order[1]) {
          order.shift();
          strikes = 0;
          return void open();
        }
      }
      if (error?.final) return tell("refused", error);
      tell("waiting", error);
      after(backoff_ms(failures++, world.Math.random(), error?.retry_after_ms), open);
    };

    const ready = () => {
      if (mine != turn) return;
      joined = new Set(asked);
      if (ready_at) return;
      ready_at = time();
      strikes = 0;
      world.clearTimeout(timer);
      tell("live");
      renew();
    };
    /** A WebSocket outlives its token where it is given the next one in time. */
    const renew = () => {
      const left_ms = http.ends() - time() - READY_MS;
      if (line?.send && left_ms < TIMER_MS_MAX) {
        after(Math.max(left_ms, HURRY_MS), async () => {
          const token = await http.bearer(true).catch(() => {});
          if (mine == turn && token) request({ type: "refresh", token })!.then(renew, failed);
        });
      }
    };

    const heard: Record<string, (value: any) => void> = {
      message,
      gap,
      presence: ears.presence,
      ready(value) {
        cursor = value.cursor || cursor;
        ready();
      },
      page(value) {
        take(value);
        ready();
      },
      refused: ({ code, status, detail }) => failed(new Refusal(code, status, detail)),
      // With a new token the next attempt may do; without one it is told why not.
      expired({ reason = "expired" }) {
        http.forget();
        failed(new Refusal(reason, reason == "revoked" ? 401 : 0));
      },
    };
    const hear = (type: string, value: any) => {
      if (mine != turn) return;
      heard_at = time();
      (heard[type] || pending.get(value.id))?.(value);
    };

    try {
      const known = asked.filter((name) => joined?.has(name));
      if (joined && cursor && known.length < asked.length) {
        // A channel that joins hears what comes from now on. So the others are brought up to now first.
        let more = known[0];
        if (!more) cursor = "";
        while (more) {
          const answer: any = await page(known, from());
          if (mine != turn) return;
          take(answer, 1);
          ({ more } = answer);
        }
      }
      const is_stream = first == "sse" || first == "ws";
      const opens = is_stream ? await http.opens(true) : "";
      if (mine != turn) return;
      if (is_stream) after(READY_MS, () => failed(undefined, 2));
      line = (TRANSPORTS[first as TransportName] || first)({
        names: asked,
        cursor,
        address: base + "/c/" + asked + "?format=json&" + from() + opens,
        world,
        options,
        page: (abort, wait_s) => page(asked, from(), abort, wait_s),
        hear,
        failed: (error) => void failed(error),
      });
    } catch (error) {
      failed(error as Error);
    }
  };

  const request = (frame: object) => {
    const send = ready_at && line?.send;
    if (send)
      return new Promise<any>((resolve, reject) => {
        pending.set(++frames, (answer) => {
          pending.delete(answer.id);
          if (answer.type == "ack") resolve(answer);
          else reject(new Refusal(answer.code, 0, answer.detail));
        });
        send({ ...frame, id: frames });
      });
  };

  const wake = ({ type, persisted }: any) => {
    const is_new_network = type == "online";
    // Another network may have other proxies.
    if (is_new_network) order = [...list];
    else if (world.document?.hidden) return;
    const is_doubtful = is_new_network || persisted || time() - heard_at > DOUBT_MS;
    if (now.state == "waiting" || (now.state == "live" && is_doubtful)) {
      failures = 0;
      open();
    }
  };
  const listen = (how: "addEventListener" | "removeEventListener") => {
    world[how]?.("online", wake);
    world[how]?.("pageshow", wake);
    world.document?.[how]("visibilitychange", wake);
  };
  listen("addEventListener");

  return {
    cursor: () => cursor,
    state: () => now,
    page,
    request,
    want(next) {
      if ("" + next == "" + names) return;
      joined = joined && new Set(next.filter((name) => joined!.has(name)));
      names = next;
      open();
    },
    published(much) {
      const at = time();
      const oldest = publishes.push(at) < BUSY_COUNT ? 0 : publishes.shift()!;
      if (auto && (much || at - oldest < BUSY_MS) && now.state == "live" && order[0] == "sse" && order[1] == "ws") {
        order.unshift(...order.splice(1, 1));
        open();
      }
    },
    close() {
      end();
      listen("removeEventListener");
      tell("closed");
    },
  };
}
