// Numbers and times as people read them.
import { describe, expect, it } from "vitest";
import { ago, bytes, clock, count, duration, measured, perSecond, plural, UNKNOWN } from "../../src/format.js";

describe("what is not known reads as a dash", () => {
  const unknown = [undefined, null, Number.NaN, Infinity, -Infinity];
  for (const [name, write] of Object.entries({ count, perSecond, measured, bytes, duration, clock })) {
    it(name, () => expect(unknown.map((n) => write(n))).toEqual(unknown.map(() => UNKNOWN)));
  }
  it("ago, on either side", () => {
    expect(ago(undefined, 5)).toBe(UNKNOWN);
    expect(ago(5, undefined)).toBe(UNKNOWN);
  });
  it("a time past the calendar", () => expect(clock(1e20)).toBe(UNKNOWN));
});

it.each([
  [0, "0"],
  [1234, "1,234"],
  [99_999, "99,999"],
  [100_000, "100K"],
  [18_600_000, "18.6M"],
])("count %d is %s", (n, text) => expect(count(n)).toBe(text));

it.each([
  [0, "0"],
  [0.25, "0.3"],
  [9.96, "10"],
  [40, "40"],
])("%d per second is %s", (n, text) => expect(perSecond(n)).toBe(text));

it.each([
  [0, "0"],
  [412.75, "412.8"],
  [-9.81234, "-9.812"],
  [0.00123456, "0.001235"],
  [12345.6, "12,346"],
  [1e9, "1.00e+9"],
  [1e-9, "1.00e-9"],
])("measured %d is %s", (n, text) => expect(measured(n)).toBe(text));

it.each([
  [0, "0 B"],
  [1023, "1,023 B"],
  [1024, "1 KiB"],
  [76_546_048, "73 MiB"],
  [157_286_400, "150 MiB"],
  [3.5 * 2 ** 30, "3.5 GiB"],
  [2 ** 60, "1,048,576 TiB"],
])("%d bytes are %s", (n, text) => expect(bytes(n)).toBe(text));

it.each([
  [0, "0 ms"],
  [1.64, "1.6 ms"],
  [42, "42 ms"],
  [999.6, "1 s"],
  [1_200, "1.2 s"],
  [9_960, "10 s"],
  [119_000, "119 s"],
  [120_000, "2 min"],
  [5_400_000, "90 min"],
  [9_000_000, "2.5 h"],
  [200_000_000, "2 d"],
])("%d ms are %s", (n, text) => expect(duration(n)).toBe(text));

it.each([
  [1_000, "just now"],
  [-1_000, "just now"],
  [3_400, "3 s ago"],
  [240_000, "4 min ago"],
  [-3_600_000, "60 min ahead"],
])("what is %d ms past was %s", (past, text) => expect(ago(1e12 - past, 1e12)).toBe(text));

it("plurals", () =>
  expect([plural(1, "window"), plural(2, "window"), plural(0, "window"), plural(2, "is", "are")]).toEqual([
    "1 window",
    "2 windows",
    "0 windows",
    "2 are",
  ]));

it("the time of day is the reader's", () => {
  const at = new Date(2026, 2, 1, 4, 5, 6);
  expect(clock(at.getTime())).toBe("04:05:06");
});
