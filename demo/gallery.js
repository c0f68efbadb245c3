// The gallery: a card for every demonstration, and lines to try. One connection brings what moves on it.

import { clock, percent } from "./kit/format.js";
import { Live, head } from "./kit/live.js";
import { PAGES } from "./kit/pages.js";
import { offerLines } from "./try.js";

const HEARD_MAX = 5;
const TEXT_CHARS_MAX = 500;

const live = new Live();
head(live);
document.querySelector(".cards").append(...PAGES.map(card));
offerLines(document.querySelector("#try"));

live.on("demo:host", "message", ({ data }) => {
  const busy = parse(data)?.cpu?.total;
  if (Number.isFinite(busy)) figure("/demo/host/", `CPU ${percent(busy)}`);
});
live.on("demo:hello", "message", ({ data, time }) => show(typeof data === "string" ? data : "(binary)", time));

for (const link of document.querySelectorAll("[data-if-served]")) {
  fetch(link.href, { method: "HEAD" }).then(({ ok }) => (link.hidden = !ok), () => {});
}

function card({ path, title, what }) {
  const item = document.createElement("li");
  item.dataset.path = path;
  const link = Object.assign(document.createElement("a"), { href: path });
  link.append(words("b", title), words("span", what));
  const moving = words("span", "");
  moving.className = "figure";
  // It would be read out every second.
  moving.ariaHidden = "true";
  item.append(link, moving);
  return item;
}

function figure(path, text) {
  const item = [...document.querySelectorAll(".cards li")].find((item) => item.dataset.path === path);
  if (item) item.querySelector(".figure").textContent = text;
}

// Anybody may publish to a channel in dev mode; whatever it is, it is shown as text.
function show(text, time) {
  const box = document.querySelector(".heard");
  box.querySelector(".none").hidden = true;
  const item = document.createElement("li");
  const said = words("span", text.slice(0, TEXT_CHARS_MAX) || "(nothing)");
  said.dir = "auto";
  item.append(words("time", clock(time ?? Date.now())), said);
  const list = box.querySelector("ol");
  list.prepend(item);
  while (list.children.length > HEARD_MAX) list.lastChild.remove();
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function words(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}
