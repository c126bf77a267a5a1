// A small line without axes, as SVG. Owns: its path. Never: a scale that hides the zero: these figures begin there.
import type { ChartWindow } from "@evenkeel/client";
import { s } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 28;

export interface Spark {
  readonly element: SVGSVGElement;
  /** Draws `[from, to]`. */
  draw(ring: ChartWindow, from: number, to: number): void;
}

/** Decoration beside a figure that says the same in digits: hidden from screen readers. */
export function spark(): Spark {
  const line = s("path", { class: "spark-line", "vector-effect": "non-scaling-stroke" });
  const area = s("path", { class: "spark-area" });
  const element = s(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    line,
  );
  return {
    element,
    draw: (ring, from, to) => {
      const { t, v, count } = ring.m4(from, to + 1, WIDTH / 2);
      const path = pathOf(t, v, count, from, to - from);
      line.setAttribute("d", path.line);
      area.setAttribute("d", path.area);
    },
  };
}

/** Exported for its test. */
export function pathOf(
  t: Float64Array,
  v: Float64Array,
  count: number,
  from: number,
  spanMs: number,
): { line: string; area: string } {
  if (count < 2) return { line: "", area: "" };
  let top = 0;
  for (let i = 0; i < count; i += 1) top = Math.max(top, v[i] as number);
  const x = (i: number): string => ((((t[i] as number) - from) / spanMs) * WIDTH).toFixed(1);
  const y = (i: number): string =>
    (top === 0 ? HEIGHT - 1 : HEIGHT - 1 - (Math.max(0, v[i] as number) / top) * (HEIGHT - 3)).toFixed(1);
  let line = `M${x(0)} ${y(0)}`;
  for (let i = 1; i < count; i += 1) line += `L${x(i)} ${y(i)}`;
  return { line, area: `${line}L${x(count - 1)} ${HEIGHT}L${x(0)} ${HEIGHT}Z` };
}
