// How complete the last windows are: one cell per window length, the ones without a window included.
// Never: the DOM, a clock. Bound: CELLS_MAX cells.
import type { Row } from "../read.js";

export const CELLS_MAX = 120;

export type Cell = "whole" | "missing" | "late" | "none";

export interface Strip {
  /** Oldest first. */
  readonly cells: readonly Cell[];
  readonly windows: number;
  readonly whole: number;
  readonly missing: number;
  /** Start of the first cell, ms. */
  readonly from: number;
  /** End of the last cell, ms. */
  readonly to: number;
}

const kindOf = ({ missing, revision }: Row): Cell => {
  if ((missing ?? 0) > 0) return "missing";
  return (revision ?? 0) > 0 ? "late" : "whole";
};

/** Undefined without windows. `rows` by rising start, one size. */
export function stripOf(rows: readonly Row[]): Strip | undefined {
  const last = rows[rows.length - 1];
  if (last === undefined) return undefined;
  const size = last.sizeMs;
  const earliest = last.start - (CELLS_MAX - 1) * size;
  const from = Math.max(earliest, rows[0]?.start ?? last.start);
  const cells: Cell[] = new Array<Cell>(Math.round((last.start - from) / size) + 1).fill("none");
  const inside = rows.filter((row) => row.start >= from);
  for (const row of inside) cells[Math.round((row.start - from) / size)] = kindOf(row);
  const missing = inside.reduce((sum, row) => sum + (row.missing ?? 0), 0);
  const whole = inside.filter((row) => (row.missing ?? 0) === 0).length;
  return { cells, windows: inside.length, whole, missing, from, to: last.start + size };
}

export interface Figure {
  readonly count: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
}

/**
 * One field over the windows of the last `spanMs` before the end of the newest: event time, so that a wrong device
 * clock does not empty the tile.
 */
export function figureOf(rows: readonly Row[], field: string, spanMs: number): Figure | undefined {
  const last = rows[rows.length - 1];
  if (last === undefined) return undefined;
  const from = last.start + last.sizeMs - spanMs;
  let [count, sum, min, max] = [0, 0, Infinity, -Infinity];
  for (const { start, stats } of rows) {
    const of = Object.hasOwn(stats, field) ? stats[field] : undefined;
    if (of === undefined || start < from) continue;
    count += of.count;
    sum += of.mean * of.count;
    min = Math.min(min, of.min);
    max = Math.max(max, of.max);
  }
  return count === 0 ? undefined : { count, mean: sum / count, min, max };
}
