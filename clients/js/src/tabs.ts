// One connection for all tabs of a browser that show pages of one origin.
//
//   tab ──┐  join: these channels          ┌── the tab that holds the lock has the trunk: one client of the core,
//   tab ──┼─────── BroadcastChannel ───────┤   with the channels of all. Whatever it hears, all tabs hear.
//   tab ──┘  joined, message, gap, …       └── When it goes, the browser gives the lock to the next one.
//
// Each tab keeps the cursor of what it has heard itself, and takes it along to whoever has the trunk: once that has its
// channels, a tab asks for what came after its own cursor with a poll. What both bring is told once.

import { makeTrunk } from "./trunk.js";
import type { Attempt, Line, Options, Page, Transport } from "./types.js";

/** What tabs tell each other. */
export type Note =
  /** The trunk has a new owner, or is whole again: join. */
  | { type: "trunk" }
  /** The trunk was cut, and is on its way back. */
  | { type: "cut" }
  /** Who listens to what, in place of what it said before. */
  | { type: "join"; tab: string; round: number; names: readonly string[] }
  /** The trunk has the channels of that tab and round. */
  | { type: "joined"; tab: string; round: number; cursor: string }
  | { type: "left"; tab: string }
  | Heard;

/** What the trunk heard. */
export type Heard = { type: "heard"; what: "message" | "gap" | "presence" | "refused"; value: any };

/** What tabs need of a browser, on top of what the core does. */
export type TabsWorld = typeof globalThis & {
  navigator: { locks?: Pick<LockManager, "request"> };
  BroadcastChannel?: typeof BroadcastChannel;
};

/** How tabs share. */
export interface TabsOptions {
  /** Tabs with the same word share a connection: one for each user, where several may be logged in. */
  share?: string;
}

/** What the trunk may tell while a tab asks for what it missed. A tab that is told more begins anew, from its own cursor. */
const WAITING_MAX = 10_000;

/** A tab that stops listening for less than this is only changing its channels. */
const GONE_MS = 1_000;

/** Whether tabs can share a connection here. Web Locks are there on secure pages only. */
export const canShare = (world: Partial<TabsWorld> = globalThis): boolean =>
  !!world.navigator?.locks && !!world.BroadcastChannel;

/** Resolves once `signal` says that it is over. */
export const over = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve())));

/**
 * A transport that shares the connection of other tabs to the server at `base`, or makes the one that they share.
 *
 * Pages that share one must be allowed the same: the trunk has the rights of the tab that holds it, and what is refused to
 * it is refused to all.
 */
export function tabs(base: string, options: Options & TabsOptions = {}): Transport {
  const world = (options.world ?? globalThis) as TabsWorld;
  const name = `tidewire ${options.share ?? ""} ${base}`;
  const id = `${world.Date.now()}${world.Math.random()}`;
  let present: Presence | undefined;
  /** Counts what this tab has asked for, over all attempts: an answer to something older is passed over. */
  let rounds = 0;

  return function shared(attempt: Attempt): Line {
    present ??= appear(name, id, base, options, world);
    const { hear, join, leave } = present;
    let round = 0;
    let hasBegun = !!attempt.cursor;
    /** What the trunk tells while this tab asks for what it missed. */
    let waiting: Heard[] | undefined;
    const abort = new AbortController();

    const tell = ({ what, value }: Heard) => {
      const names = (value.channels ?? [value.channel ?? attempt.names[0]]).filter((name: string) => attempt.names.includes(name));
      if (names.length) attempt.hear(what, value.channels ? { ...value, channels: names } : value);
    };
    const begin = async (cursor: string) => {
      const mine = round;
      let page: Page | undefined;
      if (!hasBegun) attempt.hear("ready", { cursor });
      else
        do {
          page = await attempt.page(abort);
          if (mine != round) return;
          attempt.hear("page", page);
        } while (page.more);
      hasBegun = true;
      waiting?.forEach(tell);
      waiting = undefined;
    };
    const ask = () => {
      waiting = [];
      round = ++rounds;
      join(attempt.names, round);
    };

    hear((note) => {
      if (note.type == "trunk") ask();
      else if (note.type == "cut") attempt.failed();
      else if (note.type == "joined" && note.tab == id && note.round == round) begin(note.cursor).catch(attempt.failed);
      else if (note.type == "heard") {
        if (waiting && note.what != "refused") {
          if (waiting.push(note) > WAITING_MAX) attempt.failed();
        } else tell(note);
      }
    });
    ask();
    return {
      close() {
        abort.abort();
        round = 0;
        leave(() => (present = undefined));
      },
    };
  };
}

/** A tab among others, over all of its attempts. */
interface Presence {
  hear(listener: (note: Note) => void): void;
  join(names: readonly string[], round: number): void;
  /** Is gone after a moment, unless it joins again. */
  leave(gone: () => void): void;
}

function appear(name: string, id: string, base: string, options: Options, world: TabsWorld): Presence {
  const air = new world.BroadcastChannel!(name);
  const end = new AbortController();
  const { signal } = end;
  const locks = world.navigator.locks!;
  let timer: ReturnType<typeof setTimeout>;
  // Its own lock, for as long as it lives: so whoever has the trunk learns that it is gone, however it went.
  const alive = new Promise<void>((resolve) => {
    locks
      .request(`${name} ${id}`, { signal }, () => {
        resolve();
        return over(signal);
      })
      .catch(() => {});
  });
  locks
    .request(name, { signal }, async () => {
      const trunk = makeTrunk(name, base, options, world);
      await over(signal);
      trunk.close();
    })
    .catch(() => {});
  return {
    hear: (listener) => void (air.onmessage = ({ data }) => listener(data)),
    join(names, round) {
      world.clearTimeout(timer);
      alive.then(() => signal.aborted || air.postMessage({ type: "join", tab: id, round, names } satisfies Note));
    },
    leave(gone) {
      air.onmessage = null;
      world.clearTimeout(timer);
      timer = world.setTimeout(() => {
        gone();
        air.postMessage({ type: "left", tab: id } satisfies Note);
        end.abort();
        air.close();
      }, GONE_MS);
    },
  };
}
