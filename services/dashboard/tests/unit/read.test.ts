// Whatever a gateway sends as a state, reading it throws nothing and invents nothing.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DEVICES, Fleet } from "../gateway/fleet.js";
import { readAlert, readDevices, readStatus, readSummary, readTelemetry, readWindows } from "../../src/read.js";

const READERS = { readAlert, readDevices, readStatus, readSummary, readTelemetry, readWindows };
const NONSENSE = [
  undefined,
  null,
  7,
  "text",
  true,
  [],
  [1],
  {},
  { devices: 7, rows: 7, series: 7, open: 7, dropped: 7, stats: 7 },
  { rows: [null, 7, {}, { t_start: "x" }], size_ms: 0 },
  { devices: [null, { stream_id: 7 }, { stream_id: "" }] },
  { series: { a: null, b: { t: 1, v: 2 } }, from_ms: 0, to_ms: 1 },
];

describe("nonsense", () => {
  for (const [name, read] of Object.entries(READERS)) {
    it(name, () => {
      for (const state of NONSENSE) expect(() => read(state)).not.toThrow();
    });
  }
  it("makes no figure", () => {
    for (const state of NONSENSE) {
      const { streams, eventsPerS, rowsPerS, lagMs, jitterMs, alerts, memory, dropped } = readSummary(state);
      expect(
        [streams, eventsPerS, rowsPerS, lagMs, jitterMs, alerts, ...Object.values(memory)].every(
          (n) => n === undefined,
        ),
      ).toBe(true);
      expect(dropped).toEqual([]);
      expect(readWindows(state)).toEqual([]);
      expect(readDevices(state).devices).toEqual([]);
    }
  });
});

/** Every member that schemas/ws/topics.json names is read: one that is renamed there must be missed here. */
describe("the schema's members", () => {
  const schema = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../schemas/ws/topics.json"), "utf8")) as {
    types: Record<string, { fields: Record<string, [string, string]> }>;
  };
  const members = (type: string): string[] => Object.keys(schema.types[type]?.fields ?? {}).sort();
  const fleet = new Fleet();
  fleet.advance(60_000);
  const id = DEVICES[0] as string;
  const windows = fleet.windows(id, 5_000);

  it("are what the sample gateway sends", () => {
    expect(Object.keys(fleet.summary()).sort()).toEqual(members("FleetSummary"));
    expect(Object.keys(fleet.devices()).sort()).toEqual(members("FleetDevices"));
    expect(Object.keys(fleet.devices().devices[0] ?? {}).sort()).toEqual(members("DeviceGlance"));
    expect(Object.keys(fleet.status(id)).sort()).toEqual(members("DeviceStatus"));
    expect(Object.keys(fleet.telemetry(id, 0)).sort()).toEqual(members("Telemetry"));
    expect(Object.keys(windows).sort()).toEqual(members("Windows"));
    expect(Object.keys(windows.rows[0] ?? {}).sort()).toEqual(members("ClosedWindow"));
    expect(Object.keys(fleet.alert(id, 0).data).sort()).toEqual(members("Alert"));
  });

  it("are all read", () => {
    const whole = (value: object): void =>
      expect(Object.entries(value).filter(([, member]) => member === undefined)).toEqual([]);
    const summary = readSummary(fleet.summary());
    whole(summary);
    whole(summary.memory);
    whole(readDevices(fleet.devices()));
    whole(readDevices(fleet.devices()).devices[0] as object);
    whole(readStatus(fleet.status(id)));
    whole(readWindows(windows)[0] as object);
    whole(readTelemetry(fleet.telemetry(id, 0)) as object);
    whole(readAlert(fleet.alert(id, 0).data));
  });
});

it("reasons come most first", () =>
  expect(readSummary({ dropped: { a: 1, b: 3, c: 2 } }).dropped.map(([reason]) => reason)).toEqual(["b", "c", "a"]));

it("lists are cut at their bounds", () => {
  const devices = Array.from({ length: 300 }, (_, n) => ({ stream_id: `d/${n}` }));
  expect(readDevices({ devices }).devices).toHaveLength(100);
  const rows = Array.from({ length: 300 }, (_, n) => ({ t_start: n * 5_000, count: 1 }));
  const read = readWindows({ size_ms: 5_000, rows });
  expect(read).toHaveLength(120);
  expect(read.at(-1)?.start).toBe(299 * 5_000);
});
