// One connection and the topics on it: carries inputs to the link, the registry and the subjects, and does what they
// say. Owns: the one timer, paint ticks, counts. Never: rules of its own about connections, positions or leases.
import { assertBaseline, noCounts, topicDiagnostics, type Baseline, type Counts, type Diagnostics } from "./diagnostics.js";
import { DISPOSE } from "./dispose.js";
import { EventLease, StateLease } from "./lease.js";
import { Link, LINK_SETTINGS, type LinkAction, type LinkInput, type LinkSettings } from "./link.js";
import { Mailbox } from "./mailbox.js";
import type { Ports, Socket } from "./ports.js";
import { readServerMessage, SUBPROTOCOL, type Ended, type Fragment, type ServerMessage } from "./protocol.js";
import { Registry, REGISTRY_SETTINGS, type Entry, type RegistrySettings } from "./registry.js";
import { Scope, type AcquireOptions, type Leases } from "./scope.js";
import { Signal } from "./signal.js";
import type { Status } from "./status.js";
import type { EventView, StateView, Surroundings } from "./subject.js";
import type { EventTopic, StateTopic } from "./topic.js";
import { Wire } from "./wire.js";

export interface SessionOptions extends Partial<LinkSettings>, Partial<RegistrySettings> {
  /** `wss://host/v1/live`. */
  readonly url: string;
  /** Gives the credential, anew for each connection and when it runs out. */
  readonly token?: () => string | Promise<string>;
  /** Paints per second at most. Default 10. */
  readonly paintHz?: number;
  /** A name for the server's log. */
  readonly client?: string;
}

type SomeTopic = StateTopic<unknown> | EventTopic<unknown>;
type SomeLease = StateLease<unknown> | EventLease<unknown>;

/** Rate of a lease that asks for none, per second. */
const HZ_DEFAULT = 10;

export class Session implements Leases, Disposable {
  /** The longest lifetime: ends with the session. */
  readonly scope: Scope;
  readonly #options: SessionOptions;
  readonly #ports: Ports;
  readonly #link: Link;
  readonly #registry: Registry;
  readonly #wire: Wire;
  readonly #counts: Counts = noCounts();
  readonly #statusChanged: Signal<Status>;
  readonly #paintMs: number;
  readonly #dirty = new Set<Entry>();
  readonly #boxes = new Set<Mailbox<Status>>();
  readonly #stopWatching: () => void;
  #socket: Socket | undefined;
  #status: Status;
  #rate: Status["rate"];
  #hidden: boolean;
  #clockOffsetMs: number | undefined;
  #syncDue = false;
  #paintedAt = -Infinity;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  #disposed = false;

  constructor(options: SessionOptions, ports: Ports) {
    const report = (error: unknown): void => {
      this.#counts.listenerErrors += 1;
      ports.report(error);
    };
    this.#options = options;
    this.#ports = ports;
    this.#link = new Link({ ...LINK_SETTINGS, ...options }, ports.random, options.client ?? "evenkeel-ts");
    this.#registry = new Registry({ ...REGISTRY_SETTINGS, ...options }, report);
    this.#wire = new Wire(this.#registry);
    this.#statusChanged = new Signal(report);
    this.#paintMs = 1000 / (options.paintHz ?? HZ_DEFAULT);
    this.#hidden = ports.visibility.hidden();
    this.#stopWatching = ports.visibility.onChange(() => this.#visibilityChanged());
    this.scope = new Scope("session", (topic, how, released) => this.#grant(topic, how, released), () => undefined);
    this.#status = this.#readStatus();
  }

  /** Connects, and comes back whenever it may. Nothing happens if it is at it already. */
  connect(): void {
    if (this.#disposed) throw new Error("the session is disposed: create another");
    this.#handle({ is: "connect" });
  }

  /** Closes the connection and stays away until `connect`. Leases and values stay. */
  disconnect(): void {
    this.#handle({ is: "disconnect" });
  }

  /** Holds a topic until the lease is released or the session ends. Shorter lifetimes: `scope.child`. */
  acquire<S>(topic: StateTopic<S>, options?: AcquireOptions): StateLease<S>;
  acquire<E>(topic: EventTopic<E>, options?: AcquireOptions): EventLease<E>;
  acquire(topic: SomeTopic, options?: AcquireOptions): SomeLease {
    return topic.kind === "state" ? this.scope.acquire(topic, options) : this.scope.acquire(topic, options);
  }

  /** The view last painted, without holding the topic: undefined if nobody holds it or did lately. */
  peek<S>(topic: StateTopic<S>): StateView<S> | undefined;
  peek<E>(topic: EventTopic<E>): EventView<E> | undefined;
  peek(topic: SomeTopic): StateView<unknown> | EventView<unknown> | undefined {
    return this.#registry.find(topic.name)?.subject.view;
  }

  /** The same object until something of it changes. */
  status(): Status {
    return this.#status;
  }

  /** Calls at each change of the status. */
  onStatus(listener: (status: Status) => void): () => void {
    return this.#statusChanged.add(listener);
  }

  /** The status now and after each change; what came while the loop was busy is skipped. */
  statuses(): AsyncIterableIterator<Status> {
    const box = new Mailbox<Status>(1, () => {
      stop();
      this.#boxes.delete(box);
    });
    const stop = this.#statusChanged.add((status) => box.push(status));
    box.push(this.#status);
    if (this.#disposed) box.end();
    else this.#boxes.add(box);
    return box;
  }

  /** The server's clock, ms since 1970, as of its last message; undefined before the first. */
  serverNow(): number | undefined {
    return this.#clockOffsetMs === undefined ? undefined : this.#ports.clock.now() + this.#clockOffsetMs;
  }

  diagnostics(): Diagnostics {
    const topics = topicDiagnostics(this.#registry, this.#ports.clock.now());
    return {
      state: this.#link.state,
      topicsActive: this.#wire.size,
      topicsKept: topics.length,
      references: this.#registry.references,
      listeners: topics.reduce((sum, topic) => sum + topic.listeners, this.#statusChanged.size),
      counts: { ...this.#counts, transitions: { ...this.#counts.transitions } },
      topics,
      log: this.#registry.log,
    };
  }

  /** Throws if more leases or listeners are there than in the baseline, and names the holders. */
  assertBaseline(baseline: Baseline = { references: 0, listeners: 0 }): void {
    assertBaseline(this.diagnostics(), baseline);
  }

  /** Ends the session: scopes, leases, iterators, the connection. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      this.scope.dispose();
    } finally {
      this.#handle({ is: "disconnect" });
      for (const box of [...this.#boxes]) box.end();
      this.#stopWatching();
      this.#timer?.cancel();
    }
  }

  [DISPOSE](): void {
    this.dispose();
  }

  #grant(topic: SomeTopic, options: AcquireOptions, released: () => void): SomeLease {
    const { clock } = this.#ports;
    const maxHz = options.maxHz ?? HZ_DEFAULT;
    if (!(maxHz > 0)) throw new RangeError(`maxHz of ${topic.name} is ${maxHz}: it must be above 0`);
    const holding = this.#registry.acquire(topic, options.holder ?? "", maxHz, clock.now());
    const { entry } = holding;
    const host = {
      topic: topic.name,
      problem: () => entry.refusal && `${entry.refusal.reason}: ${entry.refusal.message}`,
      release: () => {
        this.#registry.release(holding, clock.now());
        released();
        this.#syncSoon();
      },
    };
    this.#syncSoon();
    return entry.subject.kind === "state" ? new StateLease(host, entry.subject) : new EventLease(host, entry.subject);
  }

  #handle(input: LinkInput): void {
    const before = this.#link.state;
    for (const action of this.#link.handle(input, this.#ports.clock.now())) this.#perform(action);
    const after = this.#link.state;
    if (before === "connected" && after !== "connected") this.#connectionLost();
    this.#arm();
  }

  #perform(action: LinkAction): void {
    switch (action.do) {
      case "open":
        return this.#open(action.socket);
      case "close":
        this.#socket?.close(action.code, action.reason);
        this.#socket = undefined;
        return;
      case "ask_token":
        return this.#askToken(action.socket);
      case "send":
        this.#socket?.send(JSON.stringify(action.message));
        return;
      case "ready":
        this.#wire.reset();
        this.#repaintAll();
        return this.#sync();
      case "changed":
        return this.#stateChanged();
    }
  }

  #open(socket: number): void {
    const events = {
      opened: () => this.#handle({ is: "opened", socket }),
      received: (text: string) => this.#received(socket, text),
      closed: (code: number, reason: string) => this.#handle({ is: "closed", socket, code, reason }),
    };
    try {
      this.#socket = this.#ports.openSocket(this.#options.url, [SUBPROTOCOL], events);
    } catch (error) {
      // An address that no socket takes: to be told, and no reason to try without end in one turn.
      this.#socket = undefined;
      this.#ports.report(error);
      this.#ports.clock.timer(0, () => events.closed(4500, String(error)));
    }
  }

  #askToken(socket: number): void {
    const { token } = this.#options;
    if (token === undefined) return this.#handle({ is: "token", socket, token: undefined });
    const failed = (error: unknown): void =>
      this.#handle({ is: "token_failed", socket, why: `no token: ${String(error)}` });
    try {
      Promise.resolve(token()).then((text) => this.#handle({ is: "token", socket, token: text }), failed);
    } catch (error) {
      failed(error);
    }
  }

  #received(socket: number, text: string): void {
    const read = readServerMessage(text);
    if (read.is === "unknown") this.#counts.messagesUnknown += 1;
    if (read.is === "broken") this.#counts.messagesBroken += 1;
    const message = read.is === "message" ? read.message : undefined;
    const wasUp = this.#link.state;
    this.#handle({ is: "message", socket, message });
    if (message !== undefined && wasUp === "connected" && this.#link.isCurrent(socket)) this.#content(message);
    this.#arm();
  }

  #content(message: ServerMessage): void {
    switch (message.type) {
      case "next":
        this.#setClock(message.server_ms);
        for (const fragment of message.fragments) this.#fragment(fragment);
        return;
      case "complete":
        for (const ended of message.ended) this.#ended(ended);
        return;
      case "rate":
        this.#rate = { step: message.step, maxHz: message.max_hz };
        return this.#statusMayHaveChanged();
      default:
        return;
    }
  }

  #fragment(fragment: Fragment): void {
    const entry = this.#wire.find(fragment.id);
    const now = this.#ports.clock.now();
    if (entry?.subject.kind === "state" && "frame" in fragment) {
      const taken = entry.subject.take(fragment.frame, now);
      this.#counts[taken ? "framesTaken" : "framesStale"] += 1;
      if (taken) this.#dirty.add(entry);
    } else if (entry?.subject.kind === "event" && "events" in fragment) {
      const before = entry.subject.taken;
      const then = entry.subject.take(fragment.events, now);
      this.#counts.eventsTaken += entry.subject.taken - before;
      if (then === "ignored") this.#counts.eventsRepeated += 1;
      if (then === "lost") this.#counts.gapsLost += 1;
      if (then === "gap") {
        this.#counts.gaps += 1;
        for (const ask of this.#wire.recover(entry)) this.#perform({ do: "send", message: ask });
      }
      this.#dirty.add(entry);
    } else {
      this.#counts.fragmentsStray += 1;
    }
  }

  #ended({ id, reason, message, retry_after_ms }: Ended): void {
    const entry = this.#wire.ended(id);
    if (entry === undefined) return;
    const retryAt = retry_after_ms === undefined ? Infinity : this.#ports.clock.now() + retry_after_ms;
    this.#registry.refuse(entry, { reason, message, retryAt });
    this.#dirty.add(entry);
  }

  #stateChanged(): void {
    const { state, ack } = this.#link;
    if (state !== this.#status.state) this.#counts.transitions[state] += 1;
    if (state !== "connected") this.#rate = undefined;
    if (ack !== undefined && this.#status.state !== "connected") this.#setClock(ack.server_ms);
    this.#statusMayHaveChanged();
  }

  #connectionLost(): void {
    this.#wire.reset();
    this.#repaintAll();
  }

  #visibilityChanged(): void {
    this.#hidden = this.#ports.visibility.hidden();
    this.#statusMayHaveChanged();
    this.#repaintAll();
    this.#syncSoon();
  }

  #setClock(serverMs: number): void {
    this.#clockOffsetMs = serverMs - this.#ports.clock.now();
  }

  #statusMayHaveChanged(): void {
    const status = this.#readStatus();
    if (JSON.stringify(status) === JSON.stringify(this.#status)) return;
    this.#status = status;
    this.#statusChanged.emit(status);
  }

  #readStatus(): Status {
    const { state, ack, failures, retryAt, lastClose, draining } = this.#link;
    return {
      state,
      session: ack?.session,
      failures,
      retryAt: Number.isFinite(retryAt) ? retryAt : undefined,
      lastClose,
      draining,
      rate: this.#rate,
      hidden: this.#hidden,
    };
  }

  /** Flags depend on the connection and the page: every view is to be made anew. */
  #repaintAll(): void {
    for (const entry of this.#registry.entries()) this.#dirty.add(entry);
  }

  /** All that is acquired and released in one turn leaves as one message. */
  #syncSoon(): void {
    this.#syncDue = true;
    this.#arm();
  }

  #sync(): void {
    this.#syncDue = false;
    const { ack } = this.#link;
    if (ack === undefined) return;
    for (const message of this.#wire.reconcile(ack, this.#hidden, this.#ports.clock.now(), this.#dirty)) {
      this.#perform({ do: "send", message });
    }
  }

  #paintAt(): number {
    return this.#dirty.size === 0 || this.#hidden ? Infinity : this.#paintedAt + this.#paintMs;
  }

  #paint(now: number): void {
    this.#paintedAt = now;
    this.#counts.paints += 1;
    const due = [...this.#dirty];
    this.#dirty.clear();
    for (const entry of due) entry.subject.paint(this.#around(entry));
  }

  #around(entry: Entry): Surroundings {
    return { reachable: this.#link.state === "connected" && entry.wire !== undefined, hidden: this.#hidden };
  }

  #wake(): void {
    this.#timer = undefined;
    this.#handle({ is: "tick" });
    const now = this.#ports.clock.now();
    // Ends leave before values are forgotten: a forgotten topic has no subscription to end.
    this.#sync();
    this.#registry.sweep(now);
    if (now >= this.#paintAt()) this.#paint(now);
    this.#arm();
  }

  /** Sets the one timer to whatever comes first. */
  #arm(): void {
    if (this.#disposed) return;
    const now = this.#ports.clock.now();
    const soon = this.#syncDue ? now : Infinity;
    const at = Math.min(soon, this.#link.wakeAt, this.#registry.wakeAt(now), this.#paintAt());
    if (this.#timer?.at === at) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (at === Infinity) return;
    this.#timer = { at, cancel: this.#ports.clock.timer(Math.max(0, at - now), () => this.#wake()) };
  }
}
