// Follows one channel over the browser's own EventSource, for as long as the page is open.
//
// EventSource comes back by itself after a cut, with `Last-Event-ID`. Two things it does not do are done here: it
// gives up for good on an answer that is no event stream (a proxy's 502, say), and a hidden tab would hold one of the
// six connections that a browser allows per server over HTTP/1.1, so that the seventh tab would not even load.

import { Backoff } from "./backoff.js";

const IDS_REMEMBERED_MAX = 1_000;

/**
 * `on.state(word)` hears how the connection is doing, `on.ready()` when the stream begins, `on.gap(gap)` that messages
 * may be missing, and `on.message(event)` every message once, however often it was delivered.
 */
export function follow(channel, { tail, on }) {
  const backoff = new Backoff();
  const seen = new Set();
  let source = null;
  let cursor = "";
  let timer = 0;

  function connect() {
    clearTimeout(timer);
    source?.close();
    const start = cursor ? `cursor=${encodeURIComponent(cursor)}` : `tail=${tail}`;
    source = new EventSource(`/c/${channel}?${start}`);
    on.state("connecting");
    source.addEventListener("$ready", (event) => {
      remember(event);
      backoff.reset();
      on.state("live");
      on.ready(event);
    });
    source.addEventListener("$gap", (event) => {
      remember(event);
      on.gap(event);
    });
    source.addEventListener("message", (event) => {
      remember(event);
      if (isNew(event.lastEventId)) on.message(event);
    });
    source.addEventListener("error", () => {
      on.state("waiting");
      // Still CONNECTING means that the browser comes back by itself, when the server's `retry:` says so.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, backoff.next());
    });
  }

  // The cursor is the last id received, not the greatest: an id may step back, and from there nothing is missed.
  function remember(event) {
    if (event.lastEventId) cursor = event.lastEventId;
  }

  // Delivery is at least once. The id tells a repetition; ids are opaque, so they are compared for equality only.
  function isNew(id) {
    if (!id) return true;
    if (seen.has(id)) return false;
    seen.add(id);
    if (seen.size > IDS_REMEMBERED_MAX) seen.delete(seen.values().next().value);
    return true;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      source?.close();
    } else {
      connect();
    }
  });

  if (!document.hidden) connect();
}
