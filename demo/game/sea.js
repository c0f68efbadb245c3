// What the court looks like: a canvas, drawn once a frame. States come 25 times a second, or less often; in between the buoy
// goes on as it was going.

/** The court in the units of the server. */
export const WIDE = 1600;
export const HIGH = 1000;
const REACH = 110;
const FACE = 70;
const THICK = 22;
const RADIUS = 16;

/** How fast a breakwater follows its hand, in units a second, as on the server. */
const FOLLOW = 2600;

/** A buoy that nothing is heard of for so long stands still. */
const GUESS_MS = 200;

/** Farther apart than this, what is shown and what is true are not brought together gently. */
const JUMP = 220;

const TRAIL_MAX = 14;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Sea {
  #canvas;
  #pen;
  #colours = {};
  #state = null;
  #heard_at = 0;
  #drawn_at = 0;
  #ball = { x: WIDE / 2, y: HIGH / 2 };
  #walls = [HIGH / 2, HIGH / 2];
  #trail = [];
  /** Which breakwater is the visitor's own, and where its hand is. */
  side = -1;
  hand = HIGH / 2;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.#look());
    this.#look();
    this.#fit();
  }

  /** Takes a state of the court; `null` for none. */
  take(state) {
    this.#state = state;
    this.#heard_at = performance.now();
    if (!state) this.#trail = [];
  }

  /** Draws what there is at `now`, in milliseconds. */
  draw(now) {
    const seconds = Math.min(0.1, (now - this.#drawn_at) / 1000);
    this.#drawn_at = now;
    if (this.#state) this.#move(now, seconds);
    this.#paint(now);
  }

  #move(now, seconds) {
    const { ball: [x, y, dx, dy], walls, phase } = this.#state;
    const isMoving = phase === "play" || phase === "practice";
    const guess = isMoving ? Math.min(GUESS_MS, now - this.#heard_at) / 1000 : 0;
    const truth = { x: x + dx * guess, y: fold(y + dy * guess) };
    const isFar = Math.hypot(truth.x - this.#ball.x, truth.y - this.#ball.y) > JUMP;
    const part = isFar ? 1 : 1 - 0.5 ** (seconds * 60);
    if (isFar) this.#trail = [];
    this.#ball.x += (truth.x - this.#ball.x) * part;
    this.#ball.y += (truth.y - this.#ball.y) * part;
    for (const side of [0, 1]) {
      const way = FOLLOW * seconds;
      const goal = side === this.side ? Math.min(HIGH - REACH, Math.max(REACH, this.hand)) : walls[side];
      this.#walls[side] += Math.min(way, Math.max(-way, goal - this.#walls[side]));
    }
    if (isMoving && !still.matches) this.#trail.push({ ...this.#ball });
    while (this.#trail.length > (isMoving ? TRAIL_MAX : 0)) this.#trail.shift();
  }

  #paint(now) {
    const { width, height } = this.#canvas;
    const pen = this.#pen;
    const { ink, line, tide, warm } = this.#colours;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(width / WIDE, 0, 0, height / HIGH, 0, 0);
    this.#waves(still.matches ? 0 : now / 1000, line);
    if (!this.#state) return;
    pen.globalAlpha = 1;
    for (const side of [0, 1]) {
      pen.fillStyle = side === this.side ? tide : ink;
      pen.beginPath();
      const left = side === 0 ? FACE - THICK : WIDE - FACE;
      pen.roundRect(left, this.#walls[side] - REACH, THICK, 2 * REACH, THICK / 2);
      pen.fill();
    }
    pen.fillStyle = warm;
    this.#trail.forEach(({ x, y }, at) => {
      pen.globalAlpha = (at / TRAIL_MAX) * 0.25;
      this.#disc(x, y, RADIUS * (0.4 + (0.6 * at) / TRAIL_MAX));
    });
    pen.globalAlpha = 1;
    this.#disc(this.#ball.x, this.#ball.y, RADIUS);
  }

  #disc(x, y, radius) {
    // Round however the court is stretched.
    const { width, height } = this.#canvas;
    const stretch = (height / HIGH) / (width / WIDE);
    this.#pen.beginPath();
    this.#pen.ellipse(x, y, radius * Math.max(1, stretch), radius * Math.max(1, 1 / stretch), 0, 0, 2 * Math.PI);
    this.#pen.fill();
  }

  #waves(time, colour) {
    const pen = this.#pen;
    pen.strokeStyle = colour;
    pen.lineWidth = 3;
    for (let row = 0; row < 6; row += 1) {
      const y = HIGH * ((row + 0.5) / 6);
      pen.globalAlpha = 0.8;
      pen.beginPath();
      for (let x = 0; x <= WIDE; x += 40) {
        const swell = Math.sin(x / 130 + time * (0.5 + row * 0.07) + row * 1.7) * 12;
        if (x === 0) pen.moveTo(x, y + swell);
        else pen.lineTo(x, y + swell);
      }
      pen.stroke();
    }
  }

  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = Math.min(2, devicePixelRatio);
    this.#canvas.width = Math.max(1, Math.round(clientWidth * scale));
    this.#canvas.height = Math.max(1, Math.round(clientHeight * scale));
  }

  // The style sheet has the colours.
  #look() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "line", "tide", "warm"]) this.#colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

/** Where a buoy is that has bounced off the top and the bottom. */
function fold(y) {
  const [top, bottom] = [RADIUS, HIGH - RADIUS];
  if (y < top) return 2 * top - y;
  return y > bottom ? 2 * bottom - y : y;
}
