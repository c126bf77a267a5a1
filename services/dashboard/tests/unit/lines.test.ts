// Points of a chart, the strip of completeness, tiles, small lines, addresses.
import { describe, expect, it } from "vitest";
import { CELLS_MAX, figureOf, stripOf } from "../../src/device/cells.js";
import { breaks, extent, FIELDS_MAX, Lines } from "../../src/device/lines.js";
import type { Points, Row } from "../../src/read.js";
import { hashOf, routeOf } from "../../src/route.js";
import { pathOf } from "../../src/spark.js";

const points = (fromMs: number, t: readonly number[], fields: readonly string[] = ["a"]): Points => ({
  fromMs,
  toMs: t.at(-1) ?? fromMs,
  open: [],
  series: fields.map((field) => [field, { t, v: t.map((at) => at / 10) }]),
});
const held = (lines: Lines, field = "a"): number[] => {
  const { t, count } = lines.ring(field)?.m4(0, 1e15, 1) ?? { t: new Float64Array(0), count: 0 };
  return [...t.subarray(0, count)];
};

describe("lines", () => {
  it("a frame replaces what it covers and keeps what lies before", () => {
    const lines = new Lines();
    lines.take("a", points(0, [0, 100, 200]));
    lines.take("a", points(150, [150, 300]));
    expect(lines.ring("a")?.length).toBe(4);
    expect(held(lines).at(-1)).toBe(300);
    expect(lines.toMs).toBe(300);
  });

  it("another epoch replaces everything", () => {
    const lines = new Lines();
    lines.take("a", points(0, [0, 100], ["a", "b"]));
    lines.take("b", points(1_000, [1_000], ["a"]));
    expect([held(lines, "a"), held(lines, "b")]).toEqual([[1_000], []]);
  });

  it("past its bound a field is counted and left out", () => {
    const lines = new Lines();
    const fields = Array.from({ length: FIELDS_MAX + 3 }, (_, n) => `f${n}`);
    for (let i = 0; i < 3; i += 1) lines.take("a", points(0, [i], fields));
    expect(lines.fields).toHaveLength(FIELDS_MAX);
    expect(lines.leftOut).toBe(3);
    lines.take(
      "a",
      points(
        0,
        [9],
        Array.from({ length: 500 }, (_, n) => `g${n}`),
      ),
    );
    expect(lines.leftOut).toBeLessThanOrEqual(FIELDS_MAX);
  });
});

it("a line breaks where nothing came, and nowhere else", () => {
  const steady = Array.from({ length: 50 }, (_, n) => n * 100);
  expect(breaks(steady, steady.length)).toEqual([]);
  const torn = steady.map((t) => (t >= 2_000 ? t + 5_000 : t));
  expect(breaks(torn, torn.length)).toEqual([[19, 20]]);
  // A slow device is not a torn line.
  const slow = Array.from({ length: 20 }, (_, n) => n * 10_000);
  expect(breaks(slow, slow.length)).toEqual([]);
  expect(breaks(torn, 2)).toEqual([]);
});

it("extents", () => {
  expect(extent(new Float64Array([3, -1, 2]), 3)).toEqual({ min: -1, max: 3, last: 2 });
  expect(extent(new Float64Array([3]), 0)).toBeUndefined();
});

const row = (start: number, change: Partial<Row> = {}): Row => ({
  start,
  sizeMs: 5_000,
  count: 50,
  missing: 0,
  closedBy: "watermark",
  revision: 0,
  stats: {},
  ...change,
});

describe("the strip", () => {
  it("has a cell for each window and for each that is not there", () => {
    const strip = stripOf([row(0), row(5_000, { missing: 3 }), row(20_000, { revision: 1 })]);
    expect(strip).toMatchObject({
      cells: ["whole", "missing", "none", "none", "late"],
      windows: 3,
      whole: 2,
      missing: 3,
      from: 0,
      to: 25_000,
    });
  });

  it("is bounded, whatever the times are", () => {
    const strip = stripOf([row(0), row(1e15)]);
    expect(strip?.cells).toHaveLength(CELLS_MAX);
    expect(strip?.windows).toBe(1);
    expect(stripOf([])).toBeUndefined();
  });
});

it("a tile weighs windows by their events, over event time", () => {
  const stats = (count: number, mean: number) => ({ w: { count, min: mean - 1, max: mean + 1, mean, last: mean } });
  const rows = [
    row(0, { stats: stats(1, 1_000) }),
    row(10_000, { stats: stats(1, 10) }),
    row(15_000, { stats: stats(3, 20) }),
  ];
  expect(figureOf(rows, "w", 10_000)).toEqual({ count: 4, mean: 17.5, min: 9, max: 21 });
  expect(figureOf(rows, "x", 10_000)).toBeUndefined();
  expect(figureOf(rows, "toString", 10_000)).toBeUndefined();
  expect(figureOf([], "w", 10_000)).toBeUndefined();
});

it("a small line begins at zero and closes its area", () => {
  const { line, area } = pathOf(new Float64Array([0, 50, 100]), new Float64Array([0, 5, 10]), 3, 0, 100);
  expect(line).toBe("M0.0 27.0L60.0 14.5L120.0 2.0");
  expect(area.endsWith("L120.0 28L0.0 28Z")).toBe(true);
  expect(pathOf(new Float64Array([0]), new Float64Array([0]), 1, 0, 100)).toEqual({ line: "", area: "" });
  // Nothing but zeros is a line on the ground, not a division by zero.
  expect(pathOf(new Float64Array([0, 100]), new Float64Array([0, 0]), 2, 0, 100).line).toBe("M0.0 27.0L120.0 27.0");
});

it.each(["bowl/7", "bowl 7", "näpfe", "100%", "#/device/x", "a?b&c"])("the address of %s leads back to it", (id) =>
  expect(routeOf(hashOf({ page: "device", id }))).toEqual({ page: "device", id }),
);
it.each(["", "#", "#/", "#/device/", "#/device/%zz", "#/elsewhere"])("%j is the fleet", (hash) =>
  expect(routeOf(hash)).toEqual({ page: "fleet" }),
);
