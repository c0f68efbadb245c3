// The one client of a page, and the switch that says over which transport. `tidewire` is /client.js, which every page loads
// first.

import { freeSeat, needsSeat, nextSeat, onRoomWanted } from "./seats.js";
import { showState } from "./state.js";

/** What a visitor may choose, in the order of the switch. */
const TRANSPORTS = { auto: "Auto", sse: "SSE", ws: "WebSocket", longpoll: "Long poll", poll: "Short poll" };

/** Often enough that a demonstration is no test of patience; an application would rest for longer. */
const POLL_MS = 1_000;

/** What `auto` takes where the other tabs have all the seats: transports that need none. */
const WITHOUT_SEAT = ["ws", "poll"];

/**
 * A client that outlives a change of transport: whoever listens goes on where the transport before left off.
 *
 * `token` and `cursor` are those of the client's options. What is heard comes once, however often it was delivered.
 */
export class Live {
  #options;
  #listeners = [];
  /** There always is one. Until this tab has a seat nobody listens to it, so that it has no connection. */
  #client;
  #state = { state: "connecting", transport: "" };
  #isHeard = false;
  /** Leaves the seat; `null` where there is none. */
  #leave = null;
  #isResting = false;
  #waiting = new AbortController();
  #stateListeners = new Set();
  #gapListeners = new Set();

  constructor({ token, cursor = "" } = {}) {
    this.#options = { token, poll_ms: POLL_MS };
    this.#connect(chosen(), cursor);
    // A hidden tab has no use for its seat while another one waits for it; it goes on where it was when it is shown.
    onRoomWanted(() => document.hidden && this.#leave && this.#rest());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#isResting) this.#connect(chosen(), this.#client.cursor);
    });
  }

  /** Hears the messages of `channel`: all of them with `message`, or those of one event. Gives back what ends it. */
  on(channel, event, listener) {
    const entry = { channel, event, listener, off: () => {} };
    this.#listeners.push(entry);
    if (this.#isHeard) this.#hear(entry);
    return () => {
      entry.off();
      this.#listeners = this.#listeners.filter((other) => other !== entry);
    };
  }

  /** Hears that messages may be missing: what the page shows has to be read anew from where it is kept. Gives back what ends it. */
  onGap(listener) {
    this.#gapListeners.add(listener);
    return () => this.#gapListeners.delete(listener);
  }

  /** Hears `{ state, transport, error }`, now and whenever that changes. Gives back what ends it. */
  onState(listener) {
    this.#stateListeners.add(listener);
    listener(this.#state);
    return () => this.#stateListeners.delete(listener);
  }

  /** Publishes; resolves once the message has its place, and rejects with the server's refusal. */
  publish(channel, data, how) {
    return this.#client.channel(channel).publish(data, how);
  }

  /** What `channel` keeps, as the client's `history`. */
  history(channel, past) {
    return this.#client.channel(channel).history(past);
  }

  /** Who is connected to `channel`. */
  presence(channel) {
    return this.#client.channel(channel).presence();
  }

  /** The transport that was chosen. */
  get transport() {
    return chosen();
  }

  /** Goes on over another transport, from where this one is. It stays chosen for this tab. */
  switchTo(transport) {
    remember(transport);
    this.#connect(transport, this.#client.cursor);
  }

  /** Ends it. */
  close() {
    const client = this.#client;
    this.#end();
    this.#client = client;
  }

  async #connect(transport, cursor) {
    const needs = needsSeat(transport);
    this.#end({ keepsSeat: needs });
    this.#isResting = false;
    const transports = transport === "auto" ? "auto" : [transport];
    if (!needs || this.#leave) return this.#begin(transports, cursor);
    this.#client = this.#made({ cursor });
    this.#tell({ state: "connecting", transport });
    const { signal } = this.#waiting;
    let leave = await freeSeat();
    if (!leave && transport !== "auto" && !signal.aborted) {
      const error = new Error("This browser has enough streams open over HTTP/1.1. Hide another tab, or choose WebSocket.");
      this.#tell({ state: "waiting", transport, error });
      leave = await nextSeat(signal);
    }
    // Something else was chosen meanwhile.
    if (signal.aborted) return leave?.();
    this.#end();
    this.#leave = leave;
    this.#begin(leave ? transports : WITHOUT_SEAT, cursor);
  }

  #begin(transports, cursor) {
    const client = this.#made({ cursor, transports });
    this.#client = client;
    // A client that was closed for another still says so, and nobody is to hear it.
    client.on("state", (change) => this.#client === client && this.#tell(change));
    client.on("gap", (gap) => this.#client === client && this.#gapListeners.forEach((listener) => listener(gap)));
    this.#isHeard = true;
    for (const entry of this.#listeners) this.#hear(entry);
  }

  #hear(entry) {
    entry.off = this.#client.channel(entry.channel).on(entry.event, entry.listener);
  }

  /** Lets the connection go, and stays where it is. */
  #rest() {
    const { cursor } = this.#client;
    this.#end();
    this.#isResting = true;
    this.#client = this.#made({ cursor });
    this.#tell({ state: "waiting", transport: chosen(), error: new Error("Another tab has this one's connection while it is hidden.") });
  }

  #end({ keepsSeat = false } = {}) {
    this.#waiting.abort();
    this.#waiting = new AbortController();
    this.#isHeard = false;
    if (!keepsSeat) {
      this.#leave?.();
      this.#leave = null;
    }
    // Nobody is told that it is closed: whoever comes here goes on with another.
    const client = this.#client;
    this.#client = undefined;
    client?.close();
  }

  #made(more) {
    return tidewire.connect("", { ...this.#options, ...more });
  }

  #tell(change) {
    this.#state = change;
    for (const listener of this.#stateListeners) listener(change);
  }
}

/** Fills the head of the page, `header.top`: the way home, the switch, and how the connection is doing. */
export function head(live) {
  const top = document.querySelector("header.top");
  top.prepend(home());
  const state = element("p", { className: "state", role: "status" });
  top.append(transportSwitch(live), state);
  live.onState((change) => {
    const word = WORDS[change.state];
    showState(state, word);
    state.title = change.error?.message ?? `over ${TRANSPORTS[change.transport] ?? change.transport}`;
    state.dataset.transport = change.transport;
  });
}

/** The words of the client, in those of the label. */
const WORDS = {
  idle: "connecting", connecting: "connecting", live: "live", waiting: "waiting", refused: "refused", closed: "waiting",
};

function home() {
  const link = element("a", { className: "home", href: "/" });
  link.setAttribute("aria-label", "All demonstrations");
  const SVG = "http://www.w3.org/2000/svg";
  const mark = document.createElementNS(SVG, "svg");
  mark.setAttribute("viewBox", "0 0 24 24");
  mark.setAttribute("class", "mark");
  mark.setAttribute("aria-hidden", "true");
  for (const d of ["M2 8.5c3.3-4 6.7-4 10 0s6.7 4 10 0", "M2 16c3.3-4 6.7-4 10 0s6.7 4 10 0"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    mark.append(path);
  }
  link.append(mark);
  return link;
}

function transportSwitch(live) {
  const set = element("fieldset", { className: "switch" });
  set.append(element("legend", { className: "unseen", textContent: "Transport" }));
  for (const [value, name] of Object.entries(TRANSPORTS)) {
    const input = element("input", { type: "radio", name: "transport", value, checked: value === live.transport });
    input.addEventListener("change", () => live.switchTo(value));
    const label = element("label");
    label.append(input, element("span", { textContent: name }));
    set.append(label);
  }
  return set;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

// `?transport=ws` is for links; what was chosen by hand holds for the tab. Storage may be switched off.
function chosen() {
  const asked = new URLSearchParams(location.search).get("transport");
  let kept = null;
  try {
    kept = sessionStorage.getItem("tidewire.transport");
  } catch {
    // Then it is forgotten with the page.
  }
  return [kept, asked].find((name) => name && Object.hasOwn(TRANSPORTS, name)) ?? "auto";
}

function remember(transport) {
  try {
    sessionStorage.setItem("tidewire.transport", transport);
  } catch {
    // See above.
  }
}
