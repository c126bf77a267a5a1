// What the server was told, and what it must be told so that it sends what is wanted.
// Owns: subscription ids of one connection. Never: a socket, values.
import type { Ack, ClientMessage, SubscribeEntry } from "./protocol.js";
import type { Entry, Registry } from "./registry.js";

/** Room for the words around a list, bytes. */
const ENVELOPE_BYTES = 64;

export class Wire {
  readonly #registry: Registry;
  readonly #byId = new Map<number, Entry>();
  #nextId = 1;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** How many subscriptions are open. */
  get size(): number {
    return this.#byId.size;
  }

  find(id: number): Entry | undefined {
    return this.#byId.get(id);
  }

  /** The connection is gone, and with it all that was told. */
  reset(): void {
    this.#registry.forgetWire();
    this.#byId.clear();
    this.#nextId = 1;
  }

  /** The server ended a subscription. */
  ended(id: number): Entry | undefined {
    const entry = this.#byId.get(id);
    this.#byId.delete(id);
    if (entry !== undefined) entry.wire = undefined;
    return entry;
  }

  /**
   * The messages that bring the server to what is wanted now: ends first, so that there is room. What begins or ends
   * goes into `touched`: its flags change.
   */
  reconcile(limits: Ack, hidden: boolean, now: number, touched: Set<Entry>): ClientMessage[] {
    const ids = this.#registry.takeOrphans();
    for (const id of ids) this.#byId.delete(id);
    const rates: { id: number; max_hz: number }[] = [];
    const begin: Entry[] = [];
    for (const entry of this.#registry.entries()) {
      const wanted = this.#registry.isWanted(entry, now);
      if (entry.wire === undefined) {
        if (wanted) begin.push(entry);
      } else if (!wanted) {
        ids.push(entry.wire.id);
        this.ended(entry.wire.id);
        touched.add(entry);
      } else if (entry.topic.kind === "state" && entry.wire.maxHz !== rateOf(entry, hidden)) {
        entry.wire.maxHz = rateOf(entry, hidden);
        rates.push({ id: entry.wire.id, max_hz: entry.wire.maxHz });
      }
    }
    for (const entry of begin) touched.add(entry);
    const subscriptions = begin.map((entry) => this.#begin(entry, hidden));
    return [
      ...batches(ids, limits).map((batch): ClientMessage => ({ type: "complete", ids: batch })),
      ...batches(rates, limits).map((batch): ClientMessage => ({ type: "rate", rates: batch })),
      ...batches(subscriptions, limits).map((batch): ClientMessage => ({ type: "subscribe", subscriptions: batch })),
    ];
  }

  /** Asks again for what came after the position. */
  recover(entry: Entry): ClientMessage[] {
    if (entry.wire === undefined) return [];
    return [{ type: "subscribe", subscriptions: [subscription(entry.wire.id, entry)] }];
  }

  #begin(entry: Entry, hidden: boolean): SubscribeEntry {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#byId.set(id, entry);
    entry.wire = { id, maxHz: rateOf(entry, hidden) };
    if (entry.subject.kind === "event") entry.subject.asked();
    return subscription(id, entry);
  }
}

const rateOf = (entry: Entry, hidden: boolean): number => (hidden ? 0 : entry.maxHz);

function subscription(id: number, entry: Entry): SubscribeEntry {
  const rate = entry.topic.kind === "state" ? { max_hz: entry.wire?.maxHz ?? 0 } : {};
  const position = entry.subject.position;
  return { id, topic: entry.topic.name, ...rate, ...(position === undefined ? {} : { position }) };
}

/** Cuts a list into what one message may hold. Names are percent-encoded, so characters are bytes. */
function batches<T>(items: readonly T[], limits: Ack): T[][] {
  const cut: T[][] = [];
  let bytes = Infinity;
  for (const item of items) {
    const size = JSON.stringify(item).length + 1;
    const last = cut.at(-1);
    if (last === undefined || last.length >= limits.batch_max || bytes + size > limits.message_max) {
      cut.push([item]);
      bytes = ENVELOPE_BYTES + size;
    } else {
      last.push(item);
      bytes += size;
    }
  }
  return cut;
}
