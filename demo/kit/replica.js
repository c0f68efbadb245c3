// A copy of a state that a backend keeps. What is kept is read once, while the channel is heard already, and changes follow
// one by one: each makes a version. A page that finds one missing, or is told of a gap, reads anew.

import { ask } from "./ask.js";

/** Changes that are remembered while the state is being read. */
const EARLY_MAX = 1_000;

/**
 * Follows the state at `path`, whose changes are told on `channel` under the events of `apply`: `{ post: (change) => … }`.
 * One that gives back `false` says that this was no change, since in dev mode anybody may publish; the state is read anew.
 * `show(state)` hears the state whenever it was read, and `failed(error)` that it could not be. Both states and changes
 * have a `version`. `read` asks for the path; what is somebody's own is asked for in their name.
 */
export class Replica {
  #path;
  #show;
  #apply;
  #failed;
  #ask;
  #offs;
  #version = -1;
  #reading = false;
  /** Whether what is being read may be old when it is there. */
  #again = false;
  #early = [];

  constructor(live, channel, { path, show, apply, failed, read = ask }) {
    [this.#path, this.#show, this.#apply, this.#failed, this.#ask] = [path, show, apply, failed, read];
    const hears = Object.keys(apply).map((event) => live.on(channel, event, ({ data }) => this.#hear(event, parse(data))));
    this.#offs = [...hears, live.onGap(() => this.read())];
    // What is read before the channel is heard may be old when it is. A page that is live already is not for the moment, if
    // this is its first interest in the channel.
    setTimeout(() => {
      if (this.#offs) this.#offs.push(live.onState(({ state }) => state === "live" && this.#version < 0 && this.read()));
    });
  }

  /** Reads the state anew. */
  async read() {
    this.#again = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#again && this.#offs) {
      this.#again = false;
      await this.#readOnce();
    }
    this.#reading = false;
    for (const [event, change] of this.#early.splice(0)) this.#hear(event, change);
  }

  async #readOnce() {
    try {
      const state = await this.#ask(this.#path);
      if (!this.#offs) return;
      // A server that lost its store begins again at the first version.
      this.#version = state.version;
      this.#show(state);
    } catch (error) {
      // It is read when the page is live the next time, or with the next change; those before are in what is read then.
      this.#version = -1;
      this.#early.length = 0;
      if (this.#offs) this.#failed(error);
    }
  }

  /** Follows it no longer. */
  close() {
    for (const off of this.#offs ?? []) off();
    this.#offs = undefined;
  }

  #hear(event, change) {
    if (!this.#offs || !Number.isInteger(change?.version)) return;
    if (this.#reading) {
      if (this.#early.push([event, change]) > EARLY_MAX) this.#early.shift();
    } else if (this.#version >= 0 && change.version === this.#version + 1) {
      this.#version = change.version;
      if (this.#apply[event](change) === false) this.read();
    } else if (change.version > this.#version) {
      this.read();
    }
  }
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
