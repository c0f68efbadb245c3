// The four ways to hear one channel, each with nothing but what a browser has. They tell what they do, and count nothing.
//
// Every lane has `hear`: `state(word)`, `request()` for each that was sent, `answer(messages)` for each answer of a poll,
// `message(text)`, and `gap()`. They begin at the channel's beginning and come back by themselves, each with the cursor
// of the last message that it heard.

const WAIT_S = 25;

// After a connection that failed, somewhere between these: the page has one client, and no crowd to come back with.
const AGAIN_MS = [300, 700];

/** What is written in the page's order, by the words that the server uses. */
export const LANES = { poll: ShortPoll, longpoll: LongPoll, sse: Sse, ws: Ws };

function ShortPoll(url, hear, settings) {
  return polls(url, hear, "", () => settings.values.poll_interval_s * 1_000);
}

function LongPoll(url, hear) {
  return polls(url, hear, `&wait=${WAIT_S}`, () => 0);
}

function polls(url, hear, wait, restMs) {
  let cursor = "earliest";
  let timer = 0;
  let due = performance.now();
  let open = true;
  const abort = new AbortController();

  async function ask() {
    hear.request();
    try {
      const answer = await fetch(`${url}?cursor=${encodeURIComponent(cursor)}${wait}`, { signal: abort.signal });
      if (!answer.ok) throw new Error(`a poll was answered ${answer.status}`);
      const page = await answer.json();
      if (!open) return;
      cursor = page.cursor;
      hear.state("live");
      if (page.gap) hear.gap();
      hear.answer(page.messages.length);
      for (const { data } of page.messages) hear.message(data);
      // A poll has a schedule: a slow answer makes the next one no later than it has to be.
      due = Math.max(due + restMs(), performance.now());
      later(page.more ? 0 : due - performance.now());
    } catch {
      if (!open) return;
      hear.state("waiting");
      due = performance.now();
      later(again());
    }
  }

  function later(ms) {
    clearTimeout(timer);
    timer = setTimeout(ask, ms);
  }

  ask();
  return {
    /** Goes by a shorter interval at once. */
    hurry() {
      if (!restMs()) return;
      due = Math.min(due, performance.now() + restMs());
      later(due - performance.now());
    },
    close() {
      open = false;
      clearTimeout(timer);
      abort.abort();
    },
  };
}

function Sse(url, hear) {
  // It comes back by itself, with `Last-Event-ID`. A connection that was refused counts as a request, too.
  const source = new EventSource(`${url}?cursor=earliest`);
  hear.request();
  source.addEventListener("$ready", () => hear.state("live"));
  source.addEventListener("$gap", () => hear.gap());
  source.addEventListener("message", ({ data }) => hear.message(data));
  source.addEventListener("error", () => {
    hear.state("waiting");
    hear.request();
  });
  return { close: () => source.close() };
}

function Ws(url, hear) {
  let cursor = "earliest";
  let timer = 0;
  let socket = null;

  function connect() {
    hear.request();
    const server = url.replace(/^http/, "ws");
    socket = new WebSocket(`${server}?cursor=${encodeURIComponent(cursor)}`, ["tidewire.v1"]);
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type === "ready") hear.state("live");
      if (frame.type === "gap") hear.gap();
      if (frame.type === "message") {
        cursor = frame.id;
        hear.message(frame.data);
      }
    };
    socket.onclose = () => {
      hear.state("waiting");
      timer = setTimeout(connect, again());
    };
  }

  connect();
  return {
    close() {
      clearTimeout(timer);
      socket.onclose = null;
      socket.close();
    },
  };
}

function again() {
  const [least, most] = AGAIN_MS;
  return least + Math.random() * (most - least);
}
