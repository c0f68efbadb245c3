// Sends this page's changes, one after the other and each until it is answered. What is sent again has the same key, so it
// happens once, whatever was cut off: the request, the answer, or the server.

import { ask } from "../kit/ask.js";
import { Backoff } from "../kit/backoff.js";
import { CHANGES_MAX } from "./plan.js";

const KEPT = "tidewire.board";

export class Sender {
  #plan;
  #on;
  #backoff = new Backoff();
  #sending = false;
  #wake = () => {};

  /**
   * Sends what is in `plan`. `on.changed()` hears that it is another now, `on.conflict(change, said)` that somebody was first, and
   * `on.refused(change, error)` that the backend does not want it.
   */
  constructor(plan, on) {
    this.#plan = plan;
    this.#on = on;
    // A page that is loaded again while it waits goes on.
    plan.changes.push(...recall());
  }

  /** Sends, unless it does so already. What waits for a connection does not wait any longer. */
  async send() {
    remember(this.#plan.changes);
    this.#wake();
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let change; (change = this.#plan.next); ) {
        await this.#one(change);
        remember(this.#plan.changes);
        this.#on.changed();
      }
    } finally {
      this.#sending = false;
    }
  }

  async #one(change) {
    try {
      this.#plan.taken(change, await ask("board/change", change));
      this.#backoff.reset();
    } catch (error) {
      if (error.code === "conflict") {
        if (error.card) this.#plan.learn(error.card);
        this.#plan.declined(change);
        this.#on.conflict(change, error);
      } else if (error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429) {
        this.#plan.declined(change);
        this.#on.refused(change, error);
      } else {
        await new Promise((resolve) => {
          this.#wake = resolve;
          setTimeout(resolve, this.#backoff.next());
        });
      }
    }
  }
}

// Storage may be switched off; then what waits ends with the page.
function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return Array.isArray(kept) ? kept.slice(0, CHANGES_MAX) : [];
  } catch {
    return [];
  }
}

function remember(changes) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(changes.filter((change) => change.version === undefined)));
  } catch {
    // See above.
  }
}
