// Messages per second of one topic, over the last ten seconds. Owns: ten counts.

const BUCKETS = 10;

export class RateMeter {
  readonly #counts = new Uint32Array(BUCKETS);
  #second = -Infinity;
  #total = 0;

  get total(): number {
    return this.#total;
  }

  count(now: number): void {
    this.#turn(now);
    this.#total += 1;
    const bucket = this.#bucket(this.#second);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** Mean of the ten seconds that end with this one. */
  perSecond(now: number): number {
    this.#turn(now);
    return this.#counts.reduce((sum, count) => sum + count, 0) / BUCKETS;
  }

  /** Empties the buckets of the seconds that went by. */
  #turn(now: number): void {
    const second = Math.floor(now / 1000);
    if (second <= this.#second) return;
    const passed = Math.min(second - this.#second, BUCKETS);
    for (let i = 0; i < passed; i += 1) this.#counts[this.#bucket(second - i)] = 0;
    this.#second = second;
  }

  #bucket(second: number): number {
    return ((second % BUCKETS) + BUCKETS) % BUCKETS;
  }
}
