// Connections that stay open, shared out among the tabs of one browser.
//
// Over HTTP/1.1 a browser opens six connections to a server, for all of its tabs together. A stream takes one for as long as
// it is heard, and so does a long poll; the seventh tab would not even load. So tabs take seats, of which there are fewer than
// that (Web Locks: a tab that goes leaves its seat, however it went). WebSockets are counted apart by browsers, a short poll is
// over at once, and HTTP/2 has no such bound: they need no seat.

/** The other two connections load pages and ask. */
const SEATS = 4;

/** How often a tab that waits says so. */
const ASK_MS = 1_000;

const AIR = "tidewire seats";

/** Only secure pages have locks; elsewhere everybody just connects. */
const locks = navigator.locks;

/** Whether a connection over `transport` that stays open needs a seat. */
export function needsSeat(transport) {
  const over = performance.getEntriesByType("navigation")[0]?.nextHopProtocol ?? "";
  return !!locks && !/^h[23]/.test(over) && ["auto", "sse", "longpoll"].includes(transport);
}

/** Takes a seat if one is free: a function that leaves it, or `null`. */
export async function freeSeat() {
  for (let number = 0; number < SEATS; number += 1) {
    const leave = await take(number, { ifAvailable: true });
    if (leave) return leave;
  }
  return null;
}

/** Waits for a seat until `signal` says that nobody wants it any more, and asks hidden tabs for theirs. */
export async function nextSeat(signal) {
  const air = new BroadcastChannel(AIR);
  const ask = () => document.hidden || air.postMessage("room");
  const timer = setInterval(ask, ASK_MS);
  ask();
  const others = new AbortController();
  signal.addEventListener("abort", () => others.abort());
  const seats = Array.from({ length: SEATS }, (_, number) => take(number, { signal: others.signal }));
  try {
    const leave = await Promise.any(seats);
    // One that was given at the same moment is one too many.
    for (const seat of seats) seat.then((other) => other !== leave && other(), () => {});
    others.abort();
    return leave;
  } catch {
    return null;
  } finally {
    clearInterval(timer);
    air.close();
  }
}

/** Hears that another tab waits for a seat. */
export function onRoomWanted(listener) {
  if (locks) new BroadcastChannel(AIR).onmessage = listener;
}

function take(number, options) {
  return new Promise((resolve, reject) => {
    const hold = (lock) => (lock ? new Promise((leave) => resolve(leave)) : resolve(null));
    locks.request(`tidewire seat ${number}`, options, hold).catch(reject);
  });
}
