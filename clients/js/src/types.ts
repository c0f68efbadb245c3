// What travels, and what a page may say. The words are those of docs/protocol.md.

import type { Refusal } from "./http.js";

/** A message as it is told: `data` is the exact text that was published, or the bytes. */
export interface Message {
  readonly channel: string;
  /** The same for every subscriber; `null` on bridged channels. Compare for equality, and for nothing else. */
  readonly id: string | null;
  /** The name that its publisher gave it. */
  readonly event: string | null;
  readonly data: string | Uint8Array;
  /** When it got its place, in milliseconds since 1970, by the server's clock. */
  readonly time: number;
  /** The trace that its publish was part of (W3C Trace Context), where it was part of one. */
  readonly traceparent?: string;
}

/** Messages of `channels` may be missing. Read the state anew from where it is kept, then go on. */
export interface Gap {
  readonly channels: readonly string[];
  /** `trimmed`, `epoch`, `failover`, `store_reset`, `slow_consumer` or `transient`. */
  readonly reason: string;
  readonly cursor: string | null;
}

/** A change of who is connected. `missed` has no subject: ask for the list. */
export interface Change {
  readonly channel: string;
  readonly event: "join" | "leave" | "missed";
  readonly subject?: string;
}

/** Who is connected to a channel. */
export interface Members {
  readonly channel: string;
  readonly members: readonly { readonly subject: string; readonly sessions: number }[];
  readonly count: number;
  readonly more: boolean;
}

/** A page of what a channel keeps. */
export interface Page {
  readonly messages: readonly Message[];
  /** What to ask with for what follows. */
  readonly cursor: string;
  readonly more: boolean;
  readonly gap: Gap | null;
}

/** What a publish came to: the message has its place and is kept. */
export interface Receipt {
  readonly id: string | null;
  readonly channel: string;
  readonly receivers: { readonly sse: number; readonly ws: number; readonly poll: number };
}

/**
 * `idle`: nobody listens. `connecting`: on the way. `live`: from here on nothing is missed. `waiting`: it failed, and is
 * tried again after a while. `refused`: trying again is pointless until something changes. `closed`: by `close()`.
 */
export type State = "idle" | "connecting" | "live" | "waiting" | "refused" | "closed";

/** A change of state, with the transport that is in use or tried and, where there is one, the reason. */
export interface StateChange {
  readonly state: State;
  readonly transport: string;
  readonly error?: Refusal | Error;
}

/** The name of a transport. */
export type TransportName = "sse" | "ws" | "longpoll" | "poll";

/** How a page connects. Everything may be left out. */
export interface Options {
  /** A JSON Web Token, or what gets one: it is asked again when the token is about to end, and when it was refused. */
  token?: string | (() => string | Promise<string>);
  /** Gets a one-time ticket, for pages whose backend buys them. It is asked for every connection and every poll. */
  ticket?: () => string | Promise<string>;
  /** The transports to use, best first; `auto`, the default, is all of them and changes over by itself. */
  transports?: "auto" | TransportName | readonly (TransportName | Transport)[];
  /** Where to begin: the cursor of the state that the page was made from. */
  cursor?: string;
  /** Whether cookies go along to a server of another origin. */
  credentials?: boolean;
  /** The rest between two short polls, in milliseconds. Default 5 000. */
  poll_ms?: number;
  /** The browser. Tests bring one of their own, with its clock and its chance. */
  world?: World;
}

/** What is used of a browser. */
export type World = Pick<typeof globalThis, "EventSource" | "WebSocket" | "fetch" | "setTimeout" | "clearTimeout"> & {
  Date: Pick<DateConstructor, "now">;
  Math: Pick<Math, "random">;
  addEventListener?: typeof globalThis.addEventListener;
  removeEventListener?: typeof globalThis.removeEventListener;
  document?: Pick<Document, "hidden" | "addEventListener" | "removeEventListener">;
  location?: Pick<Location, "origin">;
};

/** What came from the server, in the words of `tidewire.v1`; `page` is the answer of a poll. */
export type Hear = (type: string, value: any) => void;

/** One attempt to connect, as a transport sees it. */
export interface Attempt {
  /** The channels to listen to. */
  readonly names: readonly string[];
  /** Where to begin; empty where it is now. */
  readonly cursor: string;
  /** The address of the channels, with everything that opens it. */
  readonly address: string;
  readonly world: World;
  readonly options: Options;
  /** Asks for one page of `names` after the cursor. It waits for messages where `wait_s` is given. */
  readonly page: (abort: AbortController, wait_s?: number) => Promise<Page>;
  readonly hear: Hear;
  /** The connection is no more. */
  readonly failed: (error?: Error) => void;
}

/** An open connection, or one that is being opened. */
export interface Line {
  close(): void;
  /** Sends a frame, where the transport has a way back. */
  send?(frame: object): void;
}

/** Opens a connection. */
export type Transport = (attempt: Attempt) => Line;
