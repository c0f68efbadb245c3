// The watch list: symbols that this browser remembers. Storage may be switched off; then it lasts as long as the page.

const KEY = "tidewire.watch";
const SYMBOLS_MAX = 200;

export class Watch {
  #symbols = new Set(recall());
  #changed;

  constructor(changed) {
    this.#changed = changed;
  }

  has(symbol) {
    return this.#symbols.has(symbol);
  }

  /** Puts `symbol` on the list, or takes it off. */
  toggle(symbol) {
    if (!this.#symbols.delete(symbol)) this.#symbols.add(symbol);
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.#symbols]));
    } catch {
      // See above.
    }
    this.#changed();
  }
}

function recall() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(kept) ? kept.filter((symbol) => typeof symbol === "string").slice(0, SYMBOLS_MAX) : [];
  } catch {
    return [];
  }
}
