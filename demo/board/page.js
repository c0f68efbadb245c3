// The Kanban board: what is drawn, and what a visitor does to it. What would come of that is in plan.js, how it gets to the
// backend in sender.js, and how cards are dragged in drag.js.

import { Live, head } from "../kit/live.js";
import { nameField } from "../kit/name.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";
import { dragging } from "./drag.js";
import { CHANGES_MAX, Plan } from "./plan.js";
import { Sender } from "./sender.js";

/** How long a card says that somebody else was first, and how many notices stay. */
const MARK_MS = 12_000;
const NOTICES_MAX = 5;

const COLUMNS = ["next", "doing", "review", "done"];
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

const board = document.querySelector(".columns");
const author = document.querySelector("[name=author]");
const notices = document.querySelector(".notices");
const dialog = document.querySelector("dialog");
const form = dialog.querySelector("form");
const lists = new Map(COLUMNS.map((column) => [column, board.querySelector(`[data-column=${column}] ol`)]));
const drawn = new Map();
const marks = new Map();
const titles = new Map(COLUMNS.map((column) => [column, document.querySelector(`#${column}-title`).textContent]));

nameField(author);
const live = new Live();
head(live);
showOrigin();

const plan = new Plan();
const sender = new Sender(plan, {
  changed: draw,
  conflict(change, { message, card }) {
    mark(change.id, message);
    const title = card?.title ?? change.title ?? "a card";
    const wrote = change.what === "edit" ? ` You wrote: “${[change.title, change.note].filter(Boolean).join(" – ")}”.` : "";
    const where = card && change.what === "move" ? ` It is in ${titles.get(card.column)}.` : "";
    notice(`“${title}”: ${message}.${where}${wrote}`);
  },
  refused: (_, error) => notice(error.message),
});
new Replica(live, "demo-board", {
  path: "board",
  show: (state) => {
    plan.read(state);
    draw();
  },
  apply: {
    change(told) {
      if (!isSound(told)) return false;
      plan.told(told);
      draw(told.id);
      return true;
    },
  },
  failed: (error) => notice(`The board cannot be read: ${error.message}.`),
});
const drag = dragging(board, (item, list, before) => {
  if (item) move(item.dataset.id, list.closest(".column").dataset.column, before?.dataset.id ?? null);
  draw();
});
live.onState(({ state }) => state === "live" && sender.send());

/** Makes a change of this page, shows it and sends it. */
function make(change) {
  const by = author.value.trim() || "Somebody";
  if (!plan.make({ key: unique(), by, ...change })) return notice(`${CHANGES_MAX} changes wait already. The next one can be made once they are taken.`);
  draw();
  sender.send();
}

function move(id, column, after) {
  const cards = view().get(column);
  const at = cards.findIndex((card) => card.id === id);
  // Where it is already.
  if (at >= 0 && (cards[at - 1]?.id ?? null) === after) return;
  make({ what: "move", id, column, after });
}

/** Moves a card by one: up or down in its column, or to the same height in the next one. */
function nudge(id, [across, down]) {
  const cards = view();
  const from = COLUMNS.findIndex((column) => cards.get(column).some((card) => card.id === id));
  const to = COLUMNS[from + across];
  if (from < 0 || !to) return;
  const at = cards.get(COLUMNS[from]).findIndex((card) => card.id === id);
  const others = cards.get(to).filter((card) => card.id !== id);
  const place = Math.max(0, Math.min(others.length, at + down));
  move(id, to, others[place - 1]?.id ?? null);
  say(`${titles.get(to)}, ${place + 1} of ${others.length + 1}`);
}

board.addEventListener("keydown", (event) => {
  const item = event.target.closest(".card");
  if (!item || !event.shiftKey || !ARROWS[event.key]) return;
  event.preventDefault();
  nudge(item.dataset.id, ARROWS[event.key]);
});

board.addEventListener("click", (event) => {
  const add = event.target.closest(".add");
  const item = event.target.closest(".card");
  if (add) open({ column: add.closest(".column").dataset.column, title: "", note: "" });
  else if (item) open(card(item.dataset.id));
});

/* The dialog. What it was opened with decides what has changed, and what that was made upon. */

let opened;

function open(card) {
  if (!card) return;
  opened = { ...card, base: plan.seen(card.id) };
  dialog.querySelector("h2").textContent = card.id ? "Card" : "New card";
  form.delete.hidden = !card.id;
  [form.elements.title.value, form.note.value, form.column.value] = [card.title, card.note, card.column];
  dialog.showModal();
  form.elements.title.focus();
}

form.addEventListener("submit", () => {
  const [title, note, column] = [form.elements.title.value.trim(), form.note.value.trim(), form.column.value];
  const { id, base } = opened;
  if (!title) return;
  if (!id) make({ what: "add", id: unique(), title, note, column, after: view().get(column).at(-1)?.id ?? null });
  if (id && (title !== opened.title || note !== opened.note)) make({ what: "edit", id, title, note, base });
  if (id && column !== opened.column) make({ what: "move", id, column, after: null, base });
});
form.cancel.addEventListener("click", () => dialog.close());
form.delete.addEventListener("click", () => {
  make({ what: "delete", id: opened.id, base: opened.base });
  dialog.close();
});

/* Drawing. */

/** Draws the board. `fresh` is the card that somebody has just changed. */
function draw(fresh) {
  if (drag.busy()) return;
  const before = new Map([...drawn].map(([id, item]) => [id, item.getBoundingClientRect()]));
  const focused = document.activeElement;
  const cards = view();
  for (const [column, list] of lists) {
    const items = cards.get(column).map(entry);
    // Only what is elsewhere is put somewhere: an element that is put loses its focus.
    items.forEach((item, at) => list.children[at] !== item && list.insertBefore(item, list.children[at] ?? null));
    list.closest(".column").querySelector(".count").textContent = items.length;
  }
  const ids = new Set([...cards.values()].flat().map((card) => card.id));
  for (const [id, item] of drawn) {
    if (ids.has(id)) continue;
    item.remove();
    drawn.delete(id);
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  glide(before);
  if (fresh) flash(drawn.get(fresh));
  const count = plan.changes.filter((change) => change.version === undefined).length;
  const waiting = count === 0 ? "" : count === 1 ? "1 change waits for the server" : `${count} changes wait for the server`;
  const label = document.querySelector(".waiting");
  if (label.textContent !== waiting) label.textContent = waiting;
}

function entry({ id, title, note, moved, edited, pending }) {
  const item = drawn.get(id) ?? blank(id);
  drawn.set(id, item);
  write(item.querySelector(".open"), title);
  write(item.querySelector(".note"), note);
  write(item.querySelector(".by"), pending ? "waiting …" : edited.version >= moved.version ? edited.by : `moved by ${moved.by}`);
  write(item.querySelector(".mark"), marks.get(id)?.text ?? "");
  item.classList.toggle("pending", Boolean(pending));
  item.classList.toggle("late", marks.has(id));
  return item;
}

function blank(id) {
  const item = element("li", "card");
  item.dataset.id = id;
  const button = Object.assign(element("button", "open"), { type: "button", dir: "auto" });
  button.setAttribute("aria-describedby", "keys");
  button.setAttribute("aria-keyshortcuts", "Shift+ArrowUp Shift+ArrowDown Shift+ArrowLeft Shift+ArrowRight");
  const grip = element("span", "grip");
  grip.setAttribute("aria-hidden", "true");
  const note = Object.assign(element("p", "note"), { dir: "auto" });
  const by = Object.assign(element("p", "by"), { dir: "auto" });
  item.append(grip, button, note, element("p", "mark"), by);
  return item;
}

/** Lets what has moved glide from where it was. */
function glide(before) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const [id, item] of drawn) {
    const was = before.get(id);
    if (!was) continue;
    const is = item.getBoundingClientRect();
    const [x, y] = [was.left - is.left, was.top - is.top];
    if (x || y) item.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 180, easing: "ease-out" });
  }
}

function flash(item) {
  if (!item) return;
  item.classList.remove("fresh");
  // The style has to be seen without it before it begins anew.
  void item.offsetWidth;
  item.classList.add("fresh");
}

/** Has a card say for a while what came of a change. */
function mark(id, text) {
  clearTimeout(marks.get(id)?.timer);
  const timer = setTimeout(() => {
    marks.delete(id);
    draw();
  }, MARK_MS);
  marks.set(id, { text, timer });
}

function notice(text) {
  const item = element("p", "notice");
  const close = Object.assign(element("button", "quiet"), { type: "button", textContent: "Dismiss" });
  close.addEventListener("click", () => item.remove());
  item.append(Object.assign(element("span"), { textContent: text, dir: "auto" }), close);
  notices.prepend(item);
  while (notices.children.length > NOTICES_MAX) notices.lastChild.remove();
}

function say(text) {
  document.querySelector("#told").textContent = text;
}

function view() {
  return plan.view(COLUMNS);
}

function card(id) {
  return [...view().values()].flat().find((card) => card.id === id);
}

function isSound({ id, by, card, places = [] }) {
  const isStamp = (stamp) => Number.isInteger(stamp?.version) && typeof stamp.by === "string";
  return typeof id === "string" && typeof by === "string" && Array.isArray(places)
    && places.every((place) => Array.isArray(place) && Number.isFinite(place[1]))
    && (card === null || (card?.id === id && typeof card.title === "string" && typeof card.note === "string"
      && COLUMNS.includes(card.column) && Number.isFinite(card.place) && isStamp(card.moved) && isStamp(card.edited)));
}

// A hundred bits; pages without TLS have no `randomUUID`.
function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(13)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(tag, name = "") {
  return Object.assign(document.createElement(tag), { className: name });
}
