// What this page knows of the round: every match with its log. Nothing here knows the page or the network.
//
// Messages come over several channels of one connection, in one order. A happening has its place in the log of its match, so
// that one which is missing is noticed, and one which comes again is not told twice.

/** What a match's log holds at most; a real one holds about ten. */
const LOG_MAX = 200;

/** What the backend says of a match as a whole, and of a player. */
const PERIODS = ["first half", "half time", "second half", "full time"];
const CARDS = ["yellow", "red"];

export class Round {
  matches = new Map();
  table = [];
  clock = { season: 0, round: 0, rounds: 0, minutes: [] };
  /** By ground, what this page has shown last. Grounds that are not followed fall behind, so it is no one number. */
  #newest = new Map();

  /** The league was read. Gives back what is new to this page, oldest first. */
  read({ clock, matches, table }) {
    // A backend that lost its store counts from 1 again.
    if (order(clock) < order(this.clock)) this.#newest.clear();
    this.matches = new Map(matches.map((match) => [match.ground, match]));
    [this.clock, this.table] = [clock, table];
    return this.#unheard(matches.flatMap(({ ground, log }) => log.map((happening) => ({ ground, ...happening }))));
  }

  /** Something was told. Gives back what is new to this page, and nothing at all where the league has to be read. */
  told(ground, happening) {
    const match = this.matches.get(ground);
    const { season, round, index } = happening;
    if (!match || season !== this.clock.season || round !== this.clock.round || index > match.log.length) return undefined;
    if (index < match.log.length || index >= LOG_MAX) return [];
    match.log.push(happening);
    match.score = happening.score;
    return this.#unheard([{ ground, ...happening }]);
  }

  /** The minute of every match. False where another round has begun, and the league has to be read. */
  tick(clock) {
    if (clock.season !== this.clock.season || clock.round !== this.clock.round) return false;
    this.clock = clock;
    return true;
  }

  /** How the match at this ground, one of so many, is doing: "37′", "half time", "full time". */
  state(ground) {
    const at = [...this.matches.keys()].indexOf(ground);
    const period = this.matches.get(ground)?.log.findLast(({ period }) => period)?.period;
    if (!period) return "soon";
    return period.endsWith("half") ? `${this.clock.minutes[at] ?? 0}′` : period;
  }

  #unheard(happenings) {
    const unheard = happenings.filter(({ ground, count }) => count > (this.#newest.get(ground) ?? 0));
    unheard.sort((a, b) => a.count - b.count);
    for (const { ground, count } of unheard) this.#newest.set(ground, count);
    return unheard;
  }
}

function order({ season, round }) {
  return season * 1_000 + round;
}

/** In dev mode anybody may publish: what is told has to look like it. */
export function isHappening(value) {
  const isNumber = (number) => Number.isInteger(number) && number >= 0;
  return [value?.count, value?.index, value?.season, value?.round, value?.minute].every(isNumber)
    && Array.isArray(value.score) && value.score.length === 2 && value.score.every(isNumber)
    && Number.isFinite(value.time)
    && [value.goal, value.card, value.period].filter((word) => typeof word === "string").length === 1
    && (value.period !== undefined || typeof value.player === "string")
    && [...PERIODS, undefined].includes(value.period) && [...CARDS, undefined].includes(value.card)
    && ["home", "away", undefined].includes(value.goal) && ["home", "away", undefined].includes(value.side);
}

/** Likewise. */
export function isClock(value) {
  return Number.isInteger(value?.season) && Number.isInteger(value.round) && Array.isArray(value.minutes) && value.minutes.every(Number.isInteger);
}

/** Likewise. */
export function isTable(value) {
  const numbers = ["played", "won", "drawn", "lost", "scored", "conceded", "points"];
  return Array.isArray(value) && value.length <= 20
    && value.every((row) => typeof row?.team === "string" && numbers.every((name) => Number.isInteger(row[name])));
}
