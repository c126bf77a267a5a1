// Tiles: one figure over the last minutes, from closed windows. Never: a clock.
import type { Windows } from "./topics.generated.js";

export interface Tile {
  /** Values, at least 1. */
  readonly count: number;
  readonly min: number;
  readonly max: number;
  /** Mean of all values, not of the windows' means. */
  readonly mean: number;
}

/** One field over the windows that begin in `[nowMs - spanMs, nowMs)`; undefined if none of them has it. */
export function tile(windows: Windows, field: string, nowMs: number, spanMs: number): Tile | undefined {
  let [count, sum, min, max] = [0, 0, Infinity, -Infinity];
  for (const { t_start, stats } of windows.rows) {
    const of = Object.hasOwn(stats, field) ? stats[field] : undefined;
    if (of === undefined || t_start < nowMs - spanMs || t_start >= nowMs) continue;
    count += of.count;
    sum += of.mean * of.count;
    min = Math.min(min, of.min);
    max = Math.max(max, of.max);
  }
  return count === 0 ? undefined : { count, min, max, mean: sum / count };
}
