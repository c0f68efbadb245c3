// A browser in a test's hands: its clock, its chance, its network, and what happens to its page.

import { setImmediate } from "node:timers/promises";

/** Lets everything happen that is due at this moment. */
export async function settled() {
  for (let n = 0; n < 5; n += 1) await setImmediate();
}

export class World {
  now = 1_700_000_000_000;
  /** What `Math.random()` gives: waits are as long as they may be. */
  chance = 1;
  /** Every EventSource, WebSocket and request, oldest first. */
  sources = [];
  sockets = [];
  requests = [];
  /** Answers a request: `{status, json, headers}`; a promise may come later, and what it throws is the network's. */
  answer = () => ({ status: 200, json: { messages: [], cursor: "now.0", more: false, gap: null } });
  location = { origin: "http://here" };
  #timers = new Map();
  #count = 0;

  constructor() {
    const world = this;
    this.Date = { now: () => this.now };
    this.Math = { random: () => this.chance };
    this.EventSource = class extends Source {
      constructor(url, how) {
        super(url, how);
        world.sources.push(this);
      }
    };
    this.WebSocket = class extends Socket {
      constructor(url, protocols) {
        super(url, protocols);
        world.sockets.push(this);
      }
    };
    this.events = new EventTarget();
    this.addEventListener = (...listen) => this.events.addEventListener(...listen);
    this.removeEventListener = (...listen) => this.events.removeEventListener(...listen);
    this.document = Object.assign(new EventTarget(), { hidden: false });
  }

  setTimeout = (what, ms = 0) => {
    this.#timers.set(++this.#count, { what, at: this.now + ms });
    return this.#count;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  fetch = async (url, init = {}) => {
    const request = { url, method: "GET", ...init };
    this.requests.push(request);
    const aborted = new Promise((_, reject) => init.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
    aborted.catch(() => {});
    const { status = 200, json = {}, headers = {} } = await Promise.race([this.answer(request), aborted]);
    return new Response(JSON.stringify(json), { status, headers });
  };

  /** Turns the clock on, timer by timer. */
  async pass(ms) {
    if (!Number.isFinite(ms)) throw new Error("nothing is planned");
    const until = this.now + ms;
    for (;;) {
      await settled();
      const [due] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at);
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].what();
    }
    this.now = until;
    await settled();
  }

  /** How long the clock has to be turned until something happens; `Infinity` where nothing is planned. */
  get next_ms() {
    return Math.min(...[...this.#timers.values()].map(({ at }) => at - this.now));
  }

  /** The newest connection of each kind. */
  get source() {
    return this.sources.at(-1);
  }

  get socket() {
    return this.sockets.at(-1);
  }
}

class Source extends EventTarget {
  is_closed = false;

  constructor(url, how) {
    super();
    Object.assign(this, { url, how, query: new URL(url).searchParams });
  }

  /** An event from the server; messages are named by nothing but their fields. */
  say(type, data) {
    if (!this.is_closed) this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data) }));
  }

  ready(cursor) {
    this.say("$ready", { channels: [], cursor });
  }

  message(id, more = {}) {
    this.say("message", { channel: "prices", id, event: null, data: id, time: 1, ...more });
  }

  /** The connection is cut, or refused. */
  fail() {
    if (!this.is_closed) this.onerror?.(new Event("error"));
  }

  close() {
    this.is_closed = true;
  }
}

class Socket {
  sent = [];
  is_closed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols, query: new URL(url).searchParams });
  }

  open() {
    this.onopen?.();
  }

  say(frame) {
    if (!this.is_closed) this.onmessage?.({ data: JSON.stringify(frame) });
  }

  ready(cursor) {
    this.open();
    this.say({ type: "ready", channels: [], cursor });
  }

  message(id, more = {}) {
    this.say({ type: "message", channel: "prices", id, event: null, data: id, time: 1, ...more });
  }

  fail(code = 1006, reason = "") {
    this.is_closed = true;
    this.onclose?.({ code, reason });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.is_closed = true;
  }
}
