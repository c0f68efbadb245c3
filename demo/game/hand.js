// The hand of a player: it follows a finger, a mouse, or the arrow keys, and is published when it has moved.

import { HIGH } from "./sea.js";

const CHANNEL = "demo-game:moves";

/** As often as the court is published. */
const SAY_MS = 40;

/** A hand that rests says so, since one of which nothing is heard is taken to be away. */
const REST_MS = 1_000;

/** Units a second while an arrow key is held. */
const KEYS = 1_300;

/** Moves that may be on their way at once: more would only queue behind each other. */
const AWAY_MAX = 4;

const WAYS = { ArrowUp: -1, ArrowDown: 1, w: -1, s: 1 };

export class Hand {
  #live;
  #canvas;
  #held = new Set();
  #number = Date.now();
  #on_way = new Map();
  #posting = 0;
  #said = { y: -1, at: 0 };
  #timer = 0;
  mark = null;
  y = HIGH / 2;

  /** `canvas` is where it can be dragged. */
  constructor(live, canvas) {
    [this.#live, this.#canvas] = [live, canvas];
    const drag = (event) => {
      if (!this.mark) return;
      const { top, height } = canvas.getBoundingClientRect();
      this.y = clamp(((event.clientY - top) / height) * HIGH);
      this.#say();
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (this.mark) canvas.setPointerCapture(event.pointerId);
      drag(event);
    });
    canvas.addEventListener("pointermove", drag);
    addEventListener("keydown", (event) => {
      if (!this.mark || !WAYS[event.key] || event.target.closest("input, button, summary, fieldset")) return;
      event.preventDefault();
      this.#held.add(event.key);
    });
    addEventListener("keyup", ({ key }) => this.#held.delete(key));
    addEventListener("blur", () => this.#held.clear());
  }

  /** Takes the place whose moves have this `mark`; none with `null`. Anybody can read it there. */
  take(mark) {
    this.mark = mark;
    clearInterval(this.#timer);
    this.#held.clear();
    this.#on_way.clear();
    this.#said.at = 0;
    if (!mark) return;
    this.y = HIGH / 2;
    this.#timer = setInterval(() => this.#say(), SAY_MS);
    this.#canvas.focus({ preventScroll: true });
  }

  /** Lets held keys move it for `seconds`. */
  move(seconds) {
    for (const key of this.#held) this.y = clamp(this.y + WAYS[key] * KEYS * seconds);
  }

  /** How long the move took that a state has `heard`, in milliseconds; nothing where that is not known. */
  took_ms(heard) {
    const sent_at = this.#on_way.get(heard);
    if (sent_at === undefined) return undefined;
    for (const number of this.#on_way.keys()) if (number <= heard) this.#on_way.delete(number);
    return performance.now() - sent_at;
  }

  #say() {
    const now = performance.now();
    const y = Math.round(this.y);
    const since = now - this.#said.at;
    if (since < SAY_MS - 5 || (y === this.#said.y && since < REST_MS) || this.#posting >= AWAY_MAX) return;
    this.#said = { y, at: now };
    this.#number += 1;
    this.#on_way.set(this.#number, now);
    if (this.#on_way.size > 100) this.#on_way.delete(this.#on_way.keys().next().value);
    this.#posting += 1;
    // Without a key: a move that is lost is not worth repeating, the next one says more.
    this.#live
      .publish(CHANNEL, { mark: this.mark, n: this.#number, y }, { event: "move", key: null })
      .catch(() => {})
      .finally(() => (this.#posting -= 1));
  }
}

const clamp = (y) => Math.min(HIGH, Math.max(0, y));
