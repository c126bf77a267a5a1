// One line over time, drawn by uPlot. Owns: the canvas, its size, its colours. Never: a topic, a ring.
import type { Scope } from "@evenkeel/client";
import uPlot from "uplot";
import { breaks } from "./device/lines.js";
import { clock } from "./format.js";

export interface PlotOptions {
  readonly height: number;
  /** The custom property that holds the line's colour. */
  readonly colour: string;
  readonly area?: boolean;
  /** Lowest value that the scale must show. */
  readonly floor?: number;
  /** Plots with the same name share a crosshair. */
  readonly together?: string;
  readonly value: (v: number) => string;
  /** Calls with the point under the crosshair, or nothing. */
  readonly onPoint?: (t: number | undefined, v: number | undefined) => void;
}

const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT = "11px system-ui, sans-serif";
const AXIS_WIDTH = 56;

export class Plot {
  readonly #plot: uPlot;
  #empty = true;

  /** Lives in `place` until the scope ends. */
  constructor(scope: Scope, place: HTMLElement, options: PlotOptions) {
    const width = Math.max(120, place.clientWidth);
    this.#plot = new uPlot(optionsOf(options, width), [[], []], place);
    const resized = new ResizeObserver(() => {
      const now = place.clientWidth;
      if (now > 0 && now !== this.#plot.width) this.#plot.setSize({ width: now, height: options.height });
    });
    resized.observe(place);
    scope.defer(() => {
      resized.disconnect();
      this.#plot.destroy();
    });
  }

  /** Draws the first `count` points over `[from, to]`. The arrays are read until the next call. */
  draw(t: Float64Array, v: Float64Array, count: number, from: number, to: number): void {
    if (count === 0 && this.#empty) return;
    this.#empty = count === 0;
    const data = [t.subarray(0, count), v.subarray(0, count)] as unknown as uPlot.AlignedData;
    this.#plot.batch(() => {
      this.#plot.setData(data, false);
      this.#plot.setScale("x", { min: from, max: to });
    });
  }

  /** Colours have changed. */
  repaint(): void {
    this.#plot.redraw(false, true);
  }
}

function optionsOf(options: PlotOptions, width: number): uPlot.Options {
  const { height, colour, value, together, onPoint, floor } = options;
  const axis: uPlot.Axis = {
    stroke: () => css("--muted"),
    grid: { stroke: () => css("--grid"), width: 1 },
    ticks: { show: false },
    font: FONT,
  };
  const line: uPlot.Series = {
    stroke: () => css(colour),
    width: 1.5,
    points: { show: false },
    gaps: (u, _series, first, last) => gapsOf(u, first, last),
    ...(options.area === true ? { fill: () => `${css(colour)}22` } : {}),
  };
  return {
    width,
    height,
    ms: 1,
    legend: { show: false },
    padding: [8, 26, 0, 0],
    cursor: {
      y: false,
      drag: { x: false, y: false },
      points: { size: 6 },
      ...(together === undefined ? {} : { sync: { key: together, setSeries: false } }),
    },
    scales: {
      x: { time: true },
      y: { range: (_u, min, max) => rangeOf(min, max, floor) },
    },
    axes: [
      { ...axis, size: 26, space: 90, values: (_u, splits) => splits.map((at) => clock(at)) },
      { ...axis, size: AXIS_WIDTH, space: 28, values: (_u, splits) => splits.map((v) => (v === null ? "" : value(v))) },
    ],
    series: [{}, line],
    hooks: onPoint === undefined ? {} : { setCursor: [(u) => tellPoint(u, onPoint)] },
  };
}

/** A little room above and below; a flat line gets a scale all the same. */
export function rangeOf(min: number | null, max: number | null, floor?: number): uPlot.Range.MinMax {
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max))
    return [floor ?? 0, (floor ?? 0) + 1];
  const low = floor === undefined ? min : Math.min(min, floor);
  if (low === max) return [low - (floor === undefined ? 1 : 0), max + 1];
  if (floor === undefined) return uPlot.rangeNum(low, max, 0.1, true);
  return uPlot.rangeNum(low, max, { min: { pad: 0, soft: floor, mode: 1 }, max: { pad: 0.1, soft: floor, mode: 0 } });
}

function tellPoint(u: uPlot, tell: (t: number | undefined, v: number | undefined) => void): void {
  const at = u.cursor.idx;
  if (at === null || at === undefined) return tell(undefined, undefined);
  tell(u.data[0][at], u.data[1]?.[at] ?? undefined);
}

function gapsOf(u: uPlot, first: number, last: number): uPlot.Series.Gaps {
  const t = u.data[0];
  const pairs = breaks(t, t.length).filter(([from, to]) => from >= first - 1 && to <= last + 1);
  return pairs.map(([from, to]) => [
    Math.floor(u.valToPos(t[from] as number, "x", true)),
    Math.ceil(u.valToPos(t[to] as number, "x", true)),
  ]);
}
