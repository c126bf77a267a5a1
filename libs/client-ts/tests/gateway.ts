// A gateway in plain code: what schemas/ws/gateway.md promises, and what it demands of a client.
import type { Socket, SocketEvents } from "../src/ports.js";
import type { ClientMessage, Fragment, SubscribeEntry } from "../src/protocol.js";

interface StateTopic {
  kind: "state";
  epoch: string;
  seq: number;
  state: unknown;
  flags: string[];
}

interface EventTopic {
  kind: "event";
  epoch: string;
  /** Offset of the first event that is still there. */
  base: number;
  events: unknown[];
}

interface Subscription {
  topic: string;
  maxHz: number;
  sent: { epoch: string; at: number } | undefined;
  /** The answer to a subscribe is due; with or without a position. */
  answer: "none" | "plain" | "positioned";
}

export const BATCH_MAX = 4;
const isId = (id: unknown): boolean => Number.isSafeInteger(id) && (id as number) > 0;

/** Reads a message of a client as strictly as a server must. Throws what is wrong with it. */
export function readClientMessage(text: string): ClientMessage {
  const message = JSON.parse(text) as ClientMessage;
  const fail = (why: string): never => {
    throw new Error(`${why}: ${text}`);
  };
  switch (message.type) {
    case "subscribe":
      for (const { id, topic, max_hz, position } of message.subscriptions) {
        if (!isId(id) || typeof topic !== "string") fail("a subscription without id or topic");
        if (max_hz !== undefined && !(max_hz >= 0)) fail("a rate below 0");
        if (position !== undefined && typeof position.epoch !== "string") fail("a position without epoch");
      }
      return message;
    case "rate":
      if (!message.rates.every(({ id, max_hz }) => isId(id) && max_hz >= 0)) fail("a rate below 0");
      return message;
    case "complete":
      if (!message.ids.every(isId)) fail("an id");
      return message;
    case "refresh":
      if (typeof message.token !== "string") fail("a refresh without token");
      return message;
    case "connection_init":
    case "ping":
    case "pong":
      return message;
    default:
      return fail("unknown type");
  }
}

export class Connection {
  readonly toClient: string[] = [];
  readonly toServer: string[] = [];
  readonly subscriptions = new Map<number, Subscription>();
  readonly #usedIds = new Set<number>();
  readonly received: ClientMessage[] = [];
  open = true;
  greeted = false;
  constructor(
    readonly gateway: Gateway,
    readonly events: SocketEvents,
  ) {}

  send(message: object): void {
    this.toClient.push(JSON.stringify(message));
  }

  receive(text: string): void {
    const message = readClientMessage(text);
    this.received.push(message);
    if (this.greeted === (message.type === "connection_init")) throw new Error(`out of turn: ${text}`);
    switch (message.type) {
      case "connection_init":
        if (this.gateway.mute) return;
        this.greeted = true;
        return this.send({
          type: "connection_ack", session: "s", server_ms: this.gateway.serverMs(), ping_ms: 15_000,
          batch_max: BATCH_MAX, subscriptions_max: 64, message_max: 65_536,
        });
      case "subscribe":
        if (message.subscriptions.length > BATCH_MAX) throw new Error(`a batch too large: ${text}`);
        for (const entry of message.subscriptions) this.#subscribe(entry);
        return;
      case "complete":
        for (const id of message.ids) this.subscriptions.delete(id);
        return;
      case "rate":
        for (const { id, max_hz } of message.rates) {
          const subscription = this.subscriptions.get(id);
          if (subscription !== undefined) subscription.maxHz = max_hz;
        }
        return;
      case "ping":
        if (!this.gateway.mute) this.send({ type: "pong" });
        return;
      default:
        return;
    }
  }

  #subscribe({ id, topic, max_hz, position }: SubscribeEntry): void {
    const before = this.subscriptions.get(id);
    if (before === undefined && this.#usedIds.has(id)) throw new Error(`id ${id} is used again`);
    if (before !== undefined && before.topic !== topic) throw new Error(`id ${id} is taken by ${before.topic}`);
    for (const [other, subscription] of this.subscriptions) {
      if (other !== id && subscription.topic === topic) throw new Error(`${topic} is subscribed twice`);
    }
    this.#usedIds.add(id);
    const refusal = this.gateway.refusals.get(topic);
    if (refusal !== undefined) return this.send({ type: "complete", ended: [{ id, ...refusal }] });
    const at = position === undefined ? undefined : "seq" in position ? position.seq : position.offset;
    this.subscriptions.set(id, {
      topic,
      maxHz: max_hz ?? Infinity,
      sent: position === undefined || at === undefined ? undefined : { epoch: position.epoch, at },
      answer: position === undefined ? "plain" : "positioned",
    });
  }

  /** One paint tick: a fragment per topic with something new. */
  tick(): void {
    const fragments: Fragment[] = [];
    for (const [id, subscription] of this.subscriptions) {
      const topic = this.gateway.topics.get(subscription.topic);
      if (topic?.kind === "state") this.#frame(id, subscription, topic, fragments);
      if (topic?.kind === "event") this.#events(id, subscription, topic, fragments);
    }
    if (fragments.length > 0) this.send({ type: "next", server_ms: this.gateway.serverMs(), fragments });
  }

  #frame(id: number, subscription: Subscription, topic: StateTopic, fragments: Fragment[]): void {
    const { sent, maxHz } = subscription;
    if (maxHz === 0 || (sent?.epoch === topic.epoch && sent.at >= topic.seq)) return;
    const { epoch, seq, state, flags } = topic;
    fragments.push({
      id, frame: { epoch, seq, ts: this.gateway.serverMs(), source: "test", watermark: null, flags: [...flags], state },
    });
    subscription.sent = { epoch, at: seq };
  }

  #events(id: number, subscription: Subscription, topic: EventTopic, fragments: Fragment[]): void {
    const end = topic.base + topic.events.length - 1;
    const { sent, answer } = subscription;
    const known = sent !== undefined && sent.epoch === topic.epoch && sent.at >= topic.base - 1 && sent.at <= end;
    const after = known ? sent.at : answer === "plain" ? end : topic.base - 1;
    if (answer === "none" && after === end) return;
    const events = topic.events
      .slice(after + 1 - topic.base)
      .map((data, i) => ({ offset: after + 1 + i, ts: this.gateway.serverMs(), data }));
    const recovered = answer === "positioned" ? { recovered: known } : {};
    fragments.push({ id, events: { epoch: topic.epoch, after, ...recovered, events } });
    subscription.sent = { epoch: topic.epoch, at: end };
    subscription.answer = "none";
  }

  /** Cuts the connection: what is on the way is lost. */
  cut(code = 1006, reason = ""): void {
    if (!this.open) return;
    this.open = false;
    this.toClient.length = 0;
    this.toServer.length = 0;
    this.events.closed(code, reason);
  }

  deliver(): boolean {
    const up = this.toServer.shift();
    if (up !== undefined) this.receive(up);
    const down = this.toClient.shift();
    if (down !== undefined) this.events.received(down);
    return up !== undefined || down !== undefined;
  }
}

export class Gateway {
  readonly topics = new Map<string, StateTopic | EventTopic>();
  readonly refusals = new Map<string, { reason: string; message: string; retry_after_ms?: number }>();
  readonly connections: Connection[] = [];
  readonly #clock: { now(): number };
  /** Does not answer: a half-open connection. */
  mute = false;
  /** Takes no connection. */
  down = false;
  stalled = false;
  readonly protocols: (readonly string[])[] = [];

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  serverMs(): number {
    return this.#clock.now() + 1_700_000_000_000;
  }

  get connection(): Connection | undefined {
    return this.connections.at(-1);
  }

  /** The names of the topics that the open connection is subscribed to. */
  subscribed(): string[] {
    const live = this.connections.filter((connection) => connection.open);
    return live.flatMap((connection) => [...connection.subscriptions.values()].map(({ topic }) => topic)).sort();
  }

  /** All messages of a type that clients sent. */
  received<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }>[] {
    const all = this.connections.flatMap((connection) => connection.received);
    return all.filter((message): message is Extract<ClientMessage, { type: T }> => message.type === type);
  }

  accept(protocols: readonly string[], events: SocketEvents): Socket {
    this.protocols.push(protocols);
    const connection = new Connection(this, events);
    this.connections.push(connection);
    connection.toServer.length = 0;
    this.#pending.push(() => (this.down ? connection.cut() : connection.open && events.opened()));
    return {
      send: (text) => {
        if (connection.open) connection.toServer.push(text);
      },
      close: () => {
        connection.open = false;
        connection.toClient.length = 0;
      },
    };
  }

  readonly #pending: (() => void)[] = [];

  /** One message of each direction, and sockets that open. */
  deliver(): boolean {
    for (const open of this.#pending.splice(0)) open();
    if (this.stalled) return false;
    return this.connections.filter((connection) => connection.open).map((connection) => connection.deliver()).includes(true);
  }

  deliverAll(): void {
    while (this.deliver());
  }

  tick(): void {
    if (this.stalled || this.mute) return;
    for (const connection of this.connections) if (connection.open && connection.greeted) connection.tick();
  }

  publish(name: string, state: unknown, flags: string[] = ["live", "recent"]): void {
    const topic = this.topics.get(name);
    const before = topic?.kind === "state" ? topic : { epoch: "a", seq: 0 };
    this.topics.set(name, { kind: "state", epoch: before.epoch, seq: before.seq + 1, state, flags });
  }

  /** Another source: sequence numbers begin anew. */
  newEpoch(name: string, epoch: string, state: unknown): void {
    this.topics.set(name, { kind: "state", epoch, seq: 0, state, flags: ["live"] });
  }

  append(name: string, data: unknown): number {
    const topic = this.topics.get(name);
    const log: EventTopic = topic?.kind === "event" ? topic : { kind: "event", epoch: "k", base: 0, events: [] };
    log.events.push(data);
    this.topics.set(name, log);
    return log.base + log.events.length - 1;
  }

  /** Forgets all but the newest events. */
  cutLog(name: string, keep: number): void {
    const topic = this.topics.get(name);
    if (topic?.kind !== "event" || topic.events.length <= keep) return;
    topic.base += topic.events.length - keep;
    topic.events.splice(0, topic.events.length - keep);
  }
}
