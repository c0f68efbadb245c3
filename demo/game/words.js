// What a state means, in words; and whether it is one, since anybody may publish.

const PHASES = ["practice", "soon", "play", "away", "over"];

/** What names a court, and ends the name of its channel. */
const COURT = /^[\w~-]{1,64}$/;

/** The state in `data`, or `null` where it is none. */
export function checked(data) {
  try {
    const state = JSON.parse(data);
    const areNumbers = (list, count) => list.length === count && list.every(Number.isFinite);
    const { ball, walls, score, heard, phase, left_ms } = state;
    const isOne = areNumbers(ball, 4) && areNumbers(walls, 2) && areNumbers(score, 2) && areNumbers(heard, 2);
    return isOne && PHASES.includes(phase) && Number.isFinite(left_ms) ? state : null;
  } catch {
    return null;
  }
}

/** The courts and the winners of a hall that are what they are said to be. */
export function checkedHall({ courts, winners }) {
  const isName = (name) => name === null || typeof name === "string";
  const areNumbers = (...numbers) => numbers.every(Number.isInteger);
  const list = (value) => (Array.isArray(value) ? value : []);
  const things = (value) => list(value).filter((item) => item && typeof item === "object");
  return {
    courts: things(courts).filter(({ id, names, score }) =>
      COURT.test(id) && list(names).length === 2 && names.every(isName) && list(score).length === 2 && areNumbers(...score)),
    winners: things(winners).filter(({ name, wins, losses }) => typeof name === "string" && areNumbers(wins, losses)),
  };
}

/** What to tell whoever has `seat`, or watches, about `state`. */
export function said(state, seat, names) {
  const mine = seat?.side;
  const other = names[1 - mine];
  switch (state?.phase) {
    case "practice":
      return seat ? "You are playing against the sea until somebody comes." : `${names[0]} is waiting for somebody to play with.`;
    case "soon":
      return seat ? `You are on the ${mine === 0 ? "left" : "right"}: drag, or use the arrow keys.` : "";
    case "away": {
      const left_s = Math.ceil(state.left_ms / 1_000);
      return state.side === mine ? "Nothing was heard of you; here you are again." : `${names[state.side]} has gone quiet. The place is kept for ${left_s} s.`;
    }
    case "over":
      if (!seat) return `${names[state.side]} has won.`;
      if (state.side === mine) return state.left ? "The other side has left: you win." : `You win against ${other}!`;
      return state.left ? "You were away for too long, and the match is lost." : `${other} wins this time.`;
    default:
      return "";
  }
}

/** The phase of a court in a list. */
export function phaseOf(phase) {
  return { practice: "waits for somebody", soon: "playing", play: "playing", away: "somebody is away", over: "over" }[phase] ?? "";
}

/** What each transport is like for a game. */
export const SUITS = {
  ws: "WebSocket suits best: moves leave on the connection that the court comes over.",
  sse: "SSE does well: the court comes as a stream, and each move is a POST.",
  longpoll: "Long polls work, with a request for every state of the court.",
  poll: "Short polls look once a second: enough to watch the score, not to play.",
};
