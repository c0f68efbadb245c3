// The sliders. What they are set to stands in the address, so that a link shows what was meant.

import { bytes, count, plural } from "./words.js";

// From 0.1 to 50 messages a second over the slider's 100 steps, a decade after the other; each step a round number.
const RATE_LEAST = 0.1;
const RATE_MOST = 50;
const STEPS = 100;

const FIRST = { rate: 2, size: 128, poll_interval_s: 5, clients: 100 };
const NAMES = { rate: "rate", size: "size", poll_interval_s: "poll", clients: "clients" };

// Whoever drags a slider asks for where it stops.
const REST_MS = 250;

export class Settings {
  #inputs;
  #timer = 0;

  /** `changed(values)` hears what was set, a moment after it was. */
  constructor(box, changed) {
    const asked = new URLSearchParams(location.search);
    const first = Object.entries(NAMES).map(([key, name]) => {
      const given = Number.parseFloat(asked.get(name));
      return [key, given >= 0 ? given : FIRST[key]];
    });
    this.#inputs = Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, box.querySelector(`#${name}`)]));
    this.take(Object.fromEntries(first));
    for (const [key, input] of Object.entries(this.#inputs)) {
      input.addEventListener("input", () => {
        this.values = { ...this.values, [key]: ({ rate: rateAt, size: (at) => 2 ** at }[key] ?? Number)(Number(input.value)) };
        this.#show();
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => {
          history.replaceState(null, "", `?${this.#query()}`);
          changed({ ...this.values });
        }, REST_MS);
      });
    }
  }

  /** What the server goes by, which may be less than was asked for. */
  take(values) {
    const within = (value, least, most) => Math.min(most, Math.max(least, value));
    this.values = Object.assign(this.values ?? {}, {
      rate: within(values.rate, RATE_LEAST, RATE_MOST),
      size: within(Math.round(values.size), 16, 16_384),
      poll_interval_s: within(Math.round(values.poll_interval_s), 1, 30),
      clients: within(Math.round(values.clients), 0, 300),
    });
    this.#show();
  }

  #query() {
    return new URLSearchParams(Object.entries(NAMES).map(([key, name]) => [name, this.values[key]]));
  }

  #show() {
    const { rate, size, poll_interval_s, clients } = this.values;
    const shown = {
      rate: [stepOf(rate), rate >= 1 ? `${plural(rate, "message")}/s` : `one in ${count(1 / rate)} s`],
      size: [Math.log2(size), bytes(size)],
      poll_interval_s: [poll_interval_s, `${poll_interval_s} s`],
      clients: [clients, count(clients)],
    };
    for (const [key, [value, text]] of Object.entries(shown)) {
      const input = this.#inputs[key];
      input.value = value;
      input.setAttribute("aria-valuetext", text);
      input.labels[0].querySelector("b").textContent = text;
    }
  }
}

function rateAt(step) {
  const rate = RATE_LEAST * (RATE_MOST / RATE_LEAST) ** (step / STEPS);
  const digits = 10 ** (Math.floor(Math.log10(rate)) - 1);
  return Math.round(Math.round(rate / digits) * digits * 1_000) / 1_000;
}

function stepOf(rate) {
  return Math.round((Math.log(rate / RATE_LEAST) / Math.log(RATE_MOST / RATE_LEAST)) * STEPS);
}
