// Which topics are held, by whom, and for how long after.
// Owns: entries, holdings, linger, refusals, the log of acquisitions. Never: the connection, values, a clock.
// A holding is an object and is released by identity: releasing it twice cannot take another holder's share.
// Bound: `topicsMax` entries; past it the one that lingered longest goes, and if all are held acquire throws.
import type { AnyTopic } from "./topic.js";
import { EventSubject, StateSubject, type Subject } from "./subject.js";

export interface RegistrySettings {
  /** How long the server goes on sending after the last release, ms. */
  readonly subscriptionLingerMs: number;
  /** How long the last value is kept, ms. */
  readonly valueLingerMs: number;
  readonly topicsMax: number;
}

export const REGISTRY_SETTINGS: RegistrySettings = {
  subscriptionLingerMs: 5_000,
  valueLingerMs: 60_000,
  topicsMax: 1024,
};

/** Longest name of a topic, characters. */
const NAME_MAX = 1024;
/** How many acquisitions and releases the log keeps. */
const LOG_KEPT = 64;

/** One holder's share in a topic. */
export interface Holding {
  readonly entry: Entry;
  readonly holder: string;
  readonly maxHz: number;
  readonly since: number;
}

export interface LogLine {
  readonly at: number;
  readonly what: "acquire" | "release";
  readonly topic: string;
  readonly holder: string;
}

/** Why the server ended a subscription. */
export interface Refusal {
  readonly reason: string;
  readonly message: string;
  /** When to ask again; Infinity = not on this connection. */
  readonly retryAt: number;
}

/** A topic that somebody holds, or held a short while ago. */
export class Entry {
  readonly topic: AnyTopic;
  readonly subject: Subject;
  readonly holdings = new Set<Holding>();
  /** The subscription on the wire, if any. */
  wire: { readonly id: number; maxHz: number } | undefined;
  refusal: Refusal | undefined;
  /** When the last holding was released. */
  idleSince = 0;
  /** The fastest rate of those who hold it, or held it last, per second. */
  maxHz = 0;

  constructor(topic: AnyTopic, subject: Subject) {
    this.topic = topic;
    this.subject = subject;
  }
}

export class Registry {
  readonly #settings: RegistrySettings;
  readonly #report: (error: unknown) => void;
  readonly #entries = new Map<string, Entry>();
  /** Those whose time comes: idle ones, and refused ones that may ask again. */
  readonly #timed = new Set<Entry>();
  readonly #log: LogLine[] = [];
  /** Subscriptions whose entry is gone while they were on the wire. */
  #orphans: number[] = [];

  constructor(settings: RegistrySettings, report: (error: unknown) => void) {
    this.#settings = settings;
    this.#report = report;
  }

  get log(): readonly LogLine[] {
    return [...this.#log];
  }

  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  find(name: string): Entry | undefined {
    return this.#entries.get(name);
  }

  /** Sum of holdings. */
  get references(): number {
    let sum = 0;
    for (const entry of this.#entries.values()) sum += entry.holdings.size;
    return sum;
  }

  acquire(topic: AnyTopic, holder: string, maxHz: number, now: number): Holding {
    const entry = this.#entries.get(topic.name) ?? this.#create(topic);
    if (entry.topic.kind !== topic.kind) {
      throw new TypeError(`${topic.name} is held as ${entry.topic.kind} topic: acquire it as that`);
    }
    const holding: Holding = { entry, holder, maxHz, since: now };
    entry.holdings.add(holding);
    this.#note(now, "acquire", holding);
    this.#setRate(entry);
    // Who holds it anew may ask anew.
    if (entry.holdings.size === 1) entry.refusal = undefined;
    this.#retime(entry);
    return holding;
  }

  /** False if it was released before: nothing happened then. */
  release(holding: Holding, now: number): boolean {
    const { entry } = holding;
    if (!entry.holdings.delete(holding)) return false;
    this.#note(now, "release", holding);
    if (entry.holdings.size === 0) entry.idleSince = now;
    else this.#setRate(entry);
    this.#retime(entry);
    return true;
  }

  refuse(entry: Entry, refusal: Refusal): void {
    entry.refusal = refusal;
    this.#retime(entry);
  }

  /** A new connection: what the last one refused may be asked again, nothing is on the wire. */
  forgetWire(): void {
    this.#orphans = [];
    for (const entry of this.#entries.values()) {
      entry.wire = undefined;
      entry.refusal = undefined;
      this.#retime(entry);
    }
  }

  /** Whether the topic should be on the wire: held, or lingering, and not refused. */
  isWanted(entry: Entry, now: number): boolean {
    const held = entry.holdings.size > 0 || now < entry.idleSince + this.#settings.subscriptionLingerMs;
    return held && (entry.refusal === undefined || now >= entry.refusal.retryAt);
  }

  /** When something changes by itself. */
  wakeAt(now: number): number {
    let at = Infinity;
    for (const entry of this.#timed) {
      const lingers = entry.idleSince + this.#settings.subscriptionLingerMs;
      if (entry.holdings.size === 0) at = Math.min(at, now < lingers ? lingers : this.#forgetAt(entry));
      const retryAt = entry.refusal?.retryAt ?? Infinity;
      if (now < retryAt) at = Math.min(at, retryAt);
    }
    return at;
  }

  /** Forgets the values whose time is over. */
  sweep(now: number): void {
    for (const entry of [...this.#timed]) {
      if (entry.holdings.size === 0 && now >= this.#forgetAt(entry)) this.#remove(entry);
      else if (now >= (entry.refusal?.retryAt ?? Infinity)) {
        entry.refusal = undefined;
        this.#retime(entry);
      }
    }
  }

  /** Hands over the subscriptions that nobody owns any more. */
  takeOrphans(): number[] {
    const orphans = this.#orphans;
    this.#orphans = [];
    return orphans;
  }

  #create(topic: AnyTopic): Entry {
    if (topic.name.length > NAME_MAX) {
      throw new RangeError(`a topic's name has ${topic.name.length} characters, the limit is ${NAME_MAX}`);
    }
    if (this.#entries.size >= this.#settings.topicsMax) this.#makeRoom();
    const subject = topic.kind === "state" ? new StateSubject(this.#report) : new EventSubject(this.#report);
    const entry = new Entry(topic, subject);
    this.#entries.set(topic.name, entry);
    return entry;
  }

  #makeRoom(): void {
    let oldest: Entry | undefined;
    for (const entry of this.#timed) {
      if (entry.holdings.size === 0 && (oldest === undefined || entry.idleSince < oldest.idleSince)) oldest = entry;
    }
    if (oldest === undefined) {
      throw new RangeError(`${this.#settings.topicsMax} topics are held: release some, or raise topicsMax`);
    }
    this.#remove(oldest);
  }

  #remove(entry: Entry): void {
    if (entry.wire !== undefined) this.#orphans.push(entry.wire.id);
    this.#entries.delete(entry.topic.name);
    this.#timed.delete(entry);
  }

  #forgetAt(entry: Entry): number {
    return entry.idleSince + Math.max(this.#settings.subscriptionLingerMs, this.#settings.valueLingerMs);
  }

  #setRate(entry: Entry): void {
    entry.maxHz = Math.max(...[...entry.holdings].map((holding) => holding.maxHz));
  }

  #retime(entry: Entry): void {
    const timed = entry.holdings.size === 0 || Number.isFinite(entry.refusal?.retryAt ?? Infinity);
    if (timed) this.#timed.add(entry);
    else this.#timed.delete(entry);
  }

  #note(at: number, what: LogLine["what"], { entry, holder }: Holding): void {
    this.#log.push({ at, what, topic: entry.topic.name, holder });
    if (this.#log.length > LOG_KEPT) this.#log.shift();
  }
}
