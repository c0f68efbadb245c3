// Shared cursors: what this page sends of its own pointer, and how it draws those of all. What travels is in place.js, how it
// becomes smooth in motion.js.

import { ask } from "../kit/ask.js";
import { rate } from "../kit/format.js";
import { Live, head } from "../kit/live.js";
import { nameField } from "../kit/name.js";
import { showOrigin } from "../kit/origin.js";
import { Playback, Track } from "./motion.js";
import { base64Length, decode, encode } from "./place.js";
import { FRAME_BYTES, Raw } from "./raw.js";

const SEATS = 16;
const HUES = 8;

/** Thirty places a second; one that rests says once a second that it is still there. */
const SEND_MS = 1_000 / 30;
const REST_MS = 1_000;

/** Publishes that may be on their way. What comes while more are is skipped: the next place is a better one. */
const UNDERWAY_MAX = 4;

/** How often this page says that it is here, and how long a pointer that is not heard of is shown. */
const HERE_MS = 4_000;
const SILENT_MS = 4_000;

/** How long a trail and what was drawn are seen, and how much of it there is at most. */
const TRAIL_MS = 450;
const INK_MS = 8_000;
const INK_MAX = 6_000;

/** Of the stage, for each press of an arrow key. */
const KEY_STEP = 0.03;

const stage = document.querySelector(".stage");
const canvas = stage.querySelector("canvas");
const ink = canvas.getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const name = document.querySelector("[name=name]");
const people = document.querySelector(".people");
const notice = document.querySelector(".notice");

const who = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const playback = new Playback();
/** By seat: `{ tag, name, track, cursor, trail, pressedAt }`. */
const sitting = new Map();
const strokes = [];
/** Since the last second: messages, bytes, and bytes with their envelope, each way. */
const counts = { out: blankCount(), in: blankCount(), raw: blankCount() };
let skips = 0;
/** My seat and its tag, where I have one. */
let mine = null;
let rosterCount = 0;
/** My pointer, in shares of the stage; nothing until it was there. */
let pointer = null;
let sent = { at: 0, x: -1, y: -1, pressed: false };
let underway = 0;
let transport = "";

nameField(name);
const live = new Live();
head(live);
showOrigin();
live.on("demo-cursors:seats", "message", ({ data }) => sit(parse(data)));
const channels = Array.from({ length: SEATS }, (_, at) => `demo-cursors:${at + 1}`);
channels.forEach((channel, at) => live.on(channel, "message", (message) => heard(at + 1, message)));
live.onGap(({ channels, reason }) => {
  if (reason === "slow_consumer" || reason === "trimmed") skips += 1;
  if (channels.includes("demo-cursors:seats")) readRoster();
});
live.onState((change) => {
  if (change.transport !== transport) playback.reset();
  ({ transport } = change);
  if (change.state === "live") {
    readRoster();
    sayHere();
  }
});

/* Who is here. */

async function sayHere() {
  if (document.hidden) return;
  try {
    const seat = await ask("cursors/here", { who, name: name.value.trim() || "Somebody" });
    // It may have been hidden meanwhile, and its leaving overtaken.
    if (document.hidden) return leave();
    mine = seat;
    notice.hidden = true;
    drawPeople();
  } catch (error) {
    // Without an answer nobody knows, and the next attempt will tell.
    if (!error.status) return;
    mine = null;
    notice.textContent = `${error.message}.`;
    notice.hidden = false;
  }
}

async function readRoster() {
  const before = rosterCount;
  const roster = await ask("cursors").catch(() => null);
  // What was told meanwhile is newer.
  if (before === rosterCount) sit(roster);
}

/** The roster as it was told: those who are new sit down, and those who are not on it are gone. */
function sit(roster) {
  if (!isRoster(roster)) return;
  rosterCount += 1;
  const tags = new Map(roster.seats.map(({ seat, tag }) => [seat, tag]));
  for (const [seat, sitter] of sitting) if (tags.get(seat) !== sitter.tag) remove(seat);
  for (const { seat, tag, name } of roster.seats) {
    if (!sitting.has(seat)) sitting.set(seat, { tag, track: new Track(), trail: [], cursor: blankCursor(seat) });
    const sitter = sitting.get(seat);
    sitter.name = name;
    write(sitter.cursor.querySelector("span"), name);
  }
  drawPeople();
}

function drawPeople() {
  people.replaceChildren(...[...sitting].sort(([a], [b]) => a - b).map(([seat, { tag, name, cursor }]) => {
    cursor.classList.toggle("own", isMe(seat, tag));
    const item = element("li", { textContent: isMe(seat, tag) ? `${name} (you)` : name, dir: "auto" });
    item.dataset.hue = seat % HUES;
    return item;
  }));
}

function remove(seat) {
  sitting.get(seat).cursor.remove();
  sitting.delete(seat);
}

function isMe(seat, tag) {
  return mine?.seat === seat && mine.tag === tag;
}

name.addEventListener("change", sayHere);
setInterval(sayHere, HERE_MS);
// A hidden page points at nothing, and its timers hardly run.
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : sayHere()));
addEventListener("pagehide", leave);

function leave() {
  mine = null;
  pointer = null;
  navigator.sendBeacon("/demo/api/cursors/gone", JSON.stringify({ who }));
}

/* What others point at. */

function heard(seat, message) {
  const { data, time } = message;
  count(counts.in, data.length, envelope(message));
  const place = decode(data);
  const sitter = sitting.get(seat);
  // A place of who had the seat before, or no place at all.
  if (!place || sitter?.tag !== place.tag) return;
  playback.heard(time, performance.now());
  sitter.track.add({ ...place, time });
}

/* What this page points at. */

stage.addEventListener("pointermove", point);
stage.addEventListener("pointerdown", (event) => {
  stage.setPointerCapture(event.pointerId);
  point(event);
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, point);
stage.addEventListener("keydown", (event) => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] }[event.key] ?? [];
  if (x === undefined) return;
  event.preventDefault();
  pointer ??= { x: 0.5, y: 0.5, pressed: false };
  pointer = {
    x: Math.min(1, Math.max(0, pointer.x + x * KEY_STEP)),
    y: Math.min(1, Math.max(0, pointer.y + y * KEY_STEP)),
    pressed: pointer.pressed || event.key === " ",
  };
});
stage.addEventListener("keyup", (event) => {
  if (event.key === " " && pointer) pointer = { ...pointer, pressed: false };
});

function point(event) {
  if (!event.isPrimary) return;
  const box = stage.getBoundingClientRect();
  const pressed = event.type !== "pointercancel" && (event.buttons & 1) === 1;
  pointer = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, pressed };
}

setInterval(send, SEND_MS);

async function send() {
  const now = performance.now();
  if (!mine || !pointer || underway >= UNDERWAY_MAX) return;
  const isAtRest = pointer.x === sent.x && pointer.y === sent.y && pointer.pressed === sent.pressed;
  if (isAtRest && now - sent.at < REST_MS) return;
  sent = { ...pointer, at: now };
  const bytes = encode({ tag: mine.tag, ...pointer });
  const channel = `demo-cursors:${mine.seat}`;
  // A WebSocket of the client carries JSON; every other transport publishes by POST, which carries the bytes as they are.
  const isText = transport === "ws";
  count(counts.out, bytes.length, isText ? publishFrame(channel, bytes) : 0, isText);
  underway += 1;
  // Without a key, and so without a second attempt: an old place is no use to anybody.
  await live.publish(channel, bytes, { key: null }).catch(() => {});
  underway -= 1;
}

/* Drawing, once a frame. */

requestAnimationFrame(draw);

function draw() {
  const now = performance.now();
  const time = playback.at(now);
  const box = stage.getBoundingClientRect();
  fit(box);
  ink.clearRect(0, 0, box.width, box.height);
  while (strokes.length && (strokes[0].at < now - INK_MS || strokes.length > INK_MAX)) strokes.shift();
  for (const { colour, from, to, at } of strokes) stroke(box, colour, from, to, 3, 1 - (now - at) / INK_MS);
  let shown = 0;
  for (const sitter of sitting.values()) {
    const place = sitter.track.newest > time - SILENT_MS ? sitter.track.at(time) : undefined;
    sitter.cursor.hidden = !place;
    if (place) {
      follow(sitter, place, now, box);
      shown += 1;
    } else {
      sitter.trail.length = 0;
    }
  }
  stage.querySelector(".hint").hidden = shown > 0;
  requestAnimationFrame(draw);
}

function follow(sitter, { x, y, pressed }, now, box) {
  const { cursor, trail } = sitter;
  cursor.style.transform = `translate(${(x * box.width).toFixed(1)}px, ${(y * box.height).toFixed(1)}px)`;
  cursor.classList.toggle("pressed", pressed);
  cursor.classList.toggle("flipped", x > 0.75);
  const colour = getComputedStyle(cursor).color;
  const last = trail.at(-1);
  if (!last || last.x !== x || last.y !== y) {
    trail.push({ x, y, at: now });
    if (pressed && last?.pressed) strokes.push({ colour, from: last, to: { x, y }, at: now });
  }
  if (trail.length) trail.at(-1).pressed = pressed;
  while (trail.length > 1 && trail[0].at < now - TRAIL_MS) trail.shift();
  if (calm.matches) return;
  for (let at = 1; at < trail.length; at += 1) {
    const age = Math.min(1, (now - trail[at].at) / TRAIL_MS);
    stroke(box, colour, trail[at - 1], trail[at], 2.5 * (1 - age) + 0.5, 0.5 * (1 - age));
  }
}

function stroke(box, colour, from, to, width, alpha) {
  ink.globalAlpha = Math.max(0, alpha);
  [ink.strokeStyle, ink.lineWidth] = [colour, width];
  ink.beginPath();
  ink.moveTo(from.x * box.width, from.y * box.height);
  ink.lineTo(to.x * box.width, to.y * box.height);
  ink.stroke();
}

/** Has the canvas as many pixels as the screen has below it. */
function fit({ width, height }) {
  const [across, down] = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
  if (canvas.width === across && canvas.height === down) return;
  [canvas.width, canvas.height] = [across, down];
  ink.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
}

/* Figures, once a second. */

const raw = new Raw(channels, (bytes) => count(counts.raw, bytes, FRAME_BYTES + bytes, false));
document.querySelector("[name=raw]").addEventListener("change", ({ target }) => {
  raw.listen(target.checked);
  document.querySelector("[data-way=raw]").hidden = !target.checked;
});

setInterval(() => {
  for (const [way, { messages, bytes, text, wire }] of Object.entries(counts)) {
    const cells = document.querySelectorAll(`[data-way=${way}] td`);
    const more = text ? ` (+${Math.round((text / bytes - 1) * 100)}\u00a0%)` : "";
    write(cells[0], `${messages}/s`);
    write(cells[1], together(rate(bytes)));
    write(cells[2], text ? `${together(rate(text))}${more}` : messages ? "not needed" : "–");
    write(cells[3], wire ? together(rate(wire)) : "–");
    counts[way] = blankCount();
  }
  write(document.querySelector(".how-late"), sitting.size ? `drawn ${Math.round(playback.delay)} ms behind` : "");
  write(document.querySelector(".skips"), skips ? `Skipped to the newest ${skips === 1 ? "once" : `${skips} times`}.` : "");
}, 1_000);

/** A number and its unit on one line. */
function together(text) {
  return text.replace(" ", "\u00a0");
}

function blankCount() {
  return { messages: 0, bytes: 0, text: 0, wire: 0 };
}

function count(counter, bytes, wire, isText = true) {
  counter.messages += 1;
  counter.bytes += bytes;
  counter.text += isText ? base64Length(bytes) : 0;
  counter.wire += wire;
}

/** The bytes of a message as it came, in the envelope that every transport of the client carries (docs/protocol.md). */
function envelope({ channel, id, event, time, data }) {
  return JSON.stringify({ channel, id, event, base64: "", time }).length + base64Length(data.length);
}

function publishFrame(channel, bytes) {
  return JSON.stringify({ type: "publish", channel, key: null, base64: "", id: 1_000 }).length + base64Length(bytes.length);
}

function isRoster(roster) {
  const isSeat = (seat) => Number.isInteger(seat?.seat) && seat.seat >= 1 && seat.seat <= SEATS
    && Number.isInteger(seat.tag) && typeof seat.name === "string" && seat.name.length <= 48;
  return Array.isArray(roster?.seats) && roster.seats.length <= SEATS && roster.seats.every(isSeat);
}

function blankCursor(seat) {
  const cursor = element("div", { className: "cursor", hidden: true });
  cursor.setAttribute("aria-hidden", "true");
  Object.assign(cursor.dataset, { seat, hue: seat % HUES });
  const SVG = "http://www.w3.org/2000/svg";
  const arrow = document.createElementNS(SVG, "svg");
  arrow.setAttribute("viewBox", "0 0 18 22");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", "M1 1v17l4.6-4.2 3 6.7 3-1.3-3-6.6 6.2-.5z");
  arrow.append(path);
  cursor.append(arrow, element("span", { dir: "auto" }));
  stage.append(cursor);
  return cursor;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
