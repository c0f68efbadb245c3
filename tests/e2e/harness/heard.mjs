// What a client heard, in order, and waiting for it: every wait has a deadline, and a failure says what was heard.

/** How long a test waits for something that should happen at once. Far above what a busy machine needs. */
export const PATIENCE_MS = 15_000;

/** A queue between callbacks and a test that reads like a story. */
export class Heard {
  #items = [];
  #taken = 0;
  #waiting = new Set();

  push(item) {
    this.#items.push(item);
    for (const wake of this.#waiting) wake();
  }

  /** Everything heard so far, what was already taken included. */
  get all() {
    return this.#items;
  }

  /** The next item that was not taken yet. */
  async next() {
    return (await this.take(1))[0];
  }

  /** The next `count` items. */
  async take(count) {
    await this.#until(() => this.#items.length >= this.#taken + count, `${count} more`);
    const items = this.#items.slice(this.#taken, this.#taken + count);
    this.#taken += count;
    return items;
  }

  /** Skips to the first item that `matches` and takes it. */
  async find(matches) {
    const at = () => this.#items.findIndex((item, index) => index >= this.#taken && matches(item));
    await this.#until(() => at() >= 0, "an item that matches");
    const found = at();
    this.#taken = found + 1;
    return this.#items[found];
  }

  #until(condition, what) {
    if (condition()) return undefined;
    return new Promise((resolve, reject) => {
      const wake = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(wake);
        const heard = JSON.stringify(this.#items.slice(-20), null, 1);
        reject(new Error(`waited for ${what} after ${this.#taken} taken; heard ${this.#items.length}, last: ${heard}`));
      }, PATIENCE_MS);
      this.#waiting.add(wake);
    });
  }
}

/** Asks `condition` again and again until it holds; its exceptions count as "not yet". */
export async function eventually(what, condition, seen = () => "") {
  const deadline = Date.now() + PATIENCE_MS;
  let last;
  while (Date.now() < deadline) {
    try {
      if (await condition()) return;
      last = seen();
    } catch (error) {
      last = error.cause ?? error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain until ${what}: ${last}`);
}
