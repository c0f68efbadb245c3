// A service that knows Redis and has never heard of Tidewire. It says PUBLISH, and browsers hear it; what they send arrives
// as any message of Redis does, and is answered. Tidewire's side of it is in tidewire.toml.
//
//   browser ──── {"id":"q1","symbol":"EURUSD"} ───▶ quote-requests ───▶ this service
//   browsers ◀── {"id":"q1","symbol":"EURUSD","price":1.0842} ◀── quotes ◀──┘

import { Redis } from "ioredis";

const REDIS_URL = process.env.REDIS_URL ?? "redis://127.0.0.1:6379";
const TICK_MS = 1_000;
const REQUEST_CHARACTERS_MAX = 1_024;

const prices = new Map([["EURUSD", 1.0842], ["GBPUSD", 1.2671]]);

// A connection of Redis that is subscribed can do nothing else. Both come back by themselves, and subscribe again. What
// cannot be said now is old by the time that it could be, hence no queue.
const listener = new Redis(REDIS_URL);
const speaker = new Redis(REDIS_URL, { enableOfflineQueue: false });
for (const connection of [speaker, listener]) {
  connection.on("error", (error) => console.error(`redis: ${error.message}`));
}

listener.on("message", (channel, text) => {
  const answer = answered(text);
  if (answer) tell(answer);
});
await listener.subscribe("quote-requests");

const ticking = setInterval(() => {
  for (const [symbol, price] of prices) tell({ symbol, price });
}, TICK_MS);

console.log("listening");

process.once("SIGTERM", () => {
  clearInterval(ticking);
  listener.disconnect();
  // After what was said already, if there is still somebody to say it to.
  speaker.quit().catch(() => speaker.disconnect());
});

/**
 * The answer to what a client sent; nothing where it makes no sense. Anything may come: whoever may speak on the channel
 * chooses every byte, and Tidewire does not say who it was. If that matters, have clients send something you signed.
 */
function answered(text) {
  if (text.length > REQUEST_CHARACTERS_MAX) return undefined;
  let request;
  try {
    request = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { id, symbol } = request ?? {};
  if (typeof id !== "string" || typeof symbol !== "string") return undefined;
  const price = prices.get(symbol);
  return price === undefined ? { id, symbol, error: "unknown symbol" } : { id, symbol, price };
}

/** Says it to everybody. Redis keeps nothing: who is away now reads it nowhere, and Tidewire says so when they are back. */
function tell(quote) {
  speaker.publish("quotes", JSON.stringify(quote)).catch((error) => console.error(`redis: ${error.message}`));
}
