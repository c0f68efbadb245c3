// Every message of the last half minute as a dot: when it arrived, and how old it was then. A stream draws a line along
// the bottom; a poll draws columns.

const WIDTH = 300;
const HEIGHT = 100;
const EDGE = 4;

const SPAN_MS = 30_000;

// Ages from half a millisecond to a minute, a decade after the other.
const LEAST_MS = 0.5;
const MOST_MS = 60_000;

/** Draws into an empty `svg`. */
export class Plot {
  #dots;
  #lines;

  constructor(svg) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    this.#lines = path(svg, "decades");
    this.#dots = path(svg, "dots");
    this.#lines.setAttribute("d", [1, 100, 10_000].map((age) => `M0 ${height(age)}H${WIDTH}`).join(""));
  }

  /** Draws `samples`, each `{ now, age }`, as they stand at `end`. */
  draw(samples, end) {
    const from = samples.findIndex(({ now }) => now > end - SPAN_MS);
    const shown = from < 0 ? [] : samples.slice(from);
    this.#dots.setAttribute("d", shown.map(({ now, age }) => {
      const x = WIDTH - EDGE - ((end - now) / SPAN_MS) * (WIDTH - EDGE);
      return `M${x.toFixed(1)} ${height(age)}h0`;
    }).join(""));
  }
}

function height(age) {
  const share = Math.log(Math.min(MOST_MS, Math.max(LEAST_MS, age)) / LEAST_MS) / Math.log(MOST_MS / LEAST_MS);
  return (HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE)).toFixed(1);
}

function path(svg, name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  made.setAttribute("class", name);
  made.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(made);
  return made;
}
