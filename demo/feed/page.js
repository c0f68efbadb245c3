// The social feed: a copy of what its backend keeps, and two ways to change that.

import { ask } from "../kit/ask.js";
import { clock } from "../kit/format.js";
import { Live, head } from "../kit/live.js";
import { nameField } from "../kit/name.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";

const SHOWN_MAX = 200;

const form = document.querySelector(".write");
const list = document.querySelector(".posts");
const notice = document.querySelector(".notice");

const live = new Live();
head(live);
nameField(form.author);
showOrigin();

new Replica(live, "demo-feed", {
  path: "feed",
  show: ({ posts }) => {
    list.replaceChildren(...posts.map(entry));
    settle();
  },
  apply: {
    post(post) {
      if (!isPost(post)) return false;
      list.prepend(entry(post));
      while (list.children.length > SHOWN_MAX) list.lastChild.remove();
      settle();
      return true;
    },
    like({ id, likes }) {
      if (!areCounts(id, likes)) return false;
      showLikes(id, likes);
      return true;
    },
  },
  failed: complain,
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const draft = { author: form.author.value, text: form.text.value };
  form.text.value = "";
  try {
    await ask("feed/post", draft);
    notice.hidden = true;
  } catch (error) {
    form.text.value ||= draft.text;
    complain(error);
  }
});

/** In dev mode anybody may publish: what is told has to look like it. */
function isPost({ id, author, text, time, likes }) {
  return typeof author === "string" && typeof text === "string" && areCounts(id, time, likes);
}

function areCounts(...values) {
  return values.every((value) => Number.isSafeInteger(value) && value >= 0);
}

function entry({ id, author, text, time, likes }) {
  const item = document.createElement("li");
  item.dataset.id = id;
  const when = Object.assign(document.createElement("time"), { textContent: clock(time) });
  const header = document.createElement("header");
  header.append(words("b", author), when);
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.addEventListener("click", () => ask("feed/like", { id }).catch(complain));
  item.append(header, words("p", text), button);
  label(button, author, likes);
  return item;
}

function showLikes(id, likes) {
  const item = [...list.children].find((item) => item.dataset.id === String(id));
  if (item) label(item.querySelector("button"), item.querySelector("b").textContent, likes);
}

function label(button, author, likes) {
  button.textContent = `♥ ${Number(likes).toLocaleString()}`;
  button.setAttribute("aria-label", `Like what ${author} wrote; ${likes} do`);
}

function settle() {
  document.querySelector(".nothing").hidden = list.children.length > 0;
}

function complain(error) {
  notice.textContent = error.message;
  notice.hidden = false;
}

// Names and texts run in their own direction, so that a right-to-left one does not turn its neighbours around.
function words(tag, text) {
  return Object.assign(document.createElement(tag), { dir: "auto", textContent: text });
}
