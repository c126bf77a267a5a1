// A fleet as plain functions of time: bowls and wearables as `evenkeel demo` has them. Time is moved by whoever tests.
// Never: a timer, a socket. Nothing is remembered but the time and who is silent.
import type { Alert, DeviceStatus, FleetDevices, FleetSummary, Stats, Telemetry, Windows } from "@evenkeel/client";

/** 1 March 2026, noon. */
export const START_MS = Date.UTC(2026, 2, 1, 12);
/** How much of the past a gateway holds. */
export const HELD_MS = 5 * 60_000;
export const SIZES: Readonly<Record<string, number>> = { "5s": 5_000, "1m": 60_000 };
const ROWS_MAX = 120;
const ALERT_EVERY_MS = 40_000;
const ALERT_HOLDS_MS = 15_000;

const wave = (t: number, periodMs: number, phase = 0): number => Math.sin((t / periodMs + phase) * 2 * Math.PI);
/** In [-1, 1), the same for the same time. */
const noise = (t: number, seed: number): number =>
  ((Math.imul(Math.trunc(t) ^ (seed * 0x9e3779b1), 0x85ebca6b) >>> 8) / 0x1000000) * 2 - 1;

type Measure = (t: number, seed: number) => number;

const KINDS: Readonly<
  Record<string, { readonly periodMs: number; readonly fields: Readonly<Record<string, Measure>> }>
> = {
  bowl: {
    periodMs: 100,
    fields: {
      weight: (t, seed) => 400 - ((t / 1000 + seed * 37) % 600) * 0.55 + noise(t, seed) * 1.2,
      temp: (t, seed) => 18 + wave(t, 90_000, seed / 7) * 1.5 + noise(t, seed + 1) * 0.15,
    },
  },
  wearable: {
    periodMs: 100,
    fields: {
      ax: (t, seed) => wave(t, 1_300) + noise(t, seed) / 8,
      ay: (t, seed) => wave(t, 1_300, 0.25) + noise(t, seed + 1) / 8,
      az: (t, seed) => 1 + noise(t, seed + 2) / 16,
      pulse: (t, seed) => 72 + 8 * wave(t, 50_000, seed / 5) + noise(t, seed + 3),
    },
  },
};

export const DEVICES: readonly string[] = [
  ...Array.from({ length: 12 }, (_, n) => `bowl/${String(n).padStart(4, "0")}`),
  ...Array.from({ length: 8 }, (_, n) => `wearable/${String(n).padStart(4, "0")}`),
];

const kindOf = (id: string): (typeof KINDS)[string] | undefined => KINDS[id.split("/")[0] ?? ""];

export class Fleet {
  now = START_MS;
  /** Since when a device is silent. */
  readonly silent = new Map<string, number>();
  /** Since when nobody sums up the fleet. */
  summaryStoppedAt: number | undefined;

  advance(ms: number): void {
    this.now += ms;
  }

  knows(id: string): boolean {
    return DEVICES.includes(id);
  }

  /** Up to when a device was heard. */
  heardAt(id: string): number {
    return this.silent.get(id) ?? this.now;
  }

  telemetry(id: string, fromMs: number): Telemetry {
    const kind = kindOf(id);
    const to = this.heardAt(id);
    const from = Math.max(fromMs, to - HELD_MS);
    const series = Object.entries(kind?.fields ?? {}).map(([field, measure]) => {
      const period = kind?.periodMs ?? 1_000;
      const t: number[] = [];
      for (let at = Math.ceil(from / period) * period; at <= to; at += period) t.push(at);
      return [field, { t, v: t.map((at) => round(measure(at, seedOf(id)))) }] as const;
    });
    const open = Object.values(SIZES).map((size) => {
      const start = Math.floor(to / size) * size;
      return {
        size_ms: size,
        t_start: start,
        count: Math.floor((to - start) / (kind?.periodMs ?? 1_000)),
        stats: this.#stats(id, start, to),
      };
    });
    return { from_ms: from, to_ms: to, series: Object.fromEntries(series), open };
  }

  windows(id: string, size: number): Windows {
    const end = Math.floor((this.heardAt(id) - 1_000) / size) * size;
    const rows = Array.from({ length: ROWS_MAX }, (_, i) => {
      const start = end - (ROWS_MAX - i) * size;
      const n = start / size;
      const missing = n % 23 === 7 ? 3 : 0;
      const late = n % 17 === 5;
      const count = size / (kindOf(id)?.periodMs ?? 1_000) - missing;
      return {
        t_start: start,
        closed_by: n % 31 === 2 ? "idle" : "watermark",
        revision: late ? 1 : 0,
        count,
        missing,
        stats: this.#stats(id, start, start + size),
      };
    });
    // A minute in which nothing came at all.
    return {
      size_ms: size,
      rows: rows.filter(
        ({ t_start }) => size > 5_000 || Math.floor(t_start / 60_000) % 9 !== 4 || t_start % 60_000 < 40_000,
      ),
    };
  }

  status(id: string): DeviceStatus {
    const to = this.heardAt(id);
    const silent = this.silent.has(id);
    const missing = this.windows(id, 5_000).rows.reduce((sum, row) => sum + row.missing, 0);
    return {
      last_ts: to,
      last_arrival_ms: to + 40,
      events_per_s: silent ? 0 : 1000 / (kindOf(id)?.periodMs ?? 1_000),
      missing,
      alerts_raised: this.#raised(id),
    };
  }

  summary(): FleetSummary {
    const t = this.summaryStoppedAt ?? this.now;
    const since = (t - START_MS) / 1000;
    const rate = 160 + 14 * wave(t, 45_000) + 6 * noise(Math.floor(t / 500), 9) + (t % 60_000 < 4_000 ? 240 : 0);
    return {
      streams_active: DEVICES.length - this.silent.size,
      events_per_s: Math.round(rate),
      rows_per_s: round(4.3 + noise(Math.floor(t / 500), 3) * 0.4),
      dropped: {
        duplicate: 1_204 + Math.floor(since * 2),
        late: 318 + Math.floor(since / 3),
        future: 96 + Math.floor(since),
        malformed: 0,
        too_old: 0,
        overflow: 0,
      },
      lag_ms: Math.round(42 + 20 * Math.abs(noise(Math.floor(t / 500), 5)) + (t % 60_000 < 4_000 ? 380 : 0)),
      tick_jitter_ms: round(1.6 + Math.abs(noise(Math.floor(t / 10_000), 6))),
      memory_planned_bytes: 72 * 1024 * 1024,
      memory_accounted_bytes: 21.5 * 1024 * 1024 + Math.round(noise(Math.floor(t / 500), 7) * 2e5),
      memory_resident_bytes: 58.2 * 1024 * 1024 + Math.round(noise(Math.floor(t / 500), 8) * 4e5),
      alerts_raised: DEVICES.reduce((sum, id) => sum + this.#raised(id), 0),
    };
  }

  devices(): FleetDevices {
    const devices = DEVICES.map((id) => ({
      stream_id: id,
      last_ts: this.heardAt(id),
      events_per_s: this.silent.has(id) ? 0 : 10,
      alerts_raised: this.#raised(id),
    }));
    devices.sort((a, b) => b.alerts_raised - a.alerts_raised);
    return { devices, total: 4_000, window_sizes: Object.keys(SIZES) };
  }

  /** How many alerts a device's log holds by now: offsets below it are there. */
  alertsEnd(id: string): number {
    return Math.max(0, alertsBy(this.heardAt(id) - phaseOf(id)));
  }

  alert(id: string, offset: number): { ts: number; data: Alert } {
    const round40 = Math.floor(offset / 2);
    const raised = offset % 2 === 0;
    const ts = START_MS + phaseOf(id) + round40 * ALERT_EVERY_MS + (raised ? 0 : ALERT_HOLDS_MS);
    const severity = round40 % 3 === 2 ? "critical" : "warning";
    const data = {
      rule: "weight-low",
      action: raised ? "raise" : "clear",
      severity,
      field: "weight",
      value: raised ? 118.4 : 131,
      threshold: raised ? 120 : 130,
      t_start: ts - 5_000,
    };
    return { ts, data };
  }

  #raised(id: string): number {
    return this.alertsEnd(id) % 2;
  }

  #stats(id: string, from: number, to: number): { [field: string]: Stats } {
    const kind = kindOf(id);
    // A few samples are enough: the tests compare with what was sent, not with the wave.
    const at = [0, 0.25, 0.5, 0.75, 0.99].map((share) => from + share * (to - from));
    return Object.fromEntries(
      Object.entries(kind?.fields ?? {}).map(([field, measure]) => {
        const v = at.map((t) => round(measure(t, seedOf(id))));
        const mean = round(v.reduce((a, b) => a + b, 0) / v.length);
        return [
          field,
          {
            count: Math.max(1, Math.floor((to - from) / (kind?.periodMs ?? 1_000))),
            min: Math.min(...v),
            max: Math.max(...v),
            mean,
            last: v[v.length - 1] as number,
          },
        ];
      }),
    );
  }
}

const seedOf = (id: string): number => DEVICES.indexOf(id) + 1;
const round = (v: number): number => Math.round(v * 1000) / 1000;
/** Only some bowls raise alerts, each at its own time. */
const phaseOf = (id: string): number =>
  id.startsWith("bowl/") && seedOf(id) % 4 === 1 ? 4_000 * (seedOf(id) - 1) + 2_000 : 1e15;
const alertsBy = (since: number): number => {
  const ms = since - START_MS;
  if (ms < 0) return 0;
  return Math.floor(ms / ALERT_EVERY_MS) * 2 + (ms % ALERT_EVERY_MS >= ALERT_HOLDS_MS ? 2 : 1);
};
