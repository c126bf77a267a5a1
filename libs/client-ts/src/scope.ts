// Lifetimes: session, feature, widget. What a scope took is given back when it ends, newest first, children before
// what their parent took earlier. Owns: leases, children, ends. Never: values.
import { DISPOSE } from "./dispose.js";
import type { EventLease, StateLease } from "./lease.js";
import type { EventTopic, StateTopic } from "./topic.js";

/** How a topic is held. */
export interface AcquireOptions {
  /** Frames per second at most; the fastest holder of a topic decides. Default 10. */
  readonly maxHz?: number;
  /** Who holds it, for diagnostics. */
  readonly holder?: string;
}

/** Where leases come from. */
export interface Leases {
  acquire<S>(topic: StateTopic<S>, options?: AcquireOptions): StateLease<S>;
  acquire<E>(topic: EventTopic<E>, options?: AcquireOptions): EventLease<E>;
}

/** Gives a lease for a holder, and calls `released` when the lease ends, however it ends. */
export type Grant = (
  topic: StateTopic<unknown> | EventTopic<unknown>,
  options: AcquireOptions,
  released: () => void,
) => StateLease<unknown> | EventLease<unknown>;

export class Scope implements Leases, Disposable {
  readonly name: string;
  readonly #grant: Grant;
  readonly #onEnd: () => void;
  readonly #ends = new Set<() => void>();
  #disposed = false;

  /** Scopes come from `session.scope` and `scope.child`. */
  constructor(name: string, grant: Grant, onEnd: () => void) {
    this.name = name;
    this.#grant = grant;
    this.#onEnd = onEnd;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** How much would be given back. */
  get size(): number {
    return this.#ends.size;
  }

  /** A shorter lifetime inside this one: a feature in a session, a widget in a feature. */
  child(name: string): Scope {
    this.#mustLive(`open a scope ${name}`);
    const end = (): void => child.dispose();
    const child: Scope = new Scope(`${this.name}/${name}`, this.#grant, () => this.#ends.delete(end));
    this.#ends.add(end);
    return child;
  }

  acquire<S>(topic: StateTopic<S>, options?: AcquireOptions): StateLease<S>;
  acquire<E>(topic: EventTopic<E>, options?: AcquireOptions): EventLease<E>;
  acquire(
    topic: StateTopic<unknown> | EventTopic<unknown>,
    options: AcquireOptions = {},
  ): StateLease<unknown> | EventLease<unknown> {
    this.#mustLive(`acquire ${topic.name}`);
    const end = (): void => lease.release();
    const lease = this.#grant(topic, { holder: this.name, ...options }, () => this.#ends.delete(end));
    this.#ends.add(end);
    return lease;
  }

  /** Calls `end` when the scope ends: timers, charts, listeners of other things. The answer takes it back. */
  defer(end: () => void): () => void {
    this.#mustLive("defer an end");
    const own = (): void => end();
    this.#ends.add(own);
    return () => void this.#ends.delete(own);
  }

  /** Ends the scope. The second call and all later ones do nothing. An end that throws keeps none from running. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const errors: unknown[] = [];
    for (const end of [...this.#ends].reverse()) {
      try {
        end();
      } catch (error) {
        errors.push(error);
      }
    }
    this.#ends.clear();
    this.#onEnd();
    if (errors.length > 0) throw new AggregateError(errors, `ends of scope ${this.name} threw`);
  }

  [DISPOSE](): void {
    this.dispose();
  }

  #mustLive(wish: string): void {
    if (this.#disposed) throw new Error(`scope ${this.name} has ended and cannot ${wish}`);
  }
}
