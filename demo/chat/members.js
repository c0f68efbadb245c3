// Who is in the room that is looked at: a list once connected, and then what presence tells.

import { hue } from "./log.js";

/** How often the list is asked for where a transport tells of nobody: a poll. */
const ASK_MS = 4_000;

const SHOWN_MAX = 60;

export class Members {
  #list;
  #hint;
  #title;
  #live;
  #me;
  #chosen;
  #names = new Set();
  #channel = "";
  #off = () => {};
  #isTold = false;

  /** `chosen(name)` hears whom the visitor, who is called `me`, wants to write to. */
  constructor(panel, live, { me, chosen }) {
    [this.#list, this.#title] = [panel.querySelector("ul"), panel.querySelector("h2")];
    this.#hint = panel.querySelector(".hint");
    [this.#live, this.#me, this.#chosen] = [live, me, chosen];
    live.onState(({ state, transport }) => {
      this.#isTold = transport === "sse" || transport === "ws";
      this.#hint.hidden = transport !== "poll";
      if (state === "live") this.#ask();
    });
    setInterval(() => !this.#isTold && !document.hidden && this.#ask(), ASK_MS);
  }

  /** Goes to another room: whoever looks at it is in it. */
  of(room) {
    this.#off();
    this.#names.clear();
    this.#channel = `demo-chat:here:${room}`;
    // Being interested is what makes a member.
    this.#off = this.#live.on(this.#channel, "$presence", (change) => this.#hear(change));
    this.#show();
    this.#ask();
  }

  async #ask() {
    const channel = this.#channel;
    if (!channel) return;
    try {
      const { members } = await this.#live.presence(channel);
      if (channel !== this.#channel) return;
      // Whoever may still come back is a member, and it is told only when they are none any more.
      this.#names = new Set(members.map(({ subject }) => subject));
      this.#show();
    } catch {
      // The next connection asks again.
    }
  }

  #hear({ event, subject }) {
    if (event === "join") this.#names.add(subject);
    else if (event === "leave") this.#names.delete(subject);
    else return this.#ask();
    this.#show();
  }

  #show() {
    const names = [...this.#names].sort((a, b) => (a === this.#me ? -1 : b === this.#me ? 1 : a.localeCompare(b)));
    const isFocused = this.#list.contains(document.activeElement) && document.activeElement.dataset.name;
    this.#title.textContent = names.length ? `Here now (${names.length})` : "Here now";
    this.#list.replaceChildren(...names.slice(0, SHOWN_MAX).map((name) => this.#entry(name)));
    if (isFocused) [...this.#list.querySelectorAll("button")].find(({ dataset }) => dataset.name === isFocused)?.focus();
  }

  #entry(name) {
    const item = document.createElement("li");
    const isMe = name === this.#me;
    const shown = Object.assign(document.createElement(isMe ? "span" : "button"), { dir: "auto", textContent: name });
    shown.dataset.hue = hue(name);
    shown.dataset.name = name;
    item.append(shown);
    if (isMe) {
      item.append(Object.assign(document.createElement("i"), { textContent: "you" }));
    } else {
      shown.type = "button";
      shown.setAttribute("aria-label", `Write to ${name} alone`);
      shown.addEventListener("click", () => this.#chosen(name));
    }
    return item;
  }
}
