// How long to wait before the next attempt: exponential, with full jitter, so that a thousand pages which lost the
// same server do not come back in the same second.

const FIRST_MS = 500;
const MOST_MS = 20_000;

export class Backoff {
  #failures = 0;

  /** The next wait, in milliseconds: anything between nothing and a bound that doubles with every failure. */
  next() {
    const bound = Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    return Math.random() * bound;
  }

  /** Call once a connection has proved good. Merely having been accepted proves nothing. */
  reset() {
    this.#failures = 0;
  }
}
