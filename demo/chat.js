// The chat panel: a poll for the past, then a raw WebSocket for what comes.
//
// A raw WebSocket carries payloads and nothing else, no ids. So every connection, the first like the tenth, begins by
// reading the newest messages anew and then joins with the cursor of that answer: nothing falls between the two, and
// nothing has to be told apart from what is already on the screen.

import { Backoff } from "./kit/backoff.js";
import { clock } from "./kit/format.js";
import { showState } from "./kit/state.js";

const CHANNEL = "demo:chat";
const HISTORY = 50;
const SHOWN_MAX = 200;
const NAME_CHARS_MAX = 32;
const TEXT_CHARS_MAX = 2_000;

// A connection that held this long was a good one, and the next failure starts from a short wait again.
const GOOD_AFTER_MS = 10_000;

// Close codes after which the same request would be refused again (docs/protocol.md, "Refusals").
const FINAL = new Set([4400, 4401, 4403, 4404]);

export function joinChat(panel) {
  const log = new Log(panel);
  const form = panel.querySelector("form");
  const button = form.querySelector("button");
  const trip = panel.querySelector(".trip");
  const state = (word) => showState(panel.querySelector(".state"), word);
  const backoff = new Backoff();
  const sent = new Map();
  let socket = null;

  async function connect() {
    state("connecting");
    try {
      const { messages, cursor } = await history();
      log.replace(messages.map((message) => [message.data ?? null, message.time]));
      open(cursor);
    } catch {
      comeBack();
    }
  }

  function open(cursor) {
    const server = location.origin.replace(/^http/, "ws");
    let openedAt = Infinity;
    socket = new WebSocket(`${server}/c/${CHANNEL}?cursor=${encodeURIComponent(cursor)}`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      openedAt = Date.now();
      button.disabled = false;
      state("live");
    });
    socket.addEventListener("message", ({ data }) => {
      log.add(typeof data === "string" ? data : null, Date.now());
      if (sent.has(data)) {
        trip.textContent = `Your message came back after ${Math.round(performance.now() - sent.get(data))} ms.`;
        sent.delete(data);
      }
    });
    socket.addEventListener("close", ({ code }) => {
      button.disabled = true;
      sent.clear();
      if (Date.now() - openedAt > GOOD_AFTER_MS) backoff.reset();
      if (FINAL.has(code)) state("refused");
      else comeBack();
    });
  }

  function comeBack() {
    state("waiting");
    setTimeout(connect, backoff.next());
  }

  form.name.value = recall() ?? `guest-${Math.floor(Math.random() * 900 + 100)}`;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = form.name.value.trim();
    const text = form.text.value.trim();
    if (!name || !text || socket?.readyState !== WebSocket.OPEN) return;
    const message = JSON.stringify({ name, text });
    remember(name);
    sent.set(message, performance.now());
    socket.send(message);
    form.text.value = "";
    form.text.focus();
  });

  connect();
}

async function history() {
  const answer = await fetch(`/c/${CHANNEL}?tail=${HISTORY}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`history answered ${answer.status}`);
  return answer.json();
}

// Storage may be switched off; the name is then asked for again, and nothing else is lost.
function recall() {
  try {
    return localStorage.getItem("tidewire.name");
  } catch {
    return null;
  }
}

function remember(name) {
  try {
    localStorage.setItem("tidewire.name", name);
  } catch {
    // See above.
  }
}

/** The list of messages. Whatever was published is shown as text and never as markup. */
class Log {
  #box;
  #list;
  #empty;

  constructor(panel) {
    this.#box = panel.querySelector(".log");
    this.#list = panel.querySelector(".log ol");
    this.#empty = panel.querySelector(".empty");
  }

  /** Shows these messages and no others, each a payload (null where it is binary) and its time. */
  replace(messages) {
    // The past is there to be read; a screen reader speaks only what arrives from now on.
    this.#box.ariaLive = "off";
    this.#list.replaceChildren(...messages.map(([payload, time]) => entry(payload, time)));
    this.#settle(true);
  }

  /** Shows one more, and lets go of the oldest when there are many. */
  add(payload, time) {
    this.#box.ariaLive = "polite";
    const { scrollTop, clientHeight, scrollHeight } = this.#box;
    const atEnd = scrollHeight - clientHeight - scrollTop < 40;
    this.#list.append(entry(payload, time));
    while (this.#list.children.length > SHOWN_MAX) this.#list.firstChild.remove();
    this.#settle(atEnd);
  }

  // Follows the newest message, unless the reader has scrolled up to read.
  #settle(follow) {
    this.#empty.hidden = this.#list.children.length > 0;
    if (follow) this.#box.scrollTop = this.#box.scrollHeight;
  }
}

function entry(payload, time) {
  const { name, text } = read(payload);
  const item = document.createElement("li");
  const who = element("b", name);
  who.dataset.hue = hue(name);
  const when = element("time", clock(time));
  when.dateTime = new Date(time).toISOString();
  item.append(who, when, element("p", text));
  return item;
}

// `curl -d hello` is as welcome as our own JSON: what is not ours is shown as it came.
function read(payload) {
  if (payload === null) return { name: "someone", text: "(binary)" };
  try {
    const { name, text } = JSON.parse(payload);
    if (typeof name === "string" && typeof text === "string" && name.trim()) {
      return { name: name.slice(0, NAME_CHARS_MAX), text: text.slice(0, TEXT_CHARS_MAX) };
    }
  } catch {
    // Not JSON.
  }
  return { name: "someone", text: payload.slice(0, TEXT_CHARS_MAX) || "(nothing)" };
}

// Names and texts run in their own direction, so that a right-to-left one does not turn its neighbours around.
function element(tag, text) {
  const made = document.createElement(tag);
  made.dir = "auto";
  made.textContent = text;
  return made;
}

function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 6_007;
  return sum % 6;
}
