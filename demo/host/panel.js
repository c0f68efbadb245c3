// The panel of one node: its charts, and what is known of the way here.

import { Chart, SPAN_MS } from "../kit/chart.js";
import { percent, rate, share } from "../kit/format.js";

const LATENCIES = 60;

/** A node that says nothing for so long is not there at the moment. */
const SILENT_MS = 5_000;

export class Panel {
  #root;
  #measures;
  #samples = [];
  #latencies = [];
  #messages = 0;
  #redraw = 0;
  #heard_at = 0;

  /** Puts a copy of `template` at the end of `main`. */
  constructor(template, main, node) {
    this.#root = template.content.firstElementChild.cloneNode(true);
    const title = this.#root.querySelector("h2");
    title.textContent = node;
    title.id = `node-${main.querySelectorAll("section").length}`;
    this.#root.setAttribute("aria-labelledby", title.id);
    main.append(this.#root);
    const measure = (name, lines) => new Measure(this.#root, name, lines);
    this.#measures = {
      cpu: measure("cpu", ["cpu"]),
      memory: measure("memory", ["used"]),
      network: measure("network", ["rx", "tx"]),
      disk: measure("disk", ["read", "written"]),
    };
    setInterval(() => this.#age(), 1_000);
  }

  /** Takes a measurement in. `arrived` is when it came, if that was just now. */
  add(sample, id, arrived) {
    if (!keep(this.#samples, sample)) return;
    this.#messages += 1;
    if (arrived) {
      this.#latencies = [...this.#latencies.slice(1 - LATENCIES), arrived - sample.time];
      this.#heard_at = arrived;
      this.#fact("id", id || "–");
    }
    // Once per picture that the screen shows, so that a minute of history costs one drawing and not sixty.
    cancelAnimationFrame(this.#redraw);
    this.#redraw = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const samples = this.#samples;
    const now = samples.at(-1);
    const { cpu, memory, network, disk } = this.#measures;
    cpu.draw(samples, 100, "100 %", [percent(now.cpu)]);
    memory.draw(samples, now.total || 1, "", [share(now.used, now.total)]);
    network.drawRates(samples);
    disk.drawRates(samples);
    this.#drawCores(now.cores);
    this.#fact("messages", this.#messages.toLocaleString());
    if (Number.isFinite(now.subscribers)) this.#fact("subscribers", now.subscribers.toLocaleString());
    if (this.#latencies.length) {
      const [last, worst] = [this.#latencies.at(-1), Math.max(...this.#latencies)];
      this.#fact("latency", last < 0 ? "clocks differ" : `${last} ms, at most ${worst}`);
    }
    this.#age();
  }

  #age() {
    const quiet_ms = Date.now() - this.#heard_at;
    const text = quiet_ms < SILENT_MS ? "" : this.#heard_at ? `silent for ${Math.round(quiet_ms / 1_000)} s` : "silent";
    this.#root.querySelector(".age").textContent = text;
  }

  #fact(name, text) {
    this.#root.querySelector(`[data-fact="${name}"]`).textContent = text;
  }

  #drawCores(cores) {
    const box = this.#root.querySelector(".cores");
    while (box.children.length > cores.length) box.lastChild.remove();
    while (box.children.length < cores.length) box.append(document.createElement("i"));
    cores.forEach((core, at) => box.children[at].style.setProperty("--load", Math.min(1, core / 100)));
    box.setAttribute("aria-label", `CPU per core: ${cores.map((core) => Math.round(core)).join(", ")} percent`);
  }
}

/** One chart with its scale, and the newest value of each of its lines. */
class Measure {
  #chart;
  #lines;
  #values;
  #top;

  constructor(panel, name, lines) {
    const box = panel.querySelector(`[data-measure="${name}"]`);
    this.#chart = new Chart(box.querySelector("svg"), lines);
    this.#lines = lines;
    this.#values = lines.map((line) => Object.assign(document.createElement("span"), { className: line }));
    box.querySelector(".value").replaceChildren(...this.#values);
    this.#top = box.querySelector(".top-of-scale");
  }

  draw(samples, top, topText, values) {
    this.#chart.draw(samples, top);
    this.#top.textContent = topText;
    this.#values.forEach((value, at) => (value.textContent = values[at]));
  }

  drawRates(samples) {
    const top = roundUp(Math.max(1_000, ...samples.flatMap((sample) => this.#lines.map((line) => sample[line]))));
    this.draw(samples, top, rate(top), this.#lines.map((line) => rate(samples.at(-1)[line])));
  }
}

/** Puts a sample where it belongs in time, and says whether it was new. */
function keep(samples, sample) {
  const newest = samples.at(-1)?.time ?? 0;
  // A clock that was set back would draw the line over itself.
  if (sample.time < newest - SPAN_MS) samples.length = 0;
  const at = samples.findLastIndex(({ time }) => time <= sample.time);
  if (samples[at]?.time === sample.time) return false;
  samples.splice(at + 1, 0, sample);
  while (samples[0].time < samples.at(-1).time - SPAN_MS) samples.shift();
  return true;
}

// To 1, 2 or 5 times a power of ten, so that the scale does not tremble with every sample.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
