// Requests: who asks, how long they may take, and what a refusal is.

import type { Options, World } from "./types.js";

/** How long a request may take beyond the wait that it asked for. */
const PATIENCE_MS = 15_000;

/** A token that ends within this is not used any more. */
const LEEWAY_MS = 10_000;

/** The server said no, or did not answer. */
export class Refusal extends Error {
  /** One of docs/errors.md, or `unreachable`. */
  declare readonly code: string;
  /** The HTTP status; 0 where there was none. */
  declare readonly status: number;
  /** Trying the same again is pointless. */
  declare readonly final: boolean;
  /** How long the server asks to be left alone. */
  declare readonly retry_after_ms: number;

  constructor(code = "unreachable", status = 0, detail = code, retry_after_ms = 0) {
    super(detail);
    Object.assign(this, { code, status, retry_after_ms, final: /^4(?!08|29)/.test(status as any) });
  }
}

/** Asks the server at `base`. A token goes into a header, never into an address. */
export interface Http {
  ask(path: string, init?: RequestInit, abort?: AbortController, wait_s?: number): Promise<any>;
  /** What opens an address, to be put into its query: `ticket=…&`, or nothing. Polls have a header for a token. */
  opens(is_stream: boolean): Promise<string>;
  /** The token, a new one where `anew`. */
  bearer(anew?: boolean): Promise<string | undefined>;
  /** The token is not good any more. */
  forget(): void;
  /** When the token ends, in milliseconds since 1970; infinity where that is not known, or there will be no other. */
  ends(): number;
}

export function http(base: string, options: Options, world: World): Http {
  const { token: source, ticket, credentials } = options;
  let held: string | undefined;

  const ends = () => {
    try {
      return JSON.parse(atob(held!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"))).exp * 1000 || Infinity;
    } catch {
      return Infinity;
    }
  };

  const bearer = async (anew?: boolean) => {
    if (typeof source != "function") return source;
    if (anew || !held || ends() - world.Date.now() < LEEWAY_MS) held = await source();
    return held;
  };

  const ask = async (path: string, init: RequestInit = {}, abort = new AbortController(), wait_s = 0, anew = false): Promise<any> => {
    const token = await bearer(anew);
    const timer = world.setTimeout(() => abort.abort(), PATIENCE_MS + wait_s * 1000);
    try {
      const answer = await world.fetch(base + path, {
        ...init,
        ...(credentials && { credentials: "include" }),
        headers: { ...(token && { Authorization: "Bearer " + token }), ...init.headers },
        signal: abort.signal,
      });
      if (answer.ok) return await answer.json();
      const { code, detail } = await answer.json().catch(() => ({}));
      if (answer.status != 401 || anew || typeof source != "function") {
        throw new Refusal(code, answer.status, detail, +answer.headers.get("retry-after")! * 1000);
      }
    } finally {
      world.clearTimeout(timer);
    }
    return ask(path, init, abort, wait_s, true);
  };

  return {
    ask,
    bearer,
    ends,
    forget() {
      held = undefined;
    },
    async opens(is_stream) {
      const bought = ticket ? await ticket() : is_stream && source && (await ask("/v1/tickets", { method: "POST" })).ticket;
      return bought ? "ticket=" + encodeURIComponent(bought) + "&" : "";
    },
  };
}
