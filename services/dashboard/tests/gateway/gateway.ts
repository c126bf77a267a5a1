// A small gateway over a simulated fleet: what schemas/ws/gateway.md promises, and as strict as it demands.
// Owns: connections, their subscriptions. Never: a socket (server.ts has them), a clock (the fleet's time is it).
import type { ClientMessage, Fragment, SubscribeEntry } from "../../../../libs/client-ts/src/protocol.js";
import { readClientMessage } from "../../../../libs/client-ts/tests/gateway.js";
import { SIZES, type Fleet } from "./fleet.js";

const LIMITS = { ping_ms: 15_000, batch_max: 128, subscriptions_max: 256, message_max: 65_536 };
const EPOCH = "a";

interface Subscription {
  readonly id: number;
  readonly topic: string;
  maxHz: number;
  /** Last seq or offset that the client has. */
  sent: number | undefined;
  /** Up to where its telemetry went. */
  toMs: number | undefined;
  dueMs: number;
  answer: "none" | "plain" | "positioned";
}

/** How a socket is used. */
export interface Wire {
  send(text: string): void;
  close(code: number, reason: string): void;
  /** Whether what was sent before still waits: then a tick is skipped, and the next has the newest. */
  readonly busy: boolean;
}

export class Gateway {
  readonly fleet: Fleet;
  readonly connections = new Set<Connection>();
  /** Who has it may come in; undefined: everybody. */
  token: string | undefined;
  /** Topics that are not sent, with the reason. */
  readonly refused = new Map<string, string>();

  constructor(fleet: Fleet) {
    this.fleet = fleet;
  }

  connect(wire: Wire): Connection {
    const connection = new Connection(this, wire);
    this.connections.add(connection);
    return connection;
  }

  /** One paint tick of every connection. */
  tick(): void {
    for (const connection of this.connections) connection.tick();
  }

  /** Whether somebody has not taken yet what was sent. */
  get busy(): boolean {
    return [...this.connections].some((connection) => connection.busy);
  }
}

export class Connection {
  readonly #gateway: Gateway;
  readonly #wire: Wire;
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #usedIds = new Set<number>();
  #greeted = false;

  constructor(gateway: Gateway, wire: Wire) {
    this.#gateway = gateway;
    this.#wire = wire;
  }

  get busy(): boolean {
    return this.#wire.busy;
  }

  closed(): void {
    this.#gateway.connections.delete(this);
  }

  /** What the server says on its own: rate, drain. */
  say(message: object): void {
    this.#wire.send(JSON.stringify(message));
  }

  close(code: number, reason: string): void {
    this.closed();
    this.#wire.close(code, reason);
  }

  receive(text: string): void {
    try {
      if (text.length > LIMITS.message_max) throw new Error("a message past message_max");
      const message = readClientMessage(text);
      if (this.#greeted === (message.type === "connection_init")) throw new Error("out of turn");
      this.#act(message);
    } catch (error) {
      this.close(4500, String(error instanceof Error ? error.message : error).slice(0, 120));
    }
  }

  #act(message: ClientMessage): void {
    switch (message.type) {
      case "connection_init": {
        const { token, fleet } = this.#gateway;
        if (token !== undefined && message.token !== token) return this.close(4501, "the credential is not known");
        this.#greeted = true;
        return this.say({ type: "connection_ack", session: "sample-1", server_ms: fleet.now, ...LIMITS });
      }
      case "subscribe":
        if (message.subscriptions.length > LIMITS.batch_max) throw new Error("more than batch_max at once");
        for (const entry of message.subscriptions) this.#subscribe(entry);
        return;
      case "complete":
        for (const id of message.ids) this.#subscriptions.delete(id);
        return;
      case "rate":
        for (const { id, max_hz } of message.rates) this.#rate(id, max_hz);
        return;
      case "ping":
        return this.say({ type: "pong" });
      default:
        return;
    }
  }

  #rate(id: number, maxHz: number): void {
    const subscription = this.#subscriptions.get(id);
    if (subscription === undefined) return;
    // After a pause the newest comes at once, and covers all that is held.
    if (subscription.maxHz === 0 && maxHz > 0)
      Object.assign(subscription, { sent: undefined, toMs: undefined, dueMs: 0 });
    subscription.maxHz = maxHz;
  }

  #subscribe({ id, topic, max_hz, position }: SubscribeEntry): void {
    const before = this.#subscriptions.get(id);
    if (before === undefined && this.#usedIds.has(id)) throw new Error(`id ${id} is used again`);
    if (before !== undefined && before.topic !== topic) throw new Error(`id ${id} is another topic's`);
    this.#usedIds.add(id);
    const ended = (reason: string, why: string): void =>
      this.say({ type: "complete", ended: [{ id, reason, message: why }] });
    const refusal = this.#gateway.refused.get(topic);
    if (refusal !== undefined) return ended("forbidden", refusal);
    if (this.#subscriptions.size >= LIMITS.subscriptions_max) return ended("limit", "too many subscriptions");
    if (topicOf(topic) === undefined) return ended("unknown_topic", `there is no ${topic}`);
    const at = position?.epoch !== EPOCH ? undefined : "seq" in position ? position.seq : position.offset;
    const answer = position === undefined ? "plain" : "positioned";
    this.#subscriptions.set(id, { id, topic, maxHz: max_hz ?? 10, sent: at, toMs: undefined, dueMs: 0, answer });
  }

  tick(): void {
    if (!this.#greeted || this.#wire.busy) return;
    const fragments = [...this.#subscriptions.values()].flatMap((subscription) => this.#fragment(subscription));
    if (fragments.length > 0) this.say({ type: "next", server_ms: this.#gateway.fleet.now, fragments });
  }

  #fragment(subscription: Subscription): Fragment[] {
    const topic = topicOf(subscription.topic);
    if (topic === undefined) return [];
    return topic.kind === "alerts" ? this.#events(subscription, topic.id) : this.#frame(subscription, topic);
  }

  #events(subscription: Subscription, device: string): Fragment[] {
    const { fleet } = this.#gateway;
    const end = fleet.alertsEnd(device) - 1;
    const { sent, answer } = subscription;
    const after = sent ?? (answer === "plain" ? end : -1);
    if (answer === "none" && after >= end) return [];
    const events = Array.from({ length: end - after }, (_, i) => ({
      offset: after + 1 + i,
      ...fleet.alert(device, after + 1 + i),
    }));
    subscription.sent = end;
    subscription.answer = "none";
    return [
      {
        id: subscription.id,
        events: { epoch: EPOCH, after, ...(answer === "positioned" ? { recovered: sent !== undefined } : {}), events },
      },
    ];
  }

  #frame(subscription: Subscription, topic: StateTopic): Fragment[] {
    const { fleet } = this.#gateway;
    const stoppedAt = "id" in topic ? fleet.silent.get(topic.id) : fleet.summaryStoppedAt;
    if ("id" in topic && !fleet.knows(topic.id)) return [];
    const at = stoppedAt ?? fleet.now;
    // Turning stale is one frame more, and the last.
    const seq = Math.floor(at / CADENCE_MS[topic.kind]) + (stoppedAt === undefined ? 0 : 1);
    if (subscription.maxHz === 0 || fleet.now < subscription.dueMs || (subscription.sent ?? -1) >= seq) return [];
    subscription.dueMs = fleet.now + 1000 / subscription.maxHz - 1;
    subscription.sent = seq;
    const flags = stoppedAt === undefined ? ["live", "recent"] : ["stale"];
    const state = this.#state(subscription, topic);
    return [
      {
        id: subscription.id,
        frame: { epoch: EPOCH, seq, ts: at, source: "sample", watermark: at - 1_000, flags, state },
      },
    ];
  }

  #state(subscription: Subscription, topic: StateTopic): object {
    const { fleet } = this.#gateway;
    switch (topic.kind) {
      case "telemetry": {
        const state = fleet.telemetry(topic.id, subscription.toMs ?? 0);
        subscription.toMs = state.to_ms;
        return state;
      }
      case "windows":
        return fleet.windows(topic.id, topic.size);
      case "status":
        return fleet.status(topic.id);
      case "summary":
        return fleet.summary();
      case "devices":
        return fleet.devices();
    }
  }
}

type StateTopic =
  | { readonly kind: "telemetry" | "status"; readonly id: string }
  | { readonly kind: "windows"; readonly id: string; readonly size: number }
  | { readonly kind: "summary" | "devices" };

const CADENCE_MS = { telemetry: 100, windows: 1_000, status: 1_000, summary: 500, devices: 1_000 } as const;

function topicOf(name: string): StateTopic | { readonly kind: "alerts"; readonly id: string } | undefined {
  if (name === "fleet/summary") return { kind: "summary" };
  if (name === "fleet/devices") return { kind: "devices" };
  const [root, encoded, kind, size, more] = name.split("/");
  if (root !== "device" || encoded === undefined || more !== undefined) return undefined;
  const id = decodeURIComponent(encoded);
  if (kind === "windows") {
    const sizeMs = size === undefined ? undefined : SIZES[size];
    return sizeMs === undefined ? undefined : { kind, id, size: sizeMs };
  }
  return size === undefined && (kind === "telemetry" || kind === "status" || kind === "alerts")
    ? { kind, id }
    : undefined;
}
