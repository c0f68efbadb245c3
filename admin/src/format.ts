// Numbers as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export function count(number: number): string {
  return Math.abs(number) >= 100_000 ? short.format(number) : whole.format(number);
}

export function rate(number: number): string {
  return Math.abs(number) >= 100_000 ? short.format(number) : Math.abs(number) < 10 ? fine.format(number) : whole.format(number);
}

export function bytes(number: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) [number, at] = [number / 1024, at + 1];
  return `${at === 0 ? whole.format(number) : fine.format(number)} ${units[at]}`;
}

export function micros(number: number): string {
  return number < 1_000 ? `${whole.format(number)} µs` : `${fine.format(number / 1_000)} ms`;
}

/** How long, by its largest unit or two. */
export function span(ms: number): string {
  const s = Math.floor(ms / 1_000);
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function time(ms: number): string {
  return clock.format(ms);
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
