// A line over the last minute, as SVG paths. Colours come from the style sheet, so it follows dark and light by itself.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

// Room at the right for the dot on the newest sample.
const NOW_X = WIDTH - 4;

/** How much of the past is drawn, in milliseconds. */
export const SPAN_MS = 60_000;

// Samples come every second; where more than this lies between two, the line is broken rather than guessed.
const BREAK_MS = 2_500;

export class Chart {
  #lines;

  /** Draws into an empty `svg`, one line for each of `names`, which the style sheet knows as classes. */
  constructor(svg, names) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    this.#lines = names.map((name) => ({
      name,
      area: append(svg, `area ${name}`),
      line: append(svg, `line ${name}`),
      head: append(svg, `head ${name}`),
    }));
  }

  /** Draws `samples`, oldest first, each `{ time, [name]: value }` with values from 0 to `top`. */
  draw(samples, top) {
    const end = samples.at(-1)?.time ?? 0;
    for (const { name, area, line, head } of this.#lines) {
      const runs = unbroken(samples).map((run) =>
        run.map((sample) => [
          NOW_X * (1 - (end - sample.time) / SPAN_MS),
          HEIGHT * (1 - Math.min(1, sample[name] / top)),
        ]),
      );
      line.setAttribute("d", runs.map(stroke).join(""));
      area.setAttribute("d", runs.map(fill).join(""));
      // A stroke of no length with round ends is a dot that stays round however wide the chart is stretched.
      head.setAttribute("d", runs.length ? `M${place(runs.at(-1).at(-1))}h0` : "");
    }
  }
}

function append(svg, names) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", names);
  path.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(path);
  return path;
}

function unbroken(samples) {
  const runs = [];
  let before = -Infinity;
  for (const sample of samples) {
    if (sample.time - before > BREAK_MS) runs.push([]);
    runs.at(-1).push(sample);
    before = sample.time;
  }
  return runs;
}

function stroke(points) {
  return `M${points.map(place).join("L")}`;
}

function fill(points) {
  const [first] = points[0];
  const [last] = points.at(-1);
  return `M${first.toFixed(1)} ${HEIGHT}L${points.map(place).join("L")}L${last.toFixed(1)} ${HEIGHT}Z`;
}

function place([x, y]) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
