// What a session tells about itself. Owns: counts, the words of a leak. Never: decisions.
import type { LinkState } from "./link.js";
import type { EventPosition, StatePosition } from "./protocol.js";
import type { LogLine, Registry } from "./registry.js";

/** Counts since the session began. */
export interface Counts {
  /** Frames that were newer than all before. */
  framesTaken: number;
  /** Frames that were not, and were ignored. */
  framesStale: number;
  eventsTaken: number;
  /** Events or fragments seen before. */
  eventsRepeated: number;
  /** Gaps that recovery was asked for. */
  gaps: number;
  /** Gaps that could not be closed. */
  gapsLost: number;
  /** Fragments of topics that are not subscribed any more. */
  fragmentsStray: number;
  messagesUnknown: number;
  messagesBroken: number;
  paints: number;
  listenerErrors: number;
  /** How often each state of the connection was entered. */
  readonly transitions: Record<LinkState, number>;
}

export const noCounts = (): Counts => ({
  framesTaken: 0,
  framesStale: 0,
  eventsTaken: 0,
  eventsRepeated: 0,
  gaps: 0,
  gapsLost: 0,
  fragmentsStray: 0,
  messagesUnknown: 0,
  messagesBroken: 0,
  paints: 0,
  listenerErrors: 0,
  transitions: { disconnected: 0, connecting: 0, connected: 0, backoff: 0 },
});

export interface TopicDiagnostics {
  readonly topic: string;
  readonly kind: "state" | "event";
  readonly holders: readonly { readonly holder: string; readonly ageMs: number }[];
  readonly onWire: boolean;
  readonly listeners: number;
  readonly messages: number;
  /** Mean of the last ten seconds. */
  readonly messagesPerSecond: number;
  readonly position: StatePosition | EventPosition | undefined;
  /** Since the last frame came; undefined for events and before the first. */
  readonly lastFrameAgeMs: number | undefined;
  readonly problem: string | undefined;
}

/** What must not grow: what a test compares before and after. */
export interface Baseline {
  /** Sum of leases that are not released. */
  readonly references: number;
  /** Listeners of topics and of the status. */
  readonly listeners: number;
}

export interface Diagnostics extends Baseline {
  readonly state: LinkState;
  /** Subscriptions on the wire. */
  readonly topicsActive: number;
  /** Topics whose value is kept. */
  readonly topicsKept: number;
  readonly counts: Counts;
  readonly topics: readonly TopicDiagnostics[];
  /** The last acquisitions and releases. */
  readonly log: readonly LogLine[];
}

export function topicDiagnostics(registry: Registry, now: number): TopicDiagnostics[] {
  return [...registry.entries()].map(({ topic, subject, holdings, wire, refusal }) => ({
    topic: topic.name,
    kind: topic.kind,
    holders: [...holdings].map(({ holder, since }) => ({ holder, ageMs: now - since })),
    onWire: wire !== undefined,
    listeners: subject.listeners,
    messages: subject.meter.total,
    messagesPerSecond: subject.meter.perSecond(now),
    position: subject.position,
    lastFrameAgeMs:
      subject.kind === "state" && subject.last !== undefined ? now - subject.last.receivedMs : undefined,
    problem: refusal === undefined ? undefined : `${refusal.reason}: ${refusal.message}`,
  }));
}

/** Throws if more is held than in the baseline, and names who holds it. */
export function assertBaseline(now: Diagnostics, baseline: Baseline): void {
  if (now.references <= baseline.references && now.listeners <= baseline.listeners) return;
  const held = now.topics
    .filter(({ holders, listeners }) => holders.length + listeners > 0)
    .map(({ topic, holders, listeners }) => {
      const names = holders.map(({ holder, ageMs }) => `${holder} (${Math.round(ageMs)} ms)`).join(", ");
      return `  ${topic}: ${names || "nobody"}; ${listeners} listeners`;
    });
  throw new Error(
    `${now.references} leases and ${now.listeners} listeners, the baseline is ${baseline.references} and ` +
      `${baseline.listeners}: release or dispose what is left\n${held.join("\n")}`,
  );
}
