// What the board would look like if every change of this page were taken. Nothing here knows the page or the network.
//
// The base is what the backend told, in its order. This page's own changes lie on top of it, oldest first, until the base
// has them. So a change shows at once, stays where it is while others' changes come in below, and falls away when it is
// refused: what is drawn is always the base and what is still hoped for.

/** Changes that may wait. */
export const CHANGES_MAX = 200;

/** Versions that are remembered to be this page's own. */
const OWN_MAX = 200;

/** How far apart places are, where nothing follows. It is the backend's number, and only has to be positive. */
const STEP = 1 << 20;

export class Plan {
  version = -1;
  #base = new Map();
  #own = new Set();
  /** `{ key, by, id, base, what, … }` as they are sent; with `version` once they are taken. */
  changes = [];

  /** The board was read. */
  read({ version, cards }) {
    // A backend that lost its store has lost what it had taken, too.
    const lost = version < this.version;
    this.#base = new Map(cards.map((card) => [card.id, card]));
    this.version = version;
    if (lost) this.#own.clear();
    this.changes = this.changes.filter((change) => change.version === undefined || (change.version > version && !lost));
  }

  /** The backend told a change. */
  told({ version, id, card, places = [] }) {
    if (!card) this.#base.delete(id);
    else this.learn(card);
    this.version = version;
    for (const [id, place] of places) {
      const card = this.#base.get(id);
      if (card) this.#base.set(id, { ...card, place });
    }
    this.changes = this.changes.filter((change) => change.version === undefined || change.version > version);
  }

  /** A card as it is now, which the channel will tell of later. */
  learn(card) {
    const known = this.#base.get(card.id);
    // One that is not here was deleted, unless it is newer than all that is known.
    if (known ? stamp(card) >= stamp(known) : stamp(card) > this.version) this.#base.set(card.id, card);
  }

  /** The versions of a card as it is now: what a change is made upon. */
  seen(id) {
    const card = this.#base.get(id);
    return { moved: card?.moved.version ?? 0, edited: card?.edited.version ?? 0 };
  }

  /**
   * Adds a change of this page, made upon `base`, which is the card as it is seen now where nothing is given. False where too
   * many wait.
   */
  make({ base, ...change }) {
    if (this.changes.length >= CHANGES_MAX) return false;
    const now = this.seen(change.id);
    const upon = base ?? now;
    // What this page has done itself, it has seen.
    const known = (what) => (this.#own.has(now[what]) ? now[what] : upon[what]);
    this.changes.push({ ...change, base: { moved: known("moved"), edited: known("edited") } });
    return true;
  }

  /** The oldest change that is not taken yet. */
  get next() {
    return this.changes.find((change) => change.version === undefined);
  }

  /** The backend took `change`. What this page did to the card afterwards was done upon that. */
  taken(change, { version, card }) {
    change.version = version;
    // The channel may tell of it later than this, and what is done to the card until then is done upon it.
    if (card) this.learn(card);
    this.#own.add(version);
    if (this.#own.size > OWN_MAX) this.#own.delete(this.#own.values().next().value);
    for (const later of this.changes.slice(this.changes.indexOf(change) + 1)) {
      if (later.id !== change.id || !card) continue;
      if (change.what !== "edit") later.base.moved = Math.max(later.base.moved, card.moved.version === version ? version : 0);
      if (change.what !== "move") later.base.edited = Math.max(later.base.edited, card.edited.version === version ? version : 0);
    }
    if (version <= this.version) this.changes = this.changes.filter((other) => other !== change);
  }

  /** The backend did not take `change`: it falls away, and with it what this page did to the same card afterwards. */
  declined(change) {
    const from = this.changes.indexOf(change);
    this.changes = this.changes.filter((other, at) => at < from || other.id !== change.id);
  }

  /** The cards as they are to be drawn, by column and from the top, each with `pending` where a change of it waits. */
  view(columns) {
    const cards = new Map(this.#base);
    for (const change of this.changes) apply(cards, change);
    const ordered = [...cards.values()].sort((a, b) => a.place - b.place || (a.id < b.id ? -1 : 1));
    return new Map(columns.map((column) => [column, ordered.filter((card) => card.column === column)]));
  }
}

function stamp({ moved, edited }) {
  return Math.max(moved.version, edited.version);
}

function apply(cards, { what, id, by, title, note, column, after, version }) {
  const card = cards.get(id);
  const pending = card?.pending || version === undefined;
  const mine = { version: Infinity, by };
  if (what === "add") {
    if (!card) cards.set(id, { id, title, note, column, place: place(cards, id, column, after), moved: mine, edited: mine, pending });
  } else if (!card) {
    // Somebody deleted it; the backend will say so.
  } else if (what === "delete") {
    cards.delete(id);
  } else if (what === "edit") {
    cards.set(id, { ...card, title, note, edited: mine, pending });
  } else {
    cards.set(id, { ...card, column, place: place(cards, id, column, after), moved: mine, pending });
  }
}

// As the backend does it: `null` is the top, and a card that is not in this column the end.
function place(cards, id, column, after) {
  const others = [...cards.values()].filter((card) => card.column === column && card.id !== id).sort((a, b) => a.place - b.place);
  const at = after === null ? 0 : others.findIndex((card) => card.id === after) + 1 || others.length;
  const below = others[at - 1]?.place ?? 0;
  const above = others[at]?.place ?? below + 2 * STEP;
  return (below + above) / 2;
}
