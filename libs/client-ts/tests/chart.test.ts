// Chart windows and tiles against plain lists.
import fc from "fast-check";
import { expect, it } from "vitest";
import { ChartWindow } from "../src/chart.js";
import { tile } from "../src/tile.js";

it("M4 keeps first, lowest, highest and last of each column, in order, and nothing else", () => {
  const points = fc.uniqueArray(fc.tuple(fc.nat(1000), fc.integer({ min: -5, max: 5 })), { selector: ([t]) => t });
  fc.assert(fc.property(points, fc.integer({ min: 1, max: 20 }), (unsorted, columns) => {
    const sorted = [...unsorted].sort(([a], [b]) => a - b);
    const chart = new ChartWindow(2000, 64);
    for (const [t, v] of sorted) chart.push(t, v);
    const kept = sorted.slice(-64);
    expect([chart.length, chart.evicted]).toEqual([kept.length, sorted.length - kept.length]);
    const expected = Array.from({ length: columns }, (_, c) => {
      const here = kept.filter(([t]) => t < 1000 && Math.floor(t / (1000 / columns)) === c);
      const values = here.map(([, v]) => v);
      const [low, high] = [values.indexOf(Math.min(...values)), values.indexOf(Math.max(...values))];
      return here.filter((_, i) => i === 0 || i === here.length - 1 || i === low || i === high);
    }).flat();
    const { t, v, count } = chart.m4(0, 1000, columns);
    expect(Array.from({ length: count }, (_, i) => [t[i], v[i]])).toEqual(expected);
    expect(count).toBeLessThanOrEqual(4 * columns);
  }));
});

it("a snapshot replaces what it covers, and old points leave", () => {
  const chart = new ChartWindow(100, 16);
  chart.replaceFrom(0, [0, 10, 20], [1, 2, 3]);
  chart.replaceFrom(10, [11, 30], [7, 8]);
  const { t, v, count } = chart.m4(0, 40, 40);
  expect([[...t.subarray(0, count)], [...v.subarray(0, count)]]).toEqual([[0, 11, 30], [1, 7, 8]]);
  expect([chart.push(30, 1), chart.push(NaN, 1), chart.push(125, 9), chart.length]).toEqual([false, false, true, 2]);
});

it("a tile weighs means by their counts, within the span only", () => {
  const row = (t_start: number, count: number, mean: number, min: number, max: number) =>
    ({ t_start, closed_by: "watermark", revision: 0, count, missing: 0, stats: { w: { count, mean, min, max, last: 0 } } });
  const windows = { size_ms: 10, rows: [row(0, 9, 99, 0, 999), row(10, 1, 2, 2, 2), row(20, 3, 6, 4, 8)] };
  expect(tile(windows, "w", 30, 20)).toEqual({ count: 4, min: 2, max: 8, mean: 5 });
  expect(tile(windows, "other", 30, 20)).toBeUndefined();
});
