// A visitor who has logged in: their token, the next one when it ends, and questions to the backend in their name.

import { ask } from "./ask.js";

/** A token that ends within this is not used any more. */
const LEEWAY_MS = 5_000;

export class Login {
  #path;
  #body;
  #held;
  #ends_at = 0;
  #listeners = new Set();

  /** Logs in at `path` with `body`, whenever a token is wanted. */
  constructor(path, body) {
    [this.#path, this.#body] = [path, body];
  }

  /** Gets a new token. `Live` calls it before the one that it has ends. */
  token = async () => {
    this.#held = await ask(this.#path, this.#body);
    this.#ends_at = Date.now() + this.#held.expires_in * 1_000;
    for (const listener of this.#listeners) listener(this.#ends_at);
    return this.#held.token;
  };

  /** Hears when a new token ends, in milliseconds since 1970. */
  onToken(listener) {
    this.#listeners.add(listener);
  }

  /** What the backend said when it last gave a token, which is still good. */
  async who() {
    if (Date.now() > this.#ends_at - LEEWAY_MS) await this.token();
    return this.#held;
  }

  /** Asks as `ask` does, in the visitor's name. */
  ask = async (path, body) => {
    const { token } = await this.who();
    try {
      return await ask(path, body, { token });
    } catch (error) {
      // A server that lost its store has another key.
      if (error.status !== 401) throw error;
      return ask(path, body, { token: await this.token() });
    }
  };
}
