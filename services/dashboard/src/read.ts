// What a frame's state holds, member by member. The wire promises the shapes of schemas/ws/topics.json, but a gateway
// may be older or newer than this page: what is missing or of another kind reads as undefined, never as an exception.
// Never: a default that could be taken for a measurement. Bound: lists are cut at the lengths the schema names.
import type { Series } from "@evenkeel/client";

export type Members = { readonly [name: string]: unknown };

export const members = (value: unknown): Members =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {};
export const numberIn = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
export const textIn = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const listIn = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const entriesIn = (value: unknown): [string, unknown][] => Object.entries(members(value));

export interface Summary {
  readonly streams: number | undefined;
  readonly eventsPerS: number | undefined;
  readonly rowsPerS: number | undefined;
  readonly lagMs: number | undefined;
  readonly jitterMs: number | undefined;
  readonly alerts: number | undefined;
  readonly memory: {
    readonly planned: number | undefined;
    readonly accounted: number | undefined;
    readonly resident: number | undefined;
  };
  /** By reason, most first. */
  readonly dropped: readonly (readonly [reason: string, count: number])[];
}

export function readSummary(state: unknown): Summary {
  const of = members(state);
  const dropped = entriesIn(of["dropped"])
    .flatMap(([reason, count]) => (numberIn(count) === undefined ? [] : [[reason, count as number] as const]))
    .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return {
    streams: numberIn(of["streams_active"]),
    eventsPerS: numberIn(of["events_per_s"]),
    rowsPerS: numberIn(of["rows_per_s"]),
    lagMs: numberIn(of["lag_ms"]),
    jitterMs: numberIn(of["tick_jitter_ms"]),
    alerts: numberIn(of["alerts_raised"]),
    memory: {
      planned: numberIn(of["memory_planned_bytes"]),
      accounted: numberIn(of["memory_accounted_bytes"]),
      resident: numberIn(of["memory_resident_bytes"]),
    },
    dropped,
  };
}

export interface Glance {
  readonly id: string;
  readonly lastTs: number | undefined;
  readonly eventsPerS: number | undefined;
  readonly alerts: number | undefined;
}

export interface Devices {
  readonly devices: readonly Glance[];
  readonly total: number | undefined;
  readonly sizes: readonly string[];
}

const DEVICES_MAX = 100;
const SIZES_MAX = 8;

export function readDevices(state: unknown): Devices {
  const of = members(state);
  const devices = listIn(of["devices"])
    .slice(0, DEVICES_MAX)
    .flatMap((each): Glance[] => {
      const device = members(each);
      const id = textIn(device["stream_id"]);
      if (id === undefined || id === "") return [];
      return [
        {
          id,
          lastTs: numberIn(device["last_ts"]),
          eventsPerS: numberIn(device["events_per_s"]),
          alerts: numberIn(device["alerts_raised"]),
        },
      ];
    });
  const sizes = listIn(of["window_sizes"])
    .slice(0, SIZES_MAX)
    .flatMap((size) => textIn(size) ?? []);
  return { devices, total: numberIn(of["total"]), sizes };
}

export interface DeviceState {
  readonly lastTs: number | undefined;
  readonly lastArrivalMs: number | undefined;
  readonly eventsPerS: number | undefined;
  readonly missing: number | undefined;
  readonly alerts: number | undefined;
}

export function readStatus(state: unknown): DeviceState {
  const of = members(state);
  return {
    lastTs: numberIn(of["last_ts"]),
    lastArrivalMs: numberIn(of["last_arrival_ms"]),
    eventsPerS: numberIn(of["events_per_s"]),
    missing: numberIn(of["missing"]),
    alerts: numberIn(of["alerts_raised"]),
  };
}

export interface FieldStats {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly last: number;
}

function readStats(value: unknown): { readonly [field: string]: FieldStats } {
  const read = entriesIn(value).flatMap(([field, each]): [string, FieldStats][] => {
    const of = members(each);
    const [count, min, max, mean] = [of["count"], of["min"], of["max"], of["mean"]].map(numberIn);
    if (count === undefined || min === undefined || max === undefined || mean === undefined) return [];
    return [[field, { count, min, max, mean, last: numberIn(of["last"]) ?? mean }]];
  });
  return Object.fromEntries(read);
}

/** A window, open or closed. */
export interface Row {
  readonly start: number;
  readonly sizeMs: number;
  readonly count: number;
  readonly missing: number | undefined;
  readonly closedBy: string | undefined;
  readonly revision: number | undefined;
  readonly stats: { readonly [field: string]: FieldStats };
}

function readRow(value: unknown, sizeMs: number | undefined): Row[] {
  const of = members(value);
  const [start, count] = [numberIn(of["t_start"]), numberIn(of["count"])];
  if (start === undefined || count === undefined || sizeMs === undefined || sizeMs <= 0) return [];
  return [
    {
      start,
      sizeMs,
      count,
      missing: numberIn(of["missing"]),
      closedBy: textIn(of["closed_by"]),
      revision: numberIn(of["revision"]),
      stats: readStats(of["stats"]),
    },
  ];
}

const ROWS_MAX = 120;

/** Closed windows, oldest first. */
export function readWindows(state: unknown): readonly Row[] {
  const of = members(state);
  const sizeMs = numberIn(of["size_ms"]);
  return listIn(of["rows"])
    .slice(-ROWS_MAX)
    .flatMap((row) => readRow(row, sizeMs))
    .sort((a, b) => a.start - b.start);
}

export interface Points {
  readonly fromMs: number;
  readonly toMs: number;
  readonly series: readonly (readonly [field: string, points: Series])[];
  readonly open: readonly Row[];
}

/** Undefined if the frame covers no time: then there is nothing to draw. */
export function readTelemetry(state: unknown): Points | undefined {
  const of = members(state);
  const [fromMs, toMs] = [numberIn(of["from_ms"]), numberIn(of["to_ms"])];
  if (fromMs === undefined || toMs === undefined) return undefined;
  const series = entriesIn(of["series"]).flatMap(([field, each]): [string, Series][] => {
    const { t, v } = members(each);
    return Array.isArray(t) && Array.isArray(v) ? [[field, { t: t as number[], v: v as number[] }]] : [];
  });
  const open = listIn(of["open"])
    .slice(0, SIZES_MAX)
    .flatMap((row) => readRow(row, numberIn(members(row)["size_ms"])));
  return { fromMs, toMs, series, open };
}

export interface AlertLine {
  readonly rule: string;
  readonly raised: boolean;
  readonly severity: "info" | "warning" | "critical";
  readonly field: string | undefined;
  readonly value: number | undefined;
  readonly threshold: number | undefined;
}

export function readAlert(data: unknown): AlertLine {
  const of = members(data);
  const severity = of["severity"];
  return {
    rule: textIn(of["rule"]) ?? "unnamed rule",
    raised: of["action"] !== "clear",
    severity: severity === "info" || severity === "critical" ? severity : "warning",
    field: textIn(of["field"]),
    value: numberIn(of["value"]),
    threshold: numberIn(of["threshold"]),
  };
}
