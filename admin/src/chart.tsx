// A chart of the last minutes. What it shows is said in words beside it, for who does not see it.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

import { times } from "./figures";

export interface Line {
  name: string;
  /** A colour of the style sheet, by name. */
  colour: "one" | "two" | "three";
  values: (number | null)[];
}

export function Chart({ title, lines, show, steps = WHOLE }: { title: string; lines: Line[]; show: (value: number) => string; steps?: number[] }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shown = useRef(show);
  shown.current = show;
  const shape = lines.map((line) => line.name).join();
  useEffect(() => {
    const at = place.current!;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(at.clientWidth, lines, steps, (value) => shown.current(value)), data(lines), at);
    };
    draw();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: at.clientWidth, height: HEIGHT }));
    resized.observe(at);
    // Colours are read when a chart is made.
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data(lines)));
  const latest = (line: Line) => line.values.findLast((value) => value !== null);
  const words = lines.map((line) => {
    const value = latest(line);
    return { ...line, text: value === undefined || value === null ? "–" : show(value) };
  });
  return (
    <figure class="panel chart">
      <figcaption>
        <h3>{title}</h3>
        <ul>
          {words.map(({ name, colour, text }) => (
            <li key={name}><i class={colour} aria-hidden="true" />{name && <span>{name}</span>} <b>{text}</b></li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
    </figure>
  );
}

const HEIGHT = 140;

/** Between two lines of a chart: whole numbers, tenths, or what bytes come in. */
const WHOLE = Array.from({ length: 13 }, (_, at) => [1, 2, 5].map((step) => step * 10 ** at)).flat();
export const TENTHS = [0.1, 0.2, 0.5, ...WHOLE];
export const BINARY = Array.from({ length: 50 }, (_, at) => 2 ** at);

function data(lines: Line[]): uPlot.AlignedData {
  return [times(), ...lines.map((line) => line.values)] as uPlot.AlignedData;
}

function options(width: number, lines: Line[], steps: number[], show: (value: number) => string): uPlot.Options {
  const colours = getComputedStyle(document.documentElement);
  const colour = (name: string) => colours.getPropertyValue(`--${name}`).trim();
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: true, range: (_, min, max) => [min, max] },
      y: { range: (_, _min, max) => [0, max > 0 ? max * 1.1 : 1] },
    },
    axes: [
      { ...axis, size: 30, gap: 9, space: 70, values: (_, splits, _axis, _space, step) => splits.map((second) => (step < 60 ? fine : clock).format(second * 1_000)) },
      { ...axis, size: 62, space: 34, incrs: steps, values: (_, splits) => splits.map(show) },
    ],
    series: [{}, ...lines.map((line) => ({
      stroke: colour(`chart-${line.colour}`),
      width: 1.5,
      points: { show: false },
      spanGaps: false,
      ...(lines.length === 1 ? { fill: colour("chart-fill") } : {}),
    }))],
  };
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const fine = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
