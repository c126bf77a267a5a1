// What is known of one topic: the newest frame or the last events, and the view that screens are painted from.
// Owns: cursor, value, view, listeners, counts. Never: who holds it, the connection, a clock.
// Bound: one frame; of an event topic the last EVENTS_KEPT events.
import { EventCursor, StateCursor, type Then } from "./cursor.js";
import type { EventPosition, Events, Frame, StatePosition, WireEvent } from "./protocol.js";
import { RateMeter } from "./meter.js";
import { Signal } from "./signal.js";

/** How many events of a topic late listeners still get. */
export const EVENTS_KEPT = 64;

/** What a screen should say about a value. */
export interface Flags {
  /** Connected, the source runs, and neither stale nor paused. */
  readonly live: boolean;
  /** The server says so, or nothing can come: not connected, or not subscribed. */
  readonly stale: boolean;
  /** The server says so, or the page is hidden. */
  readonly paused: boolean;
  readonly alerting: boolean;
  /** Data arrived a short while before the frame, and the frame is not stale. */
  readonly recent: boolean;
  readonly partial: boolean;
}

/** A state as it was painted. The same object until the next paint that changes something. */
export interface StateView<S> {
  readonly state: S;
  readonly epoch: string;
  readonly seq: number;
  /** When the state was taken, ms since 1970, by the server's clock. */
  readonly ts: number;
  readonly source: string;
  readonly watermark: number | null;
  readonly flags: Flags;
  /** When it came, ms, by the clock of the client. */
  readonly receivedMs: number;
}

/** One event of an event topic. */
export interface TopicEvent<E> {
  readonly epoch: string;
  readonly offset: number;
  readonly ts: number;
  readonly data: E;
}

/** The last events as they were painted, oldest first. */
export interface EventView<E> {
  readonly events: readonly TopicEvent<E>[];
  /** How often events were lost: the server could not close a gap. */
  readonly lost: number;
  readonly flags: Flags;
}

/** What of the world outside decides about flags. */
export interface Surroundings {
  readonly reachable: boolean;
  readonly hidden: boolean;
}

/** The flags of a frame, given the world around it. */
export function flagsOf(said: readonly string[], around: Surroundings): Flags {
  const stale = said.includes("stale") || !around.reachable;
  const paused = said.includes("paused") || around.hidden;
  return {
    live: said.includes("live") && !stale && !paused,
    stale,
    paused,
    alerting: said.includes("alerting"),
    recent: said.includes("recent") && !stale,
    partial: said.includes("partial"),
  };
}

/** A frame before it is painted. */
export interface Received {
  readonly frame: Frame;
  readonly receivedMs: number;
}

export class StateSubject {
  readonly kind = "state";
  readonly painted: Signal<void>;
  readonly arrived: Signal<Received>;
  readonly meter = new RateMeter();
  readonly #cursor = new StateCursor();
  #last: Received | undefined;
  #view: StateView<unknown> | undefined;

  constructor(report: (error: unknown) => void) {
    this.painted = new Signal(report);
    this.arrived = new Signal(report);
  }

  get position(): StatePosition | undefined {
    return this.#cursor.position;
  }

  get last(): Received | undefined {
    return this.#last;
  }

  get view(): StateView<unknown> | undefined {
    return this.#view;
  }

  get listeners(): number {
    return this.painted.size + this.arrived.size;
  }

  /** Takes a frame if it is newer, and tells those who listen at the rate of arrival. */
  take(frame: Frame, now: number): boolean {
    this.meter.count(now);
    if (!this.#cursor.take(frame)) return false;
    this.#last = { frame, receivedMs: now };
    this.arrived.emit(this.#last);
    return true;
  }

  paint(around: Surroundings): void {
    if (this.#last !== undefined) {
      const { frame, receivedMs } = this.#last;
      const { state, epoch, seq, ts, source, watermark } = frame;
      const flags = flagsOf(frame.flags, around);
      this.#view = { state, epoch, seq, ts, source, watermark, flags, receivedMs };
    }
    this.painted.emit();
  }
}

export class EventSubject {
  readonly kind = "event";
  readonly painted: Signal<void>;
  readonly arrived: Signal<TopicEvent<unknown>>;
  readonly meter = new RateMeter();
  readonly #cursor = new EventCursor();
  #events: readonly TopicEvent<unknown>[] = [];
  #lost = 0;
  #taken = 0;
  #view: EventView<unknown> | undefined;

  constructor(report: (error: unknown) => void) {
    this.painted = new Signal(report);
    this.arrived = new Signal(report);
  }

  get position(): EventPosition | undefined {
    return this.#cursor.position;
  }

  get last(): readonly TopicEvent<unknown>[] {
    return this.#events;
  }

  get view(): EventView<unknown> | undefined {
    return this.#view;
  }

  get listeners(): number {
    return this.painted.size + this.arrived.size;
  }

  /** How many events were new. */
  get taken(): number {
    return this.#taken;
  }

  /** A subscribe with the position has left. */
  asked(): void {
    this.#cursor.asked();
  }

  take(fragment: Events, now: number): Then {
    this.meter.count(now);
    const { then, fresh } = this.#cursor.take(fragment);
    if (then === "lost") this.#lost += 1;
    const events = fresh.map((event: WireEvent) => ({ epoch: fragment.epoch, ...event }));
    this.#taken += events.length;
    this.#events = [...this.#events, ...events].slice(-EVENTS_KEPT);
    for (const event of events) this.arrived.emit(event);
    return then;
  }

  paint(around: Surroundings): void {
    if (this.position !== undefined) {
      this.#view = { events: this.#events, lost: this.#lost, flags: flagsOf(["live"], around) };
    }
    this.painted.emit();
  }
}

export type Subject = StateSubject | EventSubject;
