// Numbers as people read them: three digits, and a unit.

/** "0.2", "12.3", "1 234". */
export function count(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en").replaceAll(",", "\u00a0");
  return String(Number(value.toPrecision(3)));
}

/** "128 B", "1.5 KiB". */
export function bytes(value) {
  return unit(value, 1_024, ["B", "KiB", "MiB", "GiB"]);
}

/** From milliseconds: "350 µs", "1.5 ms", "2.5 s". */
export function time(ms) {
  return unit(ms * 1_000, 1_000, ["µs", "ms", "s"]);
}

/** "60 %". */
export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** "1 message", "2 messages". */
export function plural(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

function unit(value, step, units) {
  let at = 0;
  while (value >= Math.min(step, 999.5) && at + 1 < units.length) {
    value /= step;
    at += 1;
  }
  return `${count(value)} ${units[at]}`;
}
