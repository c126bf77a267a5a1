// The fleet's figures for as long as the page is open: the shell and the fleet page read them.
// Owns: one lease of `fleet/summary`, one ring per figure. Bound: RING_MAX points each.
import { ChartWindow, topics, type FleetSummary, type Scope, type StateLease } from "@evenkeel/client";
import { readSummary, type Summary } from "../read.js";

/** How far back the small charts reach. */
export const HISTORY_MS = 5 * 60_000;
/** A chart of the first moments is not drawn wider than it is. */
const SPAN_MIN_MS = 15_000;
const HZ = 2;
const RING_MAX = 1_024;

export const FIGURES = ["eventsPerS", "rowsPerS", "streams", "lagMs", "jitterMs"] as const;
export type FigureName = (typeof FIGURES)[number];

export class FleetFeed {
  readonly lease: StateLease<FleetSummary>;
  readonly rings: Readonly<Record<FigureName, ChartWindow>>;
  /** `dropped` as first seen, by reason: what came since is told beside the total. */
  readonly #droppedFirst = new Map<string, number>();
  #epoch: string | undefined;
  #firstTs: number | undefined;

  constructor(scope: Scope) {
    const ring = (): ChartWindow => new ChartWindow(HISTORY_MS, RING_MAX);
    this.rings = { eventsPerS: ring(), rowsPerS: ring(), streams: ring(), lagMs: ring(), jitterMs: ring() };
    this.lease = scope.acquire(topics.fleetSummary(), { maxHz: HZ });
    this.lease.onFrame((frame) => this.#take(frame.epoch, frame.ts, readSummary(frame.state)));
  }

  /** The newest painted summary. */
  current(): Summary | undefined {
    const view = this.lease.current();
    return view === undefined ? undefined : readSummary(view.state);
  }

  /** What the charts show: from the first figure on, 15 s at least, HISTORY_MS at most; undefined before it. */
  span(): { readonly from: number; readonly to: number } | undefined {
    const to = this.lease.current()?.ts;
    if (to === undefined || this.#firstTs === undefined) return undefined;
    return { from: to - Math.min(HISTORY_MS, Math.max(SPAN_MIN_MS, to - this.#firstTs)), to };
  }

  /** How many more were set aside than when this page was opened. */
  droppedSince(reason: string, now: number): number {
    return Math.max(0, now - (this.#droppedFirst.get(reason) ?? 0));
  }

  #take(epoch: string, ts: number, summary: Summary): void {
    // Another source counts from another beginning.
    if (epoch !== this.#epoch) this.#droppedFirst.clear();
    const first = epoch !== this.#epoch;
    this.#epoch = epoch;
    this.#firstTs ??= ts;
    for (const [reason, count] of summary.dropped) {
      const before = this.#droppedFirst.get(reason);
      if (first || (before !== undefined && count < before)) this.#droppedFirst.set(reason, count);
    }
    for (const name of FIGURES) {
      const value = summary[name];
      if (value !== undefined) this.rings[name].push(ts, value);
    }
  }
}
