// What a lane came to: which messages arrived, how old they were, and what that makes over a window of time. No page in
// here, so that a test can hold it to its word.

/** How far back figures go: more than the longest rest between two polls. */
export const WINDOW_MS = 40_000;

const SAMPLES_MAX = 4_000;
const MISSING_MAX = 10_000;

/** A message as the server writes it: its number, and when it left, in milliseconds since 1970. */
export function read(text) {
  const [number, at] = text.split(":", 2).map((part) => Number.parseInt(part, 36));
  return Number.isSafeInteger(number) && Number.isSafeInteger(at) ? { number, at: at / 1_000 } : null;
}

/** The messages and requests of one lane. */
export class Tally {
  requests = 0;
  answers = 0;
  empty = 0;
  deliveries = 0;
  duplicated = 0;
  gaps = 0;
  highest = 0;
  /** `{ now, at, age }` of the newest messages, in milliseconds. */
  samples = [];
  #missing = new Set();

  /** Takes one message that arrived `now`, and says whether it was new. */
  take({ number, at }, now) {
    if (number > this.highest) {
      for (let n = this.highest + 1; n < number && this.#missing.size < MISSING_MAX; n += 1) this.#missing.add(n);
      this.highest = number;
    } else if (!this.#missing.delete(number)) {
      this.duplicated += 1;
      return false;
    }
    this.deliveries += 1;
    this.samples.push({ now, at, age: Math.max(0, now - at) });
    if (this.samples.length > SAMPLES_MAX) this.samples.splice(0, SAMPLES_MAX / 4);
    return true;
  }

  /** An answer of a poll, with so many messages. */
  answer(messages) {
    this.answers += 1;
    this.empty += Number(messages === 0);
  }

  /** Messages with a number below the newest one that are not here. */
  get lost() {
    return this.#missing.size;
  }

  /** Every sum at this moment, beside those that the server counted. */
  look(now, counted) {
    const { requests, answers, empty, deliveries } = this;
    return { now, requests, answers, empty, deliveries, ...counted };
  }

  /** `{ mean_ms, p50_ms, p99_ms }` of what arrived since; nothing where nothing did. */
  latency(since) {
    const ages = this.samples.filter(({ now }) => now >= since).map(({ age }) => age);
    if (ages.length === 0) return null;
    ages.sort((one, other) => one - other);
    const at = (share) => ages[Math.min(ages.length - 1, Math.floor(ages.length * share))];
    return { mean_ms: ages.reduce((sum, age) => sum + age, 0) / ages.length, p50_ms: at(0.5), p99_ms: at(0.99) };
  }
}

/** The looks of one lane within the window. */
export class Window {
  #looks = [];

  /** Begins anew: what came before belongs to something else. */
  reset() {
    this.#looks = [];
  }

  add(look) {
    this.#looks.push(look);
    while (this.#looks.length > 2 && look.now - this.#looks[1].now >= WINDOW_MS) this.#looks.shift();
  }

  /**
   * What came to pass between the first look and the last: every sum, `since` and `wall_s`. Nothing before there are two.
   *
   * With `period_ms`, over whole periods if there is one: who asks every five seconds has asked once or twice in seven.
   */
  figures(period_ms = 0) {
    const last = this.#looks.at(-1);
    let first = this.#looks[0];
    const periods = Math.floor((last?.now - first?.now) / period_ms);
    if (periods >= 1 && Number.isFinite(periods)) {
      const from = last.now - periods * period_ms;
      first = this.#looks.reduce((best, look) => (Math.abs(look.now - from) < Math.abs(best.now - from) ? look : best));
    }
    if (!last || first === last) return null;
    const sums = Object.keys(last).filter((name) => name !== "now").map((name) => [name, last[name] - first[name]]);
    return { since: first.now, wall_s: (last.now - first.now) / 1_000, ...Object.fromEntries(sums) };
  }
}
