// The points of a device's fields, as its charts draw them. Owns: a ring per field. Never: a topic, the DOM, a clock.
// Bound: FIELDS_MAX rings of POINTS_MAX points over SPAN_MAX_MS; further fields are counted and not drawn.
import { ChartWindow } from "@evenkeel/client";
import type { Points } from "../read.js";

export const FIELDS_MAX = 16;
export const SPAN_MAX_MS = 5 * 60_000;
/** 40 points a second over the longest span, and a little. */
export const POINTS_MAX = 12_288;

export class Lines {
  readonly #rings = new Map<string, ChartWindow>();
  readonly #left = new Set<string>();
  #epoch: string | undefined;
  #toMs: number | undefined;

  /** Fields in the order they were first seen. */
  get fields(): readonly string[] {
    return [...this.#rings.keys()];
  }

  /** How many fields there was no room for; counted up to FIELDS_MAX. */
  get leftOut(): number {
    return this.#left.size;
  }

  /** End of the newest frame, event time. */
  get toMs(): number | undefined {
    return this.#toMs;
  }

  ring(field: string): ChartWindow | undefined {
    return this.#rings.get(field);
  }

  /** Takes a frame: what it covers replaces what was there. Another epoch replaces everything. */
  take(epoch: string, points: Points): void {
    if (epoch !== this.#epoch) for (const ring of this.#rings.values()) ring.clear();
    this.#epoch = epoch;
    this.#toMs = points.toMs;
    for (const [field, { t, v }] of points.series) this.#ringOf(field)?.replaceFrom(points.fromMs, t, v);
  }

  #ringOf(field: string): ChartWindow | undefined {
    const known = this.#rings.get(field);
    if (known !== undefined) return known;
    if (this.#rings.size >= FIELDS_MAX) {
      if (this.#left.size < FIELDS_MAX) this.#left.add(field);
      return undefined;
    }
    const ring = new ChartWindow(SPAN_MAX_MS, POINTS_MAX);
    this.#rings.set(field, ring);
    return ring;
  }
}

/** Lowest, highest and last of some points; undefined of none. */
export function extent(v: Float64Array, count: number): { min: number; max: number; last: number } | undefined {
  if (count === 0) return undefined;
  let [min, max] = [Infinity, -Infinity];
  for (let i = 0; i < count; i += 1) {
    const value = v[i] as number;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max, last: v[count - 1] as number };
}

/**
 * Pairs of indices between which a line must break: the time between them is beyond `factor` times the usual, and
 * beyond a second. The usual is the median step of a sample of 64.
 */
export function breaks(t: ArrayLike<number>, count: number, factor = 8): [from: number, to: number][] {
  if (count < 3) return [];
  const stride = Math.max(1, Math.floor(count / 64));
  const steps: number[] = [];
  for (let i = 1; i < count; i += stride) steps.push((t[i] as number) - (t[i - 1] as number));
  steps.sort((a, b) => a - b);
  const limit = Math.max(1_000, factor * (steps[steps.length >> 1] as number));
  const found: [number, number][] = [];
  for (let i = 1; i < count; i += 1) if ((t[i] as number) - (t[i - 1] as number) > limit) found.push([i - 1, i]);
  return found;
}
