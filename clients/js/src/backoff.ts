// How long to wait before the next attempt: exponential, with full jitter, so that a thousand pages which lost the same
// server do not come back in the same second.

const FIRST_MS = 500;
const MOST_MS = 20_000;

/**
 * Anything between nothing and a bound that doubles with every failure, and no less than the server asked for; `chance` is
 * from 0 to 1.
 */
export const backoff_ms = (failures: number, chance: number, asked_ms = 0): number =>
  Math.max(asked_ms, chance * Math.min(MOST_MS, FIRST_MS * 2 ** failures));
