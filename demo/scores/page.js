// Live scores: what is heard and how it is drawn. What is known of the round is in round.js.

import { ask } from "../kit/ask.js";
import { Live, head } from "../kit/live.js";
import { showOrigin } from "../kit/origin.js";
import { Round, isClock, isHappening, isTable } from "./round.js";

/** What stays in the list of the latest, and how long a goal shines. */
const LATEST_MAX = 60;
const SHINE_MS = 6_000;

/** A page hears that it is live a little later than it is. */
const LEEWAY_MS = 500;

/** Messages that are remembered while the league is being read. */
const EARLY_MAX = 1_000;

const grounds = document.querySelector(".matches");
const latest = document.querySelector(".latest");
const follow = document.querySelector(".follow select");
const notice = document.querySelector(".notice");

const round = new Round();
const cards = new Map();
const heard = new Map();
const early = [];
let reading = false;
/** Whether what is being read may be old when it is there, and whether what was read last could not be. */
let again = false;
let failed = false;
/** When the connection became live the last time: what happened before was missed. */
let liveSince = Infinity;
/** Whether nothing has been drawn yet: what a page begins with was not missed. */
let isFirst = true;

const live = new Live();
head(live);
showOrigin();
live.on("demo-scores:clock", "clock", ({ data }) => hear(() => {
  const clock = parse(data);
  if (isClock(clock) && !round.tick(clock)) read();
  else drawClock();
}));
live.on("demo-scores:table", "table", ({ data }) => hear(() => {
  const table = parse(data);
  if (isTable(table)) drawTable((round.table = table));
}));
live.onGap(read);
live.onState(({ state }) => {
  if (state !== "live") {
    liveSince = Infinity;
    return;
  }
  liveSince = Date.now();
  // What is read before the channels are heard may be old when they are.
  if (isFirst || failed || newlyFollowed()) read();
});

follow.addEventListener("change", () => {
  listen();
  draw();
});

/** Hears the matches that are followed, and no others: the server does not even send them. */
function listen() {
  for (const ground of round.matches.keys()) {
    const isWanted = !follow.value || follow.value === ground;
    if (isWanted && !heard.has(ground)) {
      const offs = ["goal", "card", "period"].map((event) =>
        live.on(`demo-scores:${ground}`, event, ({ data }) => hear(() => told(ground, parse(data)))));
      heard.set(ground, { offs, isNew: true });
    } else if (!isWanted && heard.has(ground)) {
      for (const off of heard.get(ground).offs) off();
      heard.delete(ground);
    }
  }
}

/** Whether there are matches that are heard since now alone: what happened before that has to be read. */
function newlyFollowed() {
  return [...heard.values()].some(({ isNew }) => isNew);
}

function hear(what) {
  if (!reading) what();
  else if (early.push(what) > EARLY_MAX) early.shift();
}

function told(ground, happening) {
  if (!isHappening(happening)) return;
  const news = round.told(ground, happening);
  if (!news) read();
  else show(news);
}

async function read() {
  again = true;
  if (reading) return;
  reading = true;
  while (again) {
    again = false;
    await readOnce();
  }
  reading = false;
  for (const what of early.splice(0)) hear(what);
}

async function readOnce() {
  try {
    const state = await ask("scores");
    // What happened before a match was followed, the first time before the page was opened, was not missed.
    const isOld = isFirst || newlyFollowed();
    for (const each of heard.values()) each.isNew = false;
    const news = round.read(state);
    choices();
    show(news, isOld);
    drawTable(round.table);
    if (isFirst) listen();
    isFirst = failed = false;
    notice.hidden = true;
  } catch (error) {
    failed = true;
    notice.textContent = `The league cannot be read: ${error.message}.`;
    notice.hidden = false;
  }
}

/** Shows what is new, oldest first. `isOld` where it was no news. */
function show(news, isOld = false) {
  for (const happening of news) {
    const isMissed = !isOld && happening.time < liveSince - LEEWAY_MS;
    // What a match that was not followed has missed may be older than what is here.
    const older = [...latest.children].find((other) => other.dataset.count < happening.count);
    latest.insertBefore(line(happening, isMissed), older ?? null);
    while (latest.children.length > LATEST_MAX) latest.lastChild.remove();
    if (!isOld) shine(happening);
  }
  draw();
}

/* Drawing. */

function draw() {
  for (const [ground, match] of round.matches) {
    const card = cards.get(ground) ?? blank(ground);
    card.hidden = Boolean(follow.value) && follow.value !== ground;
    write(card.querySelector(".ground"), match.name);
    [match.home, match.away].forEach((team, at) => {
      const row = card.querySelectorAll(".team")[at];
      write(row.querySelector(".name"), team);
      write(row.querySelector(".goals"), String(match.score[at]));
    });
    const scorers = match.log.filter(({ goal }) => goal).map(({ minute, player, goal }) => `${minute}′ ${player} (${match[goal]})`);
    write(card.querySelector(".scorers"), scorers.join(", "));
  }
  for (const item of latest.children) item.hidden = Boolean(follow.value) && follow.value !== item.dataset.ground;
  drawClock();
}

function drawClock() {
  for (const [ground, card] of cards) {
    const state = round.state(ground);
    const label = card.querySelector(".minute");
    write(label, state);
    label.dataset.playing = state.endsWith("′");
  }
  const { season, round: number, rounds } = round.clock;
  if (season) write(document.querySelector(".round"), `Season ${season}, round ${number} of ${rounds}`);
}

function drawTable(rows) {
  document.querySelector(".standings tbody").replaceChildren(...rows.map((row) => {
    const line = element("tr");
    const name = element("th", { scope: "row", textContent: row.team });
    const numbers = [row.played, row.won, row.drawn, row.lost, `${row.scored}:${row.conceded}`, row.points];
    line.append(name, ...numbers.map((number) => element("td", { textContent: number })));
    return line;
  }));
}

/** Offers the matches to follow; the teams of a ground change with the round. */
function choices() {
  for (const [ground, { home, away }] of round.matches) {
    const known = [...follow.options].find((option) => option.value === ground);
    const option = known ?? follow.appendChild(element("option", { value: ground }));
    write(option, `${home} – ${away}`);
  }
}

function blank(ground) {
  const card = element("li", { className: "match" });
  const header = element("header");
  header.append(element("span", { className: "minute" }), element("span", { className: "ground" }));
  const team = () => {
    const row = element("p", { className: "team" });
    row.append(element("span", { className: "name" }), element("span", { className: "goals" }));
    return row;
  };
  card.append(header, team(), team(), element("p", { className: "scorers" }));
  card.dataset.ground = ground;
  grounds.append(card);
  cards.set(ground, card);
  return card;
}

/** A goal shines for a while: at the match, whoever looks elsewhere at that moment. */
function shine({ ground, goal, card }) {
  const match = cards.get(ground);
  if (!match || !(goal || card === "red")) return;
  const row = goal ? match.querySelectorAll(".team")[goal === "home" ? 0 : 1] : match;
  row.classList.remove("shine");
  // The style has to be seen without it before it begins anew.
  void row.offsetWidth;
  row.classList.add("shine");
  clearTimeout(row.shining);
  row.shining = setTimeout(() => row.classList.remove("shine"), SHINE_MS);
}

function line({ ground, count, minute, goal, card, side, player, period, score }, isMissed) {
  const { home, away } = round.matches.get(ground);
  const item = element("li");
  Object.assign(item.dataset, { count, ground });
  item.dataset.kind = goal ? "goal" : card ? card : "period";
  item.append(element("span", { className: "when", textContent: `${minute}′` }));
  const what = element("p");
  const [word, detail] = goal
    ? ["Goal", `${player}, ${goal === "home" ? home : away}`]
    : card ? [card === "red" ? "Red card" : "Yellow card", `${player}, ${side === "home" ? home : away}`] : [period, ""];
  what.append(element("b", { textContent: word[0].toUpperCase() + word.slice(1) }), detail && ` ${detail}`);
  if (isMissed) what.append(element("span", { className: "missed", textContent: "missed" }));
  what.append(element("small", { textContent: `${home} ${score[0]} : ${score[1]} ${away}` }));
  item.append(what);
  return item;
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
