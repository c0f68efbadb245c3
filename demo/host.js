// The host panel: what the server measures of its machine, drawn as it arrives.

import { Chart, SPAN_MS } from "./kit/chart.js";
import { clock, percent, rate, share } from "./kit/format.js";
import { showState } from "./kit/state.js";
import { follow } from "./kit/stream.js";

const GAPS = {
  trimmed: "history does not reach that far back",
  epoch: "the server began anew",
  failover: "the broker failed over",
  store_reset: "the broker lost its store",
  slow_consumer: "this page read too slowly",
  transient: "the connection to the broker was disturbed",
};

export function watchHost(panel) {
  const view = new View(panel);
  const samples = [];
  let messages = 0;
  let readyAt = Infinity;
  let latencies = [];

  follow("demo:host", {
    tail: 60,
    on: {
      state: (state) => showState(panel.querySelector(".state"), state),
      ready(event) {
        readyAt = Date.now();
        view.event(event);
      },
      gap(event) {
        const reason = parse(event.data)?.reason;
        view.notice(`${clock(Date.now())}: messages may be missing; ${GAPS[reason] ?? "the server does not say why"}.`);
        view.event(event);
      },
      message(event) {
        messages += 1;
        const sample = read(event.data);
        if (sample) {
          // What was measured before the stream began is history; its age says nothing about the way here.
          if (sample.time >= readyAt) {
            latencies = [...latencies.slice(-59), Date.now() - sample.time];
          }
          keep(samples, sample);
          view.draw(samples);
        }
        view.facts(messages, sample?.subscribers, latencies);
        view.event(event);
      },
    },
  });
}

// Anyone may publish to a channel in dev mode, so what arrives is looked at before it is drawn.
function read(data) {
  const { cpu, memory, network, subscribers, time } = parse(data) ?? {};
  const sample = {
    time,
    subscribers,
    cpu: cpu?.total,
    cores: Array.isArray(cpu?.cores) ? cpu.cores.slice(0, 512) : [],
    used: memory?.used_bytes,
    total: memory?.total_bytes,
    rx: network?.rx_bytes_per_s,
    tx: network?.tx_bytes_per_s,
  };
  const numbers = [sample.time, sample.cpu, ...sample.cores, sample.used, sample.total, sample.rx, sample.tx];
  return numbers.every(Number.isFinite) ? sample : null;
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function keep(samples, sample) {
  // A clock that was set back would draw the line over itself.
  if (sample.time < (samples.at(-1)?.time ?? 0)) samples.length = 0;
  samples.push(sample);
  while (samples[0].time < sample.time - SPAN_MS) samples.shift();
}

/** Everything that is written into the panel. */
class View {
  #panel;
  #cpu;
  #memory;
  #network;
  #redraw = 0;

  constructor(panel) {
    this.#panel = panel;
    this.#cpu = new Measure(panel, "cpu", ["cpu"]);
    this.#memory = new Measure(panel, "memory", ["used"]);
    this.#network = new Measure(panel, "network", ["rx", "tx"]);
  }

  /** Draws once per picture that the screen shows, so that a minute of history costs one drawing and not sixty. */
  draw(samples) {
    cancelAnimationFrame(this.#redraw);
    this.#redraw = requestAnimationFrame(() => {
      const now = samples.at(-1);
      this.#cpu.draw(samples, 100, "100 %", [percent(now.cpu)]);
      this.#memory.draw(samples, now.total, "", [share(now.used, now.total)]);
      const top = roundUp(Math.max(1_000, ...samples.map((sample) => Math.max(sample.rx, sample.tx))));
      this.#network.draw(samples, top, rate(top), [rate(now.rx), rate(now.tx)]);
      this.#drawCores(now.cores);
    });
  }

  facts(messages, subscribers, latencies) {
    this.#fact("messages", messages.toLocaleString());
    if (Number.isFinite(subscribers)) this.#fact("subscribers", subscribers.toLocaleString());
    if (latencies.length) {
      const [last, worst] = [latencies.at(-1), Math.max(...latencies)];
      this.#fact("latency", last < 0 ? "clocks differ" : `${last} ms, at most ${worst}`);
    }
  }

  event({ type, lastEventId, data }) {
    this.#fact("id", lastEventId || "–");
    const name = type === "message" ? "" : `event: ${type}\n`;
    const id = lastEventId ? `id: ${lastEventId}\n` : "";
    this.#panel.querySelector("pre").textContent = `${id}${name}data: ${data.slice(0, 4_096)}`;
  }

  notice(text) {
    const notice = this.#panel.querySelector(".notice");
    notice.textContent = text;
    notice.hidden = false;
  }

  #fact(name, text) {
    this.#panel.querySelector(`[data-fact="${name}"]`).textContent = text;
  }

  #drawCores(cores) {
    const box = this.#panel.querySelector(".cores");
    while (box.children.length > cores.length) box.lastChild.remove();
    while (box.children.length < cores.length) box.append(document.createElement("i"));
    cores.forEach((core, at) => box.children[at].style.setProperty("--load", Math.min(1, core / 100)));
    box.setAttribute("aria-label", `CPU per core: ${cores.map((core) => Math.round(core)).join(", ")} percent`);
  }
}

/** One chart with its scale, and the newest value of each of its lines. */
class Measure {
  #chart;
  #values;
  #top;

  constructor(panel, name, lines) {
    const box = panel.querySelector(`[data-measure="${name}"]`);
    this.#chart = new Chart(box.querySelector("svg"), lines);
    this.#values = lines.map((line) => {
      const value = document.createElement("span");
      value.className = line;
      return value;
    });
    box.querySelector(".value").replaceChildren(...this.#values);
    this.#top = box.querySelector(".top-of-scale");
  }

  draw(samples, top, topText, values) {
    this.#chart.draw(samples, top);
    this.#top.textContent = topText;
    this.#values.forEach((value, at) => (value.textContent = values[at]));
  }
}

// To 1, 2 or 5 times a power of ten, so that the scale does not tremble with every sample.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
