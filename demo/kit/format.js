// Numbers as people read them.

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB"];
const DECIMAL = ["B/s", "kB/s", "MB/s", "GB/s"];

/** `used` and `total` bytes in one unit: "3.1 of 7.8 GiB". */
export function share(used, total) {
  const unit = power(total, 1024, BINARY);
  const digits = (bytes) => (bytes / 1024 ** unit).toFixed(1);
  return `${digits(used)} of ${digits(total)} ${BINARY[unit]}`;
}

/** Bytes a second, to three digits: "12.4 kB/s", "500 kB/s". */
export function rate(bytes) {
  const unit = power(bytes, 1000, DECIMAL);
  const value = bytes / 1000 ** unit;
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${DECIMAL[unit]}`;
}

/** "12.5 %". */
export function percent(value) {
  return `${value.toFixed(1)} %`;
}

/** "14:05", in the reader's own habit. */
export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function power(bytes, step, units) {
  let unit = 0;
  while (unit < units.length - 1 && bytes >= step ** (unit + 1)) unit += 1;
  return unit;
}
