// The game: the hall with its courts, one court that is looked at, and a place at it for whoever plays.

import { ask } from "../kit/ask.js";
import { Live, head } from "../kit/live.js";
import { nameField } from "../kit/name.js";
import { showOrigin } from "../kit/origin.js";
import { Replica } from "../kit/replica.js";
import { Hand } from "./hand.js";
import { Sea } from "./sea.js";
import { forget, recall, remember } from "./seat.js";
import { checked, checkedHall, phaseOf, said, SUITS } from "./words.js";

const find = (selector) => document.querySelector(selector);
const form = find(".play");
const notice = find(".notice");

const live = new Live();
head(live);
showOrigin();
nameField(form.elements.name);

const sea = new Sea(find("canvas"));
const hand = new Hand(live, find("canvas"));

/** Where the visitor plays, `{ court, side, token, mark }`; or `null`. */
let seat = null;
/** The court that is shown, and what it was like last. */
let shown = null;
let state = null;
let hall = { courts: [], winners: [] };
let off = () => {};
let isJoining = false;
let took_ms = 0;

new Replica(live, "demo-game", { path: "game", show: showHall, apply: { hall: hear }, failed: complain });
live.onState(showSuits);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  join();
});
find(".leave").addEventListener("click", async () => {
  const { token } = seat;
  sit(null);
  await ask("game/leave", { token }).catch(complain);
});
find(".again").addEventListener("click", async () => {
  // Said before it is asked: what it brings about may be heard of earlier than the answer.
  say("Waiting for the other side.");
  try {
    await ask("game/again", { token: seat.token });
  } catch (error) {
    if (error.code !== "not_found") {
      say(said(state, seat, names()));
      return complain(error);
    }
    sit(null);
    await join();
  }
});

// A place is kept for a while, so that a page may be loaded anew.
const before = recall();
if (before) join(before.token);

let frame_at = 0;
requestAnimationFrame(function frame(now) {
  requestAnimationFrame(frame);
  hand.move(Math.min(0.1, (now - frame_at) / 1_000));
  frame_at = now;
  sea.hand = hand.y;
  sea.draw(now);
});

async function join(token) {
  if (isJoining) return;
  isJoining = true;
  find(".begin").disabled = true;
  try {
    sit(await ask("game/join", { name: form.elements.name.value, token }));
    notice.hidden = true;
  } catch (error) {
    complain(error);
  } finally {
    isJoining = false;
    find(".begin").disabled = false;
  }
}

function sit(place) {
  seat = place;
  if (seat) remember(seat);
  else forget();
  hand.take(seat?.mark ?? null);
  sea.side = seat?.side ?? -1;
  find(".court").toggleAttribute("data-mine", !!seat);
  form.elements.name.closest("label").hidden = find(".begin").hidden = !!seat;
  find(".leave").hidden = !seat;
  find(".again").hidden = true;
  look(seat?.court ?? null);
  showSuits();
}

/** Shows the court `id`; the first one that is played at where there is none. */
function look(id) {
  const next = id ?? hall.courts[0]?.id ?? null;
  if (next !== shown) {
    off();
    shown = next;
    take(null);
    off = shown ? live.on(`demo-game:court:${shown}`, "state", ({ data }) => take(checked(data))) : () => {};
  }
  showNames();
}

function take(next) {
  const isNews = next?.phase !== state?.phase || next?.side !== state?.side;
  state = next;
  sea.take(state);
  find(".points").textContent = (state?.score ?? [0, 0]).join(" : ");
  find(".court .count").textContent = state?.phase === "soon" ? Math.ceil(state.left_ms / 1_000) || "" : "";
  if (isNews || state?.phase === "away") say(said(state, seat, names()));
  find(".again").hidden = !(seat && state?.phase === "over");
  const took = seat && state ? hand.took_ms(state.heard[seat.side]) : undefined;
  if (took !== undefined) took_ms = took_ms ? took_ms * 0.9 + took * 0.1 : took;
}

/** Shows the hall as it was told; `false` where it is none. */
function hear(told) {
  const { courts, winners } = checkedHall(told);
  if (courts.length !== told.courts?.length || winners.length !== told.winners?.length) return false;
  showHall(told);
  return true;
}

function showHall(told) {
  hall = checkedHall(told);
  const isKnown = (id) => hall.courts.some((court) => court.id === id);
  if (seat && !isKnown(seat.court)) {
    const wasOver = state?.phase === "over";
    const { token } = seat;
    sit(null);
    // A server that was started anew knows no courts. Whoever was playing goes on playing, most likely with the other.
    if (!wasOver) join(token);
  } else if (!seat && !isKnown(shown)) {
    look(null);
  }
  showNames();
  find(".courts").replaceChildren(...hall.courts.map(courtEntry));
  find(".winners").replaceChildren(...hall.winners.map(winnerEntry));
  for (const list of [find(".courts"), find(".winners")]) list.nextElementSibling.hidden = list.children.length > 0;
}

function courtEntry({ id, names, score, phase }) {
  const button = element("button", { type: "button" });
  const who = names.map((name) => name ?? "the sea").join(" – ");
  button.append(element("span", { className: "names", textContent: who, dir: "auto" }), element("b", { textContent: score.join(" : ") }),
    element("span", { className: "phase", textContent: phaseOf(phase) }));
  button.disabled = !!seat;
  if (id === shown) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => {
    look(id);
    showHall(hall);
  });
  const item = element("li");
  item.append(button);
  return item;
}

function winnerEntry({ name, wins, losses }) {
  const item = element("li");
  item.append(element("b", { textContent: name, dir: "auto" }), element("span", { textContent: `${wins} won, ${losses} lost` }));
  return item;
}

function names() {
  return (hall.courts.find(({ id }) => id === shown)?.names ?? [null, null]).map((name) => name ?? "the sea");
}

function showNames() {
  const two = shown ? names() : ["", ""];
  [".player.left", ".player.right"].forEach((selector, side) => {
    find(selector).textContent = two[side];
    find(selector).toggleAttribute("data-mine", seat?.side === side);
  });
  say(said(state, seat, names()));
}

function showSuits({ transport = find("header.top .state").dataset.transport } = {}) {
  const late = seat && took_ms ? ` Your hand is on the court after ${Math.round(took_ms)} ms.` : "";
  find(".suits").textContent = (SUITS[transport] ?? "") + late;
}

setInterval(showSuits, 1_000);

function say(words) {
  if (find(".say").textContent !== words) find(".say").textContent = words;
}

function complain({ message }) {
  notice.textContent = message;
  notice.hidden = false;
}

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
