// A line through prices, in an SVG of 100 by 100 units that is stretched to whatever room there is.

const SVG = "http://www.w3.org/2000/svg";

/** Puts an empty line into `svg`. */
export function line(svg) {
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", "line");
  svg.append(path);
  return path;
}

/** Draws `points`, each `[x, price]` with x from 0 to 1 and rising, between the lowest and the highest price. */
export function draw(path, points) {
  let [low, high] = [Infinity, -Infinity];
  for (const [, price] of points) {
    low = Math.min(low, price);
    high = Math.max(high, price);
  }
  const scale = 100 / (high - low || 1);
  let d = "";
  for (const [x, price] of points) d += `${d ? "L" : "M"}${(x * 100).toFixed(1)} ${((high - price) * scale).toFixed(1)}`;
  path.setAttribute("d", d);
  return { low, high };
}
