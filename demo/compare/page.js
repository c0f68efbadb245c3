// The comparison: starts a run, follows four lanes, and shows what they came to and what follows from it.

import { ask } from "../kit/ask.js";
import { showState } from "../kit/state.js";
import { Experiment, ofDrop, ofHidden, ofIdle } from "./experiments.js";
import { LANES } from "./lanes.js";
import { Plot } from "./plot.js";
import { Settings } from "./settings.js";
import { Tally, Window, read } from "./tally.js";
import { bytes, count, percent, plural, time } from "./words.js";
import { showVerdict } from "./verdict.js";

const NAMES = {
  poll: ["Short poll", "fetch, again and again"],
  longpoll: ["Long poll", "fetch that waits for something"],
  sse: ["SSE", "EventSource, an endless answer"],
  ws: ["WebSocket", "one connection, both ways"],
};

const DROP_S = 5;
const SILENCE_S = 20;
const DRAW_MS = 250;
const JUDGE_MS = 2_000;

// After so long without a word, in steps of drawing, the server is gone.
const QUIET_TICKS_MAX = 10_000 / DRAW_MS;

// Before there is so much to go by, a figure is an accident.
const WINDOW_LEAST_S = 3;
const MESSAGES_LEAST = 3;

const page = document.querySelector("main");
const other = new BroadcastChannel("tidewire.compare");
let stage = null;

class Lane {
  constructor(name, { url, process }, settings) {
    this.name = name;
    this.process = process;
    this.tally = new Tally();
    this.window = new Window();
    this.counted = {};
    this.box = document.getElementById("lane").content.cloneNode(true).firstElementChild;
    this.box.dataset.lane = name;
    const [title, about] = NAMES[name];
    this.box.querySelector("h2").textContent = title;
    this.box.querySelector(".about").textContent = about;
    const svg = this.box.querySelector("svg");
    svg.setAttribute("aria-label", `${title}: how old each message was when it came, over the last half minute`);
    this.plot = new Plot(svg);
    const { tally } = this;
    this.client = LANES[name](url, {
      state: (word) => showState(this.box.querySelector(".state"), word),
      request: () => (tally.requests += 1),
      answer: (messages) => tally.answer(messages),
      gap: () => (tally.gaps += 1),
      message: (text) => {
        const message = read(text);
        if (message) tally.take(message, clock.now());
      },
    }, settings);
  }

  look(now) {
    return this.tally.look(now, this.counted);
  }

  /** What came of the last seconds; of a short poll, in whole intervals. */
  figures(settings) {
    return this.window.figures(this.name === "poll" ? settings.poll_interval_s * 1_000 : 0);
  }

  show(figure, text, mark = "") {
    const cell = this.box.querySelector(`[data-figure="${figure}"]`);
    if (cell.textContent !== text) cell.textContent = text;
    cell.className = mark;
  }

  bar(name, share) {
    this.box.querySelector(`[data-bar="${name}"]`).style.setProperty("--share", share.toFixed(3));
  }
}

// The server's clock, told by the page's own: both are this machine's, which runs on while the page is open.
const clock = {
  offset: 0,
  now: () => performance.timeOrigin + performance.now() + clock.offset,
  async set() {
    let best = Infinity;
    for (let round = 0; round < 5; round += 1) {
      const asked = performance.now();
      const { now_us } = await ask("compare/now");
      const trip = performance.now() - asked;
      if (trip >= best) continue;
      best = trip;
      this.offset = now_us / 1_000 - (performance.timeOrigin + asked + trip / 2);
    }
  },
};

/** In dev mode anybody may publish: what is told has to look like it. */
function isTold(told, count) {
  const areNumbers = (...values) => values.every((value) => Number.isFinite(value) && value >= 0);
  const isLane = (lane) => areNumbers(lane?.up_bytes, lane?.down_bytes, lane?.cpu_ns, lane?.published, lane?.idled, lane?.dropped,
    lane?.crowd?.joined, lane?.crowd?.deliveries);
  return areNumbers(told?.run, told?.newest, told?.settings?.poll_interval_s) && told.settings.rate > 0
    && Array.isArray(told.lanes) && told.lanes.length === count && told.lanes.every(isLane)
    && Array.isArray(told.memory_per_client) && told.memory_per_client.every((bytes) => bytes === null || areNumbers(bytes));
}

class Stage {
  #judged = 0;
  #settings = null;
  #quietTicks = 0;
  #judging = false;

  constructor(started, settings) {
    this.run = started.run;
    this.newest = 0;
    this.busy = true;
    this.experiment = null;
    this.hidden = null;
    this.lanes = started.lanes.map((lane) => new Lane(lane.transport, lane, settings));
    page.querySelector(".lanes").replaceChildren(...this.lanes.map(({ box }) => box));
    page.querySelector(".debug").hidden = !started.debug;
    this.source = new EventSource(`/c/${started.channel}`);
    this.source.addEventListener("figures", ({ data }) => this.hear(parse(data)));
    this.source.addEventListener("over", ({ data }) => {
      const { run, why } = parse(data) ?? {};
      if (run === this.run && typeof why === "string") end(`The comparison has ended: ${why}.`);
    });
  }

  close() {
    this.source.close();
    this.lanes.forEach(({ client }) => client.close());
  }

  /** What the server counted. */
  hear(told) {
    if (!isTold(told, this.lanes.length)) return;
    if (told.run > this.run) {
      end("The comparison goes on in another tab.");
      return;
    }
    if (told.run !== this.run) return;
    const now = clock.now();
    this.newest = told.newest;
    this.#settings = told.settings;
    this.#quietTicks = 0;
    told.lanes.forEach((counted, at) => {
      const lane = this.lanes[at];
      const { up_bytes, down_bytes, cpu_ns, published, idled, dropped, crowd } = counted;
      lane.clients = 1 + crowd.joined;
      lane.memory = told.memory_per_client[at] ?? null;
      lane.crowd = crowd;
      lane.counted = { up_bytes, down_bytes, cpu_ns, published, idled, dropped, all: crowd.deliveries + lane.tally.deliveries };
    });
    this.#follow(told, now);
    for (const lane of this.lanes) {
      if (this.busy) lane.window.reset();
      lane.window.add(lane.look(now));
    }
    this.busy = told.is_gathering || told.is_silent || told.is_down || (this.experiment && !this.experiment.isOver);
    this.#count(told);
    this.show();
    this.#judge(told.settings, now);
    other.postMessage(this.lanes.map(({ name, tally }) => ({ name, deliveries: tally.deliveries, requests: tally.requests })));
  }

  // Where an experiment is: over for a lane once it has everything that was published until the end of it.
  #follow({ is_down, is_silent }, now) {
    const { experiment } = this;
    if (!experiment || experiment.isOver) return;
    if (is_down || is_silent || now < experiment.ends) return;
    // What is published from now on does not count: a short poll that asks once a second never has the newest of all.
    experiment.newest ??= this.newest;
    this.lanes.forEach(({ tally }, at) => tally.highest >= experiment.newest && experiment.caughtUp(at));
  }

  begin(kind, { seconds }) {
    const now = clock.now();
    this.experiment = new Experiment(kind, this.lanes, now, now + seconds * 1_000);
    this.busy = true;
  }

  hide() {
    this.hidden = new Experiment("hidden", this.lanes, clock.now(), Infinity);
  }

  unhide() {
    const { hidden } = this;
    this.hidden = null;
    // A glance aside is no experiment.
    if (!hidden || clock.now() - hidden.began < 3_000) return;
    hidden.ends = clock.now();
    const seconds = Math.round((hidden.ends - hidden.began) / 1_000);
    showOutcome(`This tab was hidden for ${plural(seconds, "second")}`, this.lanes, (lane, at) => ofHidden(hidden, at, lane));
  }

  // Nobody sees a hidden page: it counts, and draws again when it is looked at.
  show() {
    if (document.hidden) return;
    const now = clock.now();
    if (this.#settings) this.lanes.forEach((lane) => showFigures(lane, this.newest, this.#settings));
    showBest(this.lanes);
    const { experiment } = this;
    if (!experiment || this.hidden) return;
    if (experiment.kind === "drop") {
      const title = now < experiment.ends ? "The network is gone" : `The network was gone for ${time(experiment.ends - experiment.began)}`;
      showOutcome(title, this.lanes, (lane, at) => ofDrop(experiment, at, lane, now), experiment.isOver);
    } else {
      const title = now < experiment.ends ? "Nothing is published" : "Nothing was published for a while";
      showOutcome(title, this.lanes, (lane, at) => ofIdle(experiment, at, lane, now), experiment.isOver);
    }
    // What was said is not said again, over what comes next.
    if (experiment.isOver) this.experiment = null;
  }

  draw() {
    this.#quietTicks += 1;
    if (this.#quietTicks > QUIET_TICKS_MAX) {
      end("The server has said nothing for ten seconds.");
      return;
    }
    const now = clock.now();
    this.lanes.forEach(({ plot, tally }) => plot.draw(tally.samples, now));
  }

  #count(told) {
    const figures = this.lanes[0].window.figures();
    const { rate, poll_interval_s } = told.settings;
    const needed = Math.ceil(Math.max(WINDOW_LEAST_S, poll_interval_s + 1, MESSAGES_LEAST / rate));
    const text = page.querySelector(".counting");
    let words = "";
    if (told.is_gathering) words = "The clients come together";
    else if (told.is_down) words = "There is no network";
    else if (told.is_silent) words = "Nothing is published";
    else if (this.busy) words = "Catching up";
    else if (!figures || figures.wall_s < needed) words = `Counting, for ${needed} seconds`;
    if (text.textContent !== words) text.textContent = words;
    this.counts = words === "";
  }

  async #judge(settings, now) {
    if (!this.counts || this.#judging || now - this.#judged < JUDGE_MS || document.hidden) return;
    [this.#judged, this.#judging] = [now, true];
    try {
      const judged = await ask("compare/judge", scene(this.lanes, settings));
      if (stage === this) showVerdict(page.querySelector("#verdict"), judged, NAMES);
    } catch {
      // The next one comes in two seconds, from a server that has gone or is back by then.
    } finally {
      this.#judging = false;
    }
  }
}

function scene(lanes, settings) {
  const { rate, size, poll_interval_s } = settings;
  const windows = lanes.map((lane) => lane.figures(settings));
  return {
    rate, size, poll_interval_s,
    crowd: 10_000,
    lanes: lanes.map((lane, at) => {
      const { requests, empty, deliveries, up_bytes, down_bytes, cpu_ns } = windows[at];
      const { tally, clients, memory } = lane;
      return {
        transport: lane.name,
        wall_s: windows[at].wall_s,
        published: windows[at].published,
        requests, empty, up_bytes, down_bytes, deliveries,
        latency: tally.latency(windows[at].since),
        cpu_s: cpu_ns / 1e9,
        clients,
        memory_per_client: memory,
        lost: tally.lost, duplicated: tally.duplicated, gaps: tally.gaps,
      };
    }),
  };
}

function showFigures(lane, newest, settings) {
  const { tally } = lane;
  const figures = lane.figures(settings);
  lane.share = {};
  lane.show("messages", tally.lost + tally.gaps ? `${count(tally.deliveries)}, ${tally.lost} lost` : `${count(tally.deliveries)} of ${count(newest)}`, tally.lost ? "bad" : "");
  lane.show("memory", lane.memory === null ? "–" : bytes(lane.memory));
  if (lane.counted.up_bytes !== undefined) lane.show("traffic", `${bytes(lane.counted.up_bytes)}, ${bytes(lane.counted.down_bytes)}`);
  if (!figures || figures.wall_s < 1) {
    for (const name of ["p50", "p99", "requests", "empty", "bytes", "cpu"]) lane.show(name, "–");
    return;
  }
  const latency = tally.latency(figures.since);
  lane.show("p50", latency ? time(latency.p50_ms) : "–");
  lane.show("p99", latency ? time(latency.p99_ms) : "–");
  const polls = lane.name === "poll" || lane.name === "longpoll";
  lane.show("requests", polls ? `${count(figures.requests / figures.wall_s)} a second` : `${count(tally.requests)} in all`);
  const answers = figures.answers > 0 ? `${count(figures.empty)} · ${percent(figures.empty / figures.answers)}` : "–";
  lane.show("empty", polls ? answers : "none");
  if (figures.deliveries > 0) {
    lane.share.bytes = (figures.up_bytes + figures.down_bytes) / figures.deliveries;
    lane.show("bytes", bytes(lane.share.bytes));
  }
  if (figures.all > 0) {
    lane.share.cpu = figures.cpu_ns / 1e6 / figures.all;
    lane.show("cpu", time(lane.share.cpu));
  }
  lane.share.p50 = latency?.p50_ms;
}

// Bars are shares of the most, and the least is marked.
function showBest(lanes) {
  for (const name of ["bytes", "cpu", "p50"]) {
    const all = lanes.map(({ share }) => share[name]).filter((value) => value !== undefined);
    const [least, most] = [Math.min(...all), Math.max(...all)];
    for (const lane of lanes) {
      const value = lane.share[name];
      if (name !== "p50") lane.bar(name, value === undefined ? 0 : value / most);
      const cell = lane.box.querySelector(`[data-figure="${name}"]`);
      cell.className = all.length === lanes.length && value <= least * 1.05 ? "best" : "";
    }
  }
}

function showOutcome(title, lanes, words, isOver = true) {
  const box = page.querySelector(".outcome");
  // A screen reader hears what came of it, and not every second of it.
  box.ariaBusy = String(!isOver);
  box.hidden = false;
  box.querySelector("h3").textContent = title;
  const list = box.querySelector("dl");
  if (list.children.length !== lanes.length * 2) {
    list.replaceChildren(...lanes.flatMap(() => [document.createElement("dt"), document.createElement("dd")]));
  }
  lanes.forEach((lane, at) => {
    list.children[at * 2].textContent = NAMES[lane.name][0];
    const cell = list.children[at * 2 + 1];
    cell.dataset.lane = lane.name;
    const text = words(lane, at);
    if (cell.textContent !== text) cell.textContent = text;
  });
}

async function start() {
  page.querySelector(".over").hidden = true;
  stage?.close();
  stage = null;
  try {
    await clock.set();
    stage = new Stage(await ask("compare/start", settings.values), settings);
  } catch (error) {
    end(error.message);
  }
}

function end(why) {
  stage?.close();
  stage = null;
  const notice = page.querySelector(".over");
  notice.querySelector("span").textContent = why;
  notice.hidden = false;
  notice.scrollIntoView({ block: "nearest" });
  page.querySelector(".counting").textContent = "";
}

const settings = new Settings(page.querySelector(".settings"), async (values) => {
  if (!stage) return;
  const { run } = stage;
  stage.busy = true;
  stage.lanes[0].client.hurry();
  try {
    settings.take(await ask("compare/set", { run, ...values }));
  } catch (error) {
    if (stage?.run === run) end(error.message);
  }
});

async function experiment(kind, body) {
  if (!stage) return;
  try {
    await ask(`compare/${kind}`, { run: stage.run, ...body });
    stage?.begin(kind, body);
  } catch (error) {
    end(error.message);
  }
}

page.querySelector("#drop").addEventListener("click", () => experiment("drop", { seconds: DROP_S }));
page.querySelector("#idle").addEventListener("click", () => {
  experiment("idle", { seconds: SILENCE_S, patience_s: Number(page.querySelector("#patience").value) });
});
page.querySelector("#hide").addEventListener("click", () => window.open("/demo/compare/away.html", "_blank", "noopener"));
page.querySelector(".over button").addEventListener("click", start);

document.addEventListener("visibilitychange", () => {
  if (!stage) return;
  if (document.hidden) {
    stage.hide();
  } else {
    stage.unhide();
    stage.show();
  }
});
// A page that leaves takes its servers along; one that crashes is missed within a minute.
window.addEventListener("pagehide", () => {
  if (stage) navigator.sendBeacon("/demo/api/compare/stop", JSON.stringify({ run: stage.run }));
});
window.addEventListener("pageshow", ({ persisted }) => persisted && start());

setInterval(() => !document.hidden && stage?.draw(), DRAW_MS);
start();

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
