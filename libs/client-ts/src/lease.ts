// What a holder has in hand: a topic's values, for as long as the lease is not released.
// Owns: the listeners that were added through it. Never: another holder's share.
import { DISPOSE } from "./dispose.js";
import { Mailbox } from "./mailbox.js";
import type { Frame } from "./protocol.js";
import type { EventSubject, EventView, StateSubject, StateView, TopicEvent } from "./subject.js";

/** How many events wait for a slow iterator. */
export const EVENTS_QUEUED_MAX = 256;

/** What a lease asks of its session. */
export interface LeaseHost {
  readonly topic: string;
  /** Gives the share back. */
  readonly release: () => void;
  /** Why the server ended the topic, if it did. */
  readonly problem: () => string | undefined;
}

abstract class Lease {
  readonly #host: LeaseHost;
  readonly #ends = new Set<() => void>();
  #released = false;

  constructor(host: LeaseHost) {
    this.#host = host;
  }

  get topic(): string {
    return this.#host.topic;
  }

  get released(): boolean {
    return this.#released;
  }

  /** Why the server ended the topic: undefined if it did not. */
  problem(): string | undefined {
    return this.#host.problem();
  }

  /** Gives this holder's share back. The second call and all later ones do nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const end of [...this.#ends]) end();
    this.#host.release();
  }

  [DISPOSE](): void {
    this.release();
  }

  /** Keeps an end until it is called or the lease is released. After the release it is called at once. */
  protected until(end: () => void): () => void {
    if (this.#released) {
      end();
      return () => undefined;
    }
    const once = (): void => {
      if (this.#ends.delete(once)) end();
    };
    this.#ends.add(once);
    return once;
  }
}

/** A lease of a state topic. */
export class StateLease<S> extends Lease implements Disposable {
  readonly #subject: StateSubject;

  constructor(host: LeaseHost, subject: StateSubject) {
    super(host);
    this.#subject = subject;
  }

  /** The state as last painted. */
  current(): StateView<S> | undefined {
    // The topic's contract says that its states are `S`; the wire cannot.
    return this.#subject.view as StateView<S> | undefined;
  }

  /** Calls at each paint that changed this topic, at most at the session's paint rate. */
  onPaint(listener: () => void): () => void {
    return this.until(this.#subject.painted.add(listener));
  }

  /** Calls with each frame as it comes, hidden page or not: what feeds a chart. The last one is told at once. */
  onFrame(listener: (frame: Frame & { readonly state: S }) => void): () => void {
    const { arrived, last } = this.#subject;
    const hear = ({ frame }: { frame: Frame }): void => listener(frame as Frame & { readonly state: S });
    const end = this.until(arrived.add(hear));
    if (last !== undefined && !this.released) arrived.tell(hear, last);
    return end;
  }

  /** The newest painted states: what came while the loop was busy is skipped. Ends with the lease. */
  views(): AsyncIterableIterator<StateView<S>> & { readonly dropped: number } {
    let finish = (): void => undefined;
    const box = new Mailbox<StateView<S>>(1, () => finish());
    const push = (): void => {
      const view = this.current();
      if (view !== undefined) box.push(view);
    };
    const stop = this.#subject.painted.add(push);
    push();
    finish = this.until(() => {
      stop();
      box.end();
    });
    return box;
  }
}

/** A lease of an event topic. */
export class EventLease<E> extends Lease implements Disposable {
  readonly #subject: EventSubject;

  constructor(host: LeaseHost, subject: EventSubject) {
    super(host);
    this.#subject = subject;
  }

  /** The last events as last painted. */
  current(): EventView<E> | undefined {
    return this.#subject.view as EventView<E> | undefined;
  }

  /** Calls at each paint that changed this topic. */
  onPaint(listener: () => void): () => void {
    return this.until(this.#subject.painted.add(listener));
  }

  /** Calls with each event as it comes. The last ones (up to 64) are told at once. */
  onEvent(listener: (event: TopicEvent<E>) => void): () => void {
    const { arrived, last } = this.#subject;
    const hear = (event: TopicEvent<unknown>): void => listener(event as TopicEvent<E>);
    const end = this.until(arrived.add(hear));
    for (const event of last) if (!this.released) arrived.tell(hear, event);
    return end;
  }

  /** Every event; past 256 that wait, the oldest is dropped and counted in `dropped`. Ends with the lease. */
  events(): AsyncIterableIterator<TopicEvent<E>> & { readonly dropped: number } {
    let finish = (): void => undefined;
    const box = new Mailbox<TopicEvent<E>>(EVENTS_QUEUED_MAX, () => finish());
    const stop = this.#subject.arrived.add((event) => box.push(event as TopicEvent<E>));
    for (const event of this.#subject.last) box.push(event as TopicEvent<E>);
    finish = this.until(() => {
      stop();
      box.end();
    });
    return box;
  }
}
