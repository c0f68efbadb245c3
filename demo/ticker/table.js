// The table of all shares. A price is written where somebody sees it, once a frame; everything else waits until it is looked at.
// In a Chromium that is slowed down four times, which is a phone, the main thread has 5 ms of work for each frame of 16.

import { draw, line } from "./line.js";

/** Rows change places no more often: what moves all the time cannot be read. */
const SORT_MS = 2_000;

/** How often the lines get a point, and how many they have. */
const POINT_MS = 10_000;
const POINTS_MAX = 30;

const ORDERS = {
  symbol: (a, b) => (a.symbol < b.symbol ? -1 : 1),
  price: (a, b) => a.price - b.price,
  change: (a, b) => change(a) - change(b),
};

/** Hundredths as people read them. */
export const money = (hundredths) => (hundredths / 100).toFixed(2);

/** What part of its first price of today a share has won or lost. */
export const change = ({ open, price }) => price / open - 1;

/** Writes a change, and which way it went. */
export function showChange(place, share) {
  const value = change(share) * 100;
  place.textContent = `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)} %`;
  place.dataset.way = value < 0 ? "down" : "up";
}

export class Table {
  #body = document.querySelector("tbody");
  #heads = document.querySelectorAll("th:has(button)");
  #rows = [];
  #stale = new Set();
  #frame = 0;
  #sort = { by: "", down: false };
  #sorted_at = 0;
  #point_at = 0;
  #filter = { text: "", watched: false };
  #watch;
  #choose;
  #seen;

  /** `choose(share)` hears that one was chosen; `watch` is the watch list. */
  constructor({ watch, choose }) {
    [this.#watch, this.#choose] = [watch, choose];
    this.#seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
      const row = this.#rows[target.dataset.at];
      if (row?.place !== target) return;
      row.isSeen = isIntersecting;
      if (isIntersecting) this.#touch(row);
    }), { root: document.querySelector(".scroll"), rootMargin: "80px" });
    for (const head of this.#heads) {
      head.firstElementChild.addEventListener("click", ({ target }) => this.#sortBy(target.dataset.sort));
    }
    this.#sortBy("symbol");
  }

  /** Begins anew with `shares`. */
  show(shares) {
    this.#seen.disconnect();
    this.#rows = shares.map((share, at) => this.#row(share, at));
    this.#body.replaceChildren(...this.#rows.map(({ place }) => place));
    for (const { place } of this.#rows) this.#seen.observe(place);
    this.#arrange();
    this.filter(this.#filter);
  }

  get shares() {
    return this.#rows.map(({ share }) => share);
  }

  /** Takes new prices, each `[at, price]`, of the moment `time`. */
  take(prices, time) {
    for (const [at, price] of prices) {
      const row = this.#rows[at];
      if (!row || !Number.isInteger(price) || price <= 0) continue;
      const { share } = row;
      row.way = price > share.price ? "up" : "down";
      share.price = price;
      share.low = Math.min(share.low, price);
      share.high = Math.max(share.high, price);
      share.recent[share.recent.length - 1] = price;
      this.#touch(row);
    }
    if (time - this.#point_at > POINT_MS) {
      this.#point_at = time;
      for (const { share } of this.#rows) {
        share.recent.push(share.price);
        if (share.recent.length > POINTS_MAX) share.recent.shift();
      }
    }
    if (this.#sort.by !== "symbol" && time - this.#sorted_at > SORT_MS) {
      this.#sorted_at = time;
      this.#arrange();
    }
  }

  /** Shows the rows that have `text` in their symbol or name, and of them those that are `watched`. */
  filter({ text = this.#filter.text, watched = this.#filter.watched }) {
    this.#filter = { text, watched };
    const wanted = text.trim().toLowerCase();
    let count = 0;
    for (const { share, place } of this.#rows) {
      const isFound = `${share.symbol} ${share.name}`.toLowerCase().includes(wanted);
      place.hidden = !isFound || (watched && !this.#watch.has(share.symbol));
      count += !place.hidden;
    }
    return count;
  }

  /** Marks `chosen`, and whether each is on the watch list. */
  mark(chosen) {
    for (const { share, place, star } of this.#rows) {
      if (share === chosen) place.setAttribute("aria-current", "true");
      else place.removeAttribute("aria-current");
      star.setAttribute("aria-pressed", this.#watch.has(share.symbol));
      star.textContent = this.#watch.has(share.symbol) ? "★" : "☆";
    }
  }

  #row(share, at) {
    const place = document.createElement("tr");
    place.dataset.at = at;
    const [star, button] = [element("button", "star"), element("button", "share")];
    star.type = button.type = "button";
    star.setAttribute("aria-label", `Watch ${share.symbol}`);
    star.addEventListener("click", () => this.#watch.toggle(share.symbol));
    button.append(element("b", "", share.symbol), " ", element("span", "", share.name));
    button.addEventListener("click", () => this.#choose(share));
    const cells = Object.fromEntries(["star", "name", "price", "change", "range", "spark"].map((name) => [name, element("td", name)]));
    for (const name of ["price", "change", "range"]) cells[name].classList.add("number");
    cells.star.append(star);
    cells.name.append(button);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    cells.spark.append(svg);
    place.append(...Object.values(cells));
    return { share, place, star, cells, path: line(svg), isSeen: false, way: "", glows: 0 };
  }

  #touch(row) {
    this.#stale.add(row);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const row of this.#stale) if (row.isSeen) paint(row);
      this.#stale.clear();
    });
  }

  #sortBy(by) {
    const isSame = this.#sort.by === by;
    // Numbers begin with the greatest, names with A.
    this.#sort = { by, down: isSame ? !this.#sort.down : by !== "symbol" };
    for (const head of this.#heads) {
      if (head.firstElementChild.dataset.sort === by) head.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.#arrange();
  }

  /** Moves the rows that are not where they belong, and no others. */
  #arrange() {
    const order = ORDERS[this.#sort.by];
    const sorted = [...this.#rows].sort((a, b) => (this.#sort.down ? order(b.share, a.share) : order(a.share, b.share)));
    const focused = document.activeElement;
    let next = this.#body.firstChild;
    for (const { place } of sorted) {
      if (place === next) next = next.nextSibling;
      else this.#body.insertBefore(place, next);
    }
    if (document.activeElement !== focused) focused.focus({ preventScroll: true });
  }
}

function paint({ share, cells, path, way, ...row }) {
  const { price, low, high, recent } = share;
  const text = money(price);
  if (cells.price.textContent !== text) {
    const isFirst = !cells.price.textContent;
    cells.price.textContent = text;
    if (!isFirst) cells.price.dataset.glow = way + (cells.price.dataset.glow?.endsWith("0") ? 1 : 0);
  }
  showChange(cells.change, share);
  cells.range.textContent = `${money(low)} – ${money(high)}`;
  draw(path, recent.map((price, at) => [at / (POINTS_MAX - 1), price]));
}

function element(tag, className, textContent = "") {
  return Object.assign(document.createElement(tag), { className, textContent });
}
