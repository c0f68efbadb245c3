// What a lane went through: the network that went away, a proxy without patience, a tab that nobody looked at. Each is
// what the lanes had come to before, held against what they come to after it.

import { bytes, count, plural, time } from "./words.js";

// What left this long before the network did may not have arrived.
const IN_FLIGHT_MS = 100;

/** An experiment that has begun. It ends at `ends`, and is over once every lane has what was published meanwhile. */
export class Experiment {
  #back;

  /** The number of the newest message when it was over; nothing before that. */
  newest = undefined;

  constructor(kind, lanes, began, ends) {
    this.kind = kind;
    this.began = began;
    this.ends = ends;
    this.before = lanes.map((lane) => lane.look(began));
    this.#back = lanes.map(() => false);
  }

  /** A lane has caught up with that message. */
  caughtUp(at) {
    this.#back[at] = true;
  }

  isBack(at) {
    return this.#back[at];
  }

  get isOver() {
    return this.#back.every(Boolean);
  }
}

/** What the drop of the network was to one lane. */
export function ofDrop(experiment, at, lane, now) {
  const { began, ends, before } = experiment;
  if (now < ends) return "no network";
  if (!experiment.isBack(at)) return "coming back";
  const missed = lane.tally.samples.filter((sample) => {
    return sample.at >= began - IN_FLIGHT_MS && sample.at <= ends && sample.now >= ends - IN_FLIGHT_MS;
  });
  const after = Math.max(0, ...missed.map((sample) => sample.now - ends));
  const requests = lane.tally.requests - before[at].requests;
  return `up to date ${time(after)} after the network; caught up on ${plural(missed.length, "message")}, with ${plural(requests, "request")}; ${lost(lane)}`;
}

/** What a proxy that cuts quiet connections was to one lane. */
export function ofIdle(experiment, at, lane, now) {
  const { began, ends, before } = experiment;
  const look = lane.look(now);
  const cuts = look.idled - before[at].idled;
  const seconds = (Math.min(now, ends) - began) / 1_000;
  const quiet = `${count(Math.round(seconds))} s of silence`;
  const down = bytes(look.down_bytes - before[at].down_bytes);
  let words;
  if (lane.name === "sse" || lane.name === "ws") {
    words = cuts === 0 ? `one connection through ${quiet}, kept by heartbeats (${down})` : `cut ${plural(cuts, "time")} in ${quiet}, and back each time`;
  } else if (lane.name === "longpoll") {
    words = cuts === 0 ? `no wait was cut in ${quiet}` : `${plural(cuts, "wait")} cut in ${quiet}: a poll has no heartbeat, its wait must be shorter than the proxy's patience`;
  } else {
    words = cuts === 0 ? `nothing to cut in ${quiet}` : `${plural(cuts, "unused connection")} cut in ${quiet}, which nobody missed`;
  }
  return experiment.isBack(at) ? `${words}; ${lost(lane)}` : words;
}

/** What a tab in the background was to one lane. */
export function ofHidden(experiment, at, lane) {
  const { began, ends, before } = experiment;
  const { tally } = lane;
  const heard = tally.samples.filter(({ now }) => now >= began && now <= ends);
  const ages = heard.map(({ age }) => age).sort((one, other) => one - other);
  const age = ages.length ? `, the middle one ${time(ages[Math.floor(ages.length / 2)])} old` : "";
  const asked = tally.requests - before[at].requests;
  return `${plural(heard.length, "message")}${age}, with ${plural(asked, "request")}; ${lost(lane)}`;
}

function lost({ tally }) {
  return tally.lost === 0 && tally.gaps === 0 ? "nothing lost" : `${tally.lost} lost, ${plural(tally.gaps, "gap")}`;
}
