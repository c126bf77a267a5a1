// Values for a consumer that takes them when it can. Owns: a bounded queue, one waiting consumer.
// Bound: past the capacity the oldest leaves and is counted. Capacity 1 keeps the latest only.

export class Mailbox<T> implements AsyncIterableIterator<T> {
  readonly #capacity: number;
  readonly #onEnd: () => void;
  readonly #values: T[] = [];
  #waiting: ((result: IteratorResult<T, undefined>) => void) | undefined;
  #ended = false;
  #dropped = 0;

  constructor(capacity: number, onEnd: () => void) {
    this.#capacity = capacity;
    this.#onEnd = onEnd;
  }

  /** How many values left unseen. */
  get dropped(): number {
    return this.#dropped;
  }

  push(value: T): void {
    if (this.#ended) return;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting({ done: false, value });
      return;
    }
    this.#values.push(value);
    if (this.#values.length > this.#capacity) {
      this.#values.shift();
      this.#dropped += 1;
    }
  }

  /** Nothing more comes. What is queued is still handed out. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
    this.#onEnd();
  }

  /** The next value. One consumer: a second call while one waits is refused. */
  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiting !== undefined) {
      return Promise.reject(new Error("an iterator has one consumer: await next() before calling it again"));
    }
    if (this.#values.length > 0) return Promise.resolve({ done: false, value: this.#values.shift() as T });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#values.length = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
