// A copy of a state that a backend keeps. What is kept is read once, while the channel is heard already, and changes follow
// one by one: each makes a version. A page that finds one missing, or is told of a gap, reads anew.

import { ask } from "./ask.js";

/** Changes that are remembered while the state is being read. */
const EARLY_MAX = 1_000;

/**
 * Follows the state at `path`, whose changes are told on `channel` under the events of `apply`: `{ post: (change) => … }`.
 * `show(state)` hears the state whenever it was read, and `failed(error)` that it could not be. Both states and changes
 * have a `version`.
 */
export class Replica {
  #path;
  #show;
  #apply;
  #failed;
  #version = -1;
  #reading = false;
  #early = [];

  constructor(live, channel, { path, show, apply, failed }) {
    [this.#path, this.#show, this.#apply, this.#failed] = [path, show, apply, failed];
    for (const event of Object.keys(apply)) live.on(channel, event, ({ data }) => this.#hear(event, parse(data)));
    live.onGap(() => this.read());
    // What is read before the channel is heard may be old when it is.
    live.onState(({ state }) => state === "live" && this.#version < 0 && this.read());
  }

  /** Reads the state anew. */
  async read() {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const state = await ask(this.#path);
      // A server that lost its store begins again at the first version.
      this.#version = state.version;
      this.#show(state);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#reading = false;
      for (const [event, change] of this.#early.splice(0)) this.#hear(event, change);
    }
  }

  #hear(event, change) {
    // In dev mode anybody may publish to the channel.
    if (!Number.isInteger(change?.version)) return;
    if (this.#reading) {
      if (this.#early.push([event, change]) > EARLY_MAX) this.#early.shift();
    } else if (change.version === this.#version + 1) {
      this.#version = change.version;
      this.#apply[event](change);
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
