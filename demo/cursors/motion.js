// Smooth motion from places that come in bursts: what is shown lies so far in the past that the next place is there already.
//
// Places carry the server's time. How late they come is measured, and how far in the past to draw follows from the latest of
// the last seconds: some 50 ms behind a stream, more than a second behind short polls.

/** The delay is at least this, and is given up to stay small beyond that. Milliseconds, as everywhere here. */
const LEAST_MS = 50;
const MOST_MS = 2_500;

/** Between two places further apart in time nobody has moved from one to the other. */
const BREAK_MS = 300;

/** How quickly a delay that is not needed any more shrinks, in milliseconds a second: faster is seen. */
const SHRINK = 120;

const PLACES_MAX = 256;

/** What time it is at the server, and how far in the past to draw. */
export class Playback {
  #ahead = -Infinity;
  #delay = LEAST_MS;
  #drawn = 0;
  #time = -Infinity;

  /** A place of the server's time `time` came at `now`, by a clock that nobody sets. */
  heard(time, now) {
    // The place that was fastest on its way tells most of the difference between the two clocks.
    this.#ahead = Math.max(this.#ahead, time - now);
    const late = now + this.#ahead - time;
    this.#delay = Math.min(MOST_MS, Math.max(this.#delay, late + LEAST_MS));
  }

  /** The server's time that is to be drawn at `now`. */
  at(now) {
    const passed = this.#drawn ? Math.min(1_000, now - this.#drawn) : 0;
    this.#drawn = now;
    this.#delay = Math.max(LEAST_MS, this.#delay - (SHRINK * passed) / 1_000);
    // When a place was later than any before, what is shown stands still until it is due. It never runs back.
    this.#time = Math.max(this.#time, now + this.#ahead - this.#delay);
    return this.#time;
  }

  /** How far in the past is drawn. */
  get delay() {
    return this.#delay;
  }

  /** Another transport has another way to be late. */
  reset() {
    this.#delay = LEAST_MS;
  }
}

/** Where one pointer was when. */
export class Track {
  #places = [];

  add(place) {
    const last = this.#places.at(-1);
    // After a cut an older one may come again.
    if (last && place.time < last.time) return;
    this.#places.push(place);
    if (this.#places.length > PLACES_MAX) this.#places.shift();
  }

  /** Where it was at `time`; nothing where it was not there yet. */
  at(time) {
    const next = this.#places.findIndex((place) => place.time > time);
    if (next === 0) return undefined;
    if (next < 0) return this.#places.at(-1);
    const [from, to] = [this.#places[next - 1], this.#places[next]];
    if (to.time - from.time > BREAK_MS) return from;
    const share = (time - from.time) / (to.time - from.time);
    return { ...from, x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
  }

  /** When it was heard of last. */
  get newest() {
    return this.#places.at(-1)?.time ?? -Infinity;
  }
}
