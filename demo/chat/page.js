// The chat: one place at a time, a room or a conversation between two, beside all there are.

import { ask } from "../kit/ask.js";
import { Live, head } from "../kit/live.js";
import { Login } from "../kit/login.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";
import { Log, isMessage } from "./log.js";
import { Members } from "./members.js";
import { forget, recall, remember } from "./memory.js";
import { PlaceList } from "./places.js";

/** Own messages that have not come back yet. */
const SENT_MAX = 50;

/** Conversations whose messages are kept in the page. Anybody may begin one. */
const CONVERSATIONS_MAX = 60;

const name = recall("name") ?? `guest-${Math.floor(Math.random() * 900 + 100)}`;
remember("name", name);
const $ = (selector) => document.querySelector(selector);
const notice = $("#chat .notice");
const say = $(".say");
const log = new Log($("#chat"));

// `?lasts_s=20` shows sooner how a token is renewed.
const lasts_s = Number(new URLSearchParams(location.search).get("lasts_s")) || undefined;
const login = new Login("login", { name, lasts_s });
const live = new Live({ token: login.token });
head(live);
showOrigin();
$(".me").elements.name.value = name;

const places = new PlaceList($(".rooms"), $(".partners"), { chosen: choose });
const members = new Members($(".here"), live, { me: name, chosen: (other) => choose(places.partner(other)) });
const sent = new Map();
let place;
let own = "user:…";

new Replica(live, "demo-chat:rooms", {
  path: "chat/rooms",
  show: (state) => {
    places.setRooms(state.rooms);
    const names = state.rooms.map(({ room }) => room);
    [...listening.keys()].filter((room) => !names.includes(room)).forEach(leave);
    names.forEach(listen);
    if (!place || (place.room && !places.find(place.key))) choose(places.room(recall("room")) ?? places.first());
  },
  apply: {
    opened(room) {
      if (typeof room.room !== "string" || !/^[a-z0-9-]{1,24}$/.test(room.room)) return false;
      places.addRoom(room);
      listen(room.room);
      return true;
    },
    closed({ room }) {
      if (typeof room !== "string") return false;
      places.removeRoom(room);
      leave(room);
      if (place?.room === room) choose(places.first());
      return true;
    },
  },
  failed: complain,
});

/** What was said in rooms: heard in all of them, and read in those that were looked into. */
const listening = new Map();
const read = new Map();

function listen(room) {
  if (listening.has(room)) return;
  listening.set(room, live.on(`demo-chat:room:${room}`, "said", ({ data }) => {
    const version = parse(data)?.version;
    if (Number.isInteger(version)) places.said(room, version, place?.room === room && !document.hidden);
  }));
}

/** The room has closed. */
function leave(room) {
  listening.get(room)?.();
  listening.delete(room);
  read.get(room)?.replica.close();
  read.delete(room);
}

function readRoom(room) {
  if (read.has(room)) return;
  const messages = [];
  const replica = new Replica(live, `demo-chat:room:${room}`, {
    path: `chat/rooms/${room}`,
    show: (state) => {
      messages.splice(0, messages.length, ...state.messages);
      if (place?.room === room) log.replace(messages);
    },
    apply: { said: (message) => hear(message, messages, place?.room === room) },
    failed: (error) => place?.room === room && complain(error),
  });
  read.set(room, { messages, replica });
}

/** Messages to or from this visitor, by whom else they concern. */
const direct = new Map();

function conversation(other) {
  if (!direct.has(other)) direct.set(other, []);
  if (direct.size > CONVERSATIONS_MAX) direct.delete(direct.keys().next().value);
  return direct.get(other);
}

login.who().then(({ channel }) => new Replica(live, (own = channel), {
  path: "chat/direct",
  read: login.ask,
  show: ({ messages }) => {
    for (const some of direct.values()) some.length = 0;
    for (const message of messages) conversation(other(message)).push(message);
    for (const [partner, some] of direct) places.wrote(partner, some, place?.partner === partner);
    if (place?.partner) log.replace(conversation(place.partner));
  },
  apply: {
    direct(message) {
      if (!isMessage(message) || typeof message.to !== "string") return false;
      const partner = other(message);
      hear(message, conversation(partner), place?.partner === partner);
      places.wrote(partner, conversation(partner), place?.partner === partner && !document.hidden);
      return true;
    },
  },
  failed: complain,
}), complain);

function other({ from, to }) {
  return from === name ? to : from;
}

/** Takes what was said; `false` where it is no message. */
function hear(message, messages, isShown) {
  if (!isMessage(message)) return false;
  messages.push(message);
  if (messages.length > Log.SHOWN_MAX) messages.shift();
  if (isShown) log.add(message);
  const at = message.from === name && sent.get(message.nonce);
  if (!at) return true;
  sent.delete(message.nonce);
  $(".trip").textContent = `Your message came back after ${Math.round(performance.now() - at)} ms.`;
  return true;
}

/** Shows a room or a conversation. */
function choose(next) {
  if (!next || next.key === place?.key) return;
  place = next;
  notice.hidden = true;
  $("#place").textContent = place.title;
  $("#chat .how").textContent = place.room ? `demo-chat:room:${place.room}` : own;
  say.text.placeholder = place.room ? "Say something" : `Write to ${place.partner} alone`;
  places.show(place);
  if (place.room) {
    remember("room", place.room);
    log.replace(read.get(place.room)?.messages ?? []);
    readRoom(place.room);
    members.of(place.room);
  } else {
    log.replace(conversation(place.partner));
  }
}

say.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = say.text.value.trim();
  if (!text || !place) return;
  const nonce = `${performance.now()}-${Math.random()}`;
  sent.set(nonce, performance.now());
  if (sent.size > SENT_MAX) sent.delete(sent.keys().next().value);
  say.text.value = "";
  say.text.focus();
  try {
    await (place.room
      ? login.ask("chat/say", { room: place.room, text, nonce })
      : login.ask("chat/direct", { to: place.partner, text, nonce }));
    notice.hidden = true;
  } catch (error) {
    sent.delete(nonce);
    say.text.value ||= text;
    complain(error);
  }
});

$(".open").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = event.target.elements.room;
  try {
    const room = await login.ask("chat/open", { name: field.value });
    field.value = "";
    places.addRoom(room);
    listen(room.room);
    choose(places.room(room.room));
    say.text.focus();
  } catch (error) {
    complain(error);
  }
});

// Who one is decides what one hears: everything begins anew.
$(".me").addEventListener("submit", async (event) => {
  event.preventDefault();
  const next = event.target.elements.name.value.trim();
  if (!next || next === name) return;
  try {
    await ask("login", { name: next });
    forget();
    remember("name", next);
    location.reload();
  } catch (error) {
    complain(error);
  }
});

document.addEventListener("visibilitychange", () => !document.hidden && place && places.show(place));

function complain(error) {
  notice.textContent = error.message;
  notice.hidden = false;
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
