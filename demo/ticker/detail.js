// One share: its price, and its last hour, which is the history of its channel.

import { clock } from "../kit/format.js";
import { draw, line } from "./line.js";
import { money, showChange } from "./table.js";

/** An hour of points, one every ten seconds. */
const POINTS_MAX = 360;

const place = document.querySelector(".detail");
const find = (selector) => place.querySelector(selector);

export class Detail {
  #live;
  #failed;
  #share = null;
  #points = new Map();
  #off = () => {};
  #path = line(find("svg"));
  #frame = 0;

  constructor(live, { failed }) {
    [this.#live, this.#failed] = [live, failed];
    live.onGap(({ channels }) => channels.includes(channelOf(this.#share)) && this.#read());
  }

  get share() {
    return this.#share;
  }

  /** Shows `share`, which is `null` for none. Of one that is shown already there may be a newer copy. */
  show(share) {
    const isOther = share?.symbol !== this.#share?.symbol;
    this.#share = share;
    if (!share) return;
    if (isOther) {
      this.#off();
      this.#points.clear();
      this.#off = this.#live.on(channelOf(share), "point", (message) => {
        this.#take(message);
        this.paint();
      });
      this.#read();
    }
    place.dataset.chosen = share.symbol;
    find("#detail-title").textContent = `${share.symbol} · ${share.name}`;
    find(".nothing").hidden = true;
    find(".chosen").hidden = find("button.star").hidden = false;
    this.paint();
  }

  /** Shows what has changed, with the next frame. */
  paint() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#share) this.#draw(this.#share);
    });
  }

  async #read() {
    const share = this.#share;
    try {
      const { messages } = await this.#live.history(channelOf(share), { tail: POINTS_MAX });
      if (share.symbol !== this.#share.symbol) return;
      messages.forEach((message) => this.#take(message));
      this.paint();
    } catch (error) {
      this.#failed(error);
    }
  }

  #take({ event, data }) {
    const { time, price } = event === "point" ? parse(data) : {};
    // In dev mode anybody may publish here.
    if (!Number.isInteger(time) || !(price > 0)) return;
    this.#points.set(time, price);
    if (this.#points.size > 2 * POINTS_MAX) this.#points.delete(this.#points.keys().next().value);
  }

  #draw(share) {
    find(".now").textContent = money(share.price);
    showChange(find(".change"), share);
    for (const fact of ["open", "low", "high"]) find(`[data-fact="${fact}"]`).textContent = money(share[fact]);
    find('[data-fact="points"]').textContent = this.#points.size;
    const now = Date.now();
    const points = [...this.#points].sort(([a], [b]) => a - b);
    const from = points[0]?.[0] ?? now;
    const { low, high } = draw(this.#path, [...points, [now, share.price]].map(([time, price]) => [(time - from) / (now - from || 1), price]));
    find(".top-of-scale").textContent = money(high);
    find(".bottom-of-scale").textContent = money(low);
    find(".from").textContent = clock(from);
    find("svg").setAttribute("aria-label", `The price since ${clock(from)}, between ${money(low)} and ${money(high)}`);
  }
}

const channelOf = (share) => `demo-ticker:${share?.symbol}`;

function parse(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}
