// What is said in a room, as it travels and as it is kept.

/** The channel. Its namespace keeps presence (tidewire.toml). */
export const ROOM = "room:lobby";

/** Messages that are shown. */
export const SHOWN_MAX = 100;

/** `log` with those of `messages` that it does not have yet: delivery is at least once, and ids tell repetitions. */
export function merged(log, messages) {
  const known = new Set(log.map(({ id }) => id));
  return [...log, ...messages.filter(({ id }) => !known.has(id))].slice(-SHOWN_MAX);
}

/** Who said what. Anybody may publish anything, so what is not ours is shown as it came. */
export function read({ data }) {
  try {
    const { name, text } = JSON.parse(data);
    if (typeof name === "string" && typeof text === "string") return { name, text };
  } catch {
    // Not JSON.
  }
  return { name: "someone", text: typeof data === "string" ? data : `(${data.length} bytes)` };
}
