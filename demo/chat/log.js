// The list of messages in one place. Whatever was published is shown as text and never as markup.

import { clock } from "../kit/format.js";

const NAME_CHARS_MAX = 32;
const TEXT_CHARS_MAX = 500;

/** Nearer to the end than this, a reader follows what comes. */
const END_PX = 40;

/** Whether this is a message at all: anybody may publish to a channel in dev mode. */
export function isMessage({ from, text, time } = {}) {
  return typeof from === "string" && typeof text === "string" && Number.isFinite(time);
}

export class Log {
  static SHOWN_MAX = 200;

  #box;
  #list;
  #empty;

  constructor(panel) {
    this.#box = panel.querySelector(".log");
    this.#list = panel.querySelector(".log ol");
    this.#empty = panel.querySelector(".empty");
  }

  /** Shows these messages and no others. */
  replace(messages) {
    // The past is there to be read; a screen reader speaks only what arrives from now on.
    this.#box.ariaLive = "off";
    this.#list.replaceChildren(...messages.filter(isMessage).map(entry));
    this.#settle(true);
  }

  /** Shows one more, and lets go of the oldest when there are many. */
  add(message) {
    this.#box.ariaLive = "polite";
    const { scrollTop, clientHeight, scrollHeight } = this.#box;
    const atEnd = scrollHeight - clientHeight - scrollTop < END_PX;
    this.#list.append(entry(message));
    while (this.#list.children.length > Log.SHOWN_MAX) this.#list.firstChild.remove();
    this.#settle(atEnd);
  }

  // Follows the newest message, unless the reader has scrolled up to read.
  #settle(follow) {
    this.#empty.hidden = this.#list.children.length > 0;
    if (follow) this.#box.scrollTop = this.#box.scrollHeight;
  }
}

function entry({ from, text, time }) {
  const item = document.createElement("li");
  const who = words("b", from.slice(0, NAME_CHARS_MAX));
  who.dataset.hue = hue(from);
  item.append(who, words("time", clock(time)), words("p", text.slice(0, TEXT_CHARS_MAX)));
  return item;
}

/** The colour of a name. */
export function hue(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + char.codePointAt(0)) % 6_007;
  return sum % 6;
}

// Names and texts run in their own direction, so that a right-to-left one does not turn its neighbours around.
function words(tag, text) {
  return Object.assign(document.createElement(tag), { dir: "auto", textContent: text });
}
