// Who wants to hear of something. Owns: listeners. Never: what is said to them.

/** Listeners of one thing. One that throws is reported and keeps nobody else from hearing. */
export class Signal<T> {
  // Each registration is an object of its own: the same function twice is two listeners, each with its own end.
  readonly #listeners = new Set<{ readonly hear: (value: T) => void }>();
  readonly #report: (error: unknown) => void;

  constructor(report: (error: unknown) => void) {
    this.#report = report;
  }

  get size(): number {
    return this.#listeners.size;
  }

  /** Adds a listener; the answer ends it, however often it is called. */
  add(hear: (value: T) => void): () => void {
    const listener = { hear };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this.#listeners]) {
      // One that an earlier listener has ended hears nothing any more.
      if (this.#listeners.has(listener)) this.tell(listener.hear, value);
    }
  }

  /** Calls one listener, with the same care. */
  tell(hear: (value: T) => void, value: T): void {
    try {
      hear(value);
    } catch (error) {
      this.#report(error);
    }
  }
}
