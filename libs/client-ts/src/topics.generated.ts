// Generated from schemas/ws/topics.json by scripts/topics.mjs; `npm run topics` writes it anew.
import type { EventTopic, StateTopic } from "./topic.js";

/** Points between from_ms and to_ms, down-sampled to first, min, max and last of each bucket. */
export interface Telemetry {
  /** First event time covered. */
  readonly from_ms: number;
  /** Last event time covered. */
  readonly to_ms: number;
  /** Points by field. */
  readonly series: { readonly [name: string]: Series };
  /** Windows that are still filling. */
  readonly open: readonly OpenWindow[];
}

/** Points of one field, by rising time. */
export interface Series {
  /** Event times, ms since 1970. */
  readonly t: readonly number[];
  /** Values, as many as times. */
  readonly v: readonly number[];
}

/** What a window holds so far. */
export interface OpenWindow {
  /** Length. */
  readonly size_ms: number;
  /** First ms of the window. */
  readonly t_start: number;
  /** Events. */
  readonly count: number;
  /** Statistics by field. */
  readonly stats: { readonly [name: string]: Stats };
}

/** Statistics of one field over the events of one window that have it. */
export interface Stats {
  /** Number of values, at least 1. */
  readonly count: number;
  /** Smallest value. */
  readonly min: number;
  /** Largest value. */
  readonly max: number;
  /** Arithmetic mean. */
  readonly mean: number;
  /** Value of the latest event. */
  readonly last: number;
}

/** The newest closed windows, at most 120, oldest first. */
export interface Windows {
  /** Length of each. */
  readonly size_ms: number;
  /** The windows. */
  readonly rows: readonly ClosedWindow[];
}

/** One closed window. */
export interface ClosedWindow {
  /** First ms of the window. */
  readonly t_start: number;
  /** What closed it. */
  readonly closed_by: string;
  /** 0 as first sent; late events raise it. */
  readonly revision: number;
  /** Events. */
  readonly count: number;
  /** Sequence numbers inside that were not counted. */
  readonly missing: number;
  /** Statistics by field. */
  readonly stats: { readonly [name: string]: Stats };
}

/** One device. */
export interface DeviceStatus {
  /** Largest event time; null if it was never heard. */
  readonly last_ts: number | null;
  /** When its last event arrived. */
  readonly last_arrival_ms: number | null;
  /** Over the last 10 s. */
  readonly events_per_s: number;
  /** Sequence numbers missing in the windows at hand. */
  readonly missing: number;
  /** Alerts that are raised now. */
  readonly alerts_raised: number;
}

/** All devices. */
export interface FleetSummary {
  /** Devices heard in the last minute. */
  readonly streams_active: number;
  /** Events that came in. */
  readonly events_per_s: number;
  /** Windows that closed. */
  readonly rows_per_s: number;
  /** Events refused, by reason. */
  readonly dropped: { readonly [name: string]: number };
  /** How far the slowest partition is behind. */
  readonly lag_ms: number;
  /** Largest deviation of a tick in the last minute. */
  readonly tick_jitter_ms: number;
  /** By the plan. */
  readonly memory_planned_bytes: number;
  /** By the accounts of the cores. */
  readonly memory_accounted_bytes: number;
  /** As the system sees it. */
  readonly memory_resident_bytes: number;
  /** Alerts that are raised now. */
  readonly alerts_raised: number;
}

/** Devices worth a look: those with raised alerts first, then the latest heard. */
export interface FleetDevices {
  /** At most 100. */
  readonly devices: readonly DeviceGlance[];
  /** How many there are to choose from. */
  readonly total: number;
  /** As configured (5s, 1m), shortest first. */
  readonly window_sizes: readonly string[];
}

/** One line about a device. */
export interface DeviceGlance {
  /** Its name. */
  readonly stream_id: string;
  /** Largest event time; null if it was never heard. */
  readonly last_ts: number | null;
  /** Over the last 10 s. */
  readonly events_per_s: number;
  /** Alerts that are raised now. */
  readonly alerts_raised: number;
}

/** A rule began or ceased to hold. */
export interface Alert {
  /** Name of the rule. */
  readonly rule: string;
  /** raise or clear. */
  readonly action: string;
  /** info, warning or critical. */
  readonly severity: string;
  /** The field it looks at. */
  readonly field: string;
  /** What it saw. */
  readonly value: number;
  /** What it compared with. */
  readonly threshold: number;
  /** First ms of the window that decided. */
  readonly t_start: number;
}

/** A message to a user. */
export interface Notification {
  /** The device it is about. */
  readonly stream_id: string | null;
  /** info, warning or critical. */
  readonly severity: string;
  /** One sentence. */
  readonly text: string;
}

/** Makes the topics, by name. */
export const topics = {
  /** Points of a device's fields and its open windows. */
  deviceTelemetry: ({ id }: { id: string }): StateTopic<Telemetry> => ({ kind: "state", name: `device/${encodeURIComponent(id)}/telemetry` }),
  /** Closed windows of one size (as configured: 5s, 1m), for tiles. */
  deviceWindows: ({ id, size }: { id: string; size: string }): StateTopic<Windows> => ({ kind: "state", name: `device/${encodeURIComponent(id)}/windows/${encodeURIComponent(size)}` }),
  /** When a device was last heard and how complete its data is. */
  deviceStatus: ({ id }: { id: string }): StateTopic<DeviceStatus> => ({ kind: "state", name: `device/${encodeURIComponent(id)}/status` }),
  /** Totals over all devices. */
  fleetSummary: (): StateTopic<FleetSummary> => ({ kind: "state", name: "fleet/summary" }),
  /** Some devices to look at, and the window sizes there are. */
  fleetDevices: (): StateTopic<FleetDevices> => ({ kind: "state", name: "fleet/devices" }),
  /** Alerts of a device, raised and cleared. */
  deviceAlerts: ({ id }: { id: string }): EventTopic<Alert> => ({ kind: "event", name: `device/${encodeURIComponent(id)}/alerts` }),
  /** What a user should hear of, over all of their devices. */
  userNotifications: ({ id }: { id: string }): EventTopic<Notification> => ({ kind: "event", name: `user/${encodeURIComponent(id)}/notifications` }),
} as const;
