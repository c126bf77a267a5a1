// The points of one line of a chart: the last minutes, in typed arrays that are filled round and round.
// Owns: a ring. Never: a clock, a topic. Bound: `capacity` points; past it the oldest goes and is counted.

/** Points by rising time. Where they come from `m4`, both arrays are reused by the next call. */
export interface Points {
  readonly t: Float64Array;
  readonly v: Float64Array;
  /** How many of the arrays' places count. */
  readonly count: number;
}

export class ChartWindow {
  readonly #t: Float64Array;
  readonly #v: Float64Array;
  readonly #spanMs: number;
  #start = 0;
  #length = 0;
  #evicted = 0;
  #out = { t: new Float64Array(0), v: new Float64Array(0) };

  /** Keeps points no older than `spanMs` before the newest, at most `capacity` of them. */
  constructor(spanMs: number, capacity: number) {
    if (!(spanMs > 0) || !Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`a window of ${spanMs} ms and ${capacity} points: both must be above 0`);
    }
    this.#spanMs = spanMs;
    this.#t = new Float64Array(capacity);
    this.#v = new Float64Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** Points that left for want of room, not of age. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Adds a point. False if it is not later than the newest, or no number: it is left out. */
  push(t: number, v: number): boolean {
    if (!Number.isFinite(t) || (this.#length > 0 && t <= this.#timeAt(this.#length - 1))) return false;
    if (this.#length === this.#t.length) {
      this.#drop(1);
      this.#evicted += 1;
    }
    const place = (this.#start + this.#length) % this.#t.length;
    this.#t[place] = t;
    this.#v[place] = v;
    this.#length += 1;
    this.#drop(this.#firstFrom(t - this.#spanMs));
    return true;
  }

  /** Takes a snapshot: what it covers, from `fromMs` on, replaces what was there. */
  replaceFrom(fromMs: number, t: ArrayLike<number>, v: ArrayLike<number>): void {
    this.#length = this.#firstFrom(fromMs);
    const count = Math.min(t.length, v.length);
    for (let i = 0; i < count; i += 1) this.push(t[i] as number, v[i] as number);
  }

  clear(): void {
    this.#length = 0;
  }

  /**
   * Down-samples `[fromMs, toMs)` to `columns` pixels: first, lowest, highest and last point of each (M4, Jugel et al.,
   * VLDB 2014), so that a line drawn through them covers the same pixels as a line through all. At most 4 per column.
   */
  m4(fromMs: number, toMs: number, columns: number): Points {
    this.#reserve(4 * columns);
    const { t, v } = this.#out;
    const width = (toMs - fromMs) / columns;
    let count = 0;
    let i = this.#firstFrom(fromMs);
    while (width > 0 && i < this.#length && this.#timeAt(i) < toMs) {
      const column = columnOf(this.#timeAt(i), fromMs, width);
      const first = i;
      let [lowest, highest] = [i, i];
      for (; i < this.#length && this.#timeAt(i) < toMs; i += 1) {
        if (columnOf(this.#timeAt(i), fromMs, width) !== column) break;
        if (this.#valueAt(i) < this.#valueAt(lowest)) lowest = i;
        if (this.#valueAt(i) > this.#valueAt(highest)) highest = i;
      }
      let before = -1;
      for (const at of [first, Math.min(lowest, highest), Math.max(lowest, highest), i - 1]) {
        if (at === before) continue;
        before = at;
        t[count] = this.#timeAt(at);
        v[count] = this.#valueAt(at);
        count += 1;
      }
    }
    return { t, v, count };
  }

  #timeAt(i: number): number {
    return this.#t[(this.#start + i) % this.#t.length] as number;
  }

  #valueAt(i: number): number {
    return this.#v[(this.#start + i) % this.#v.length] as number;
  }

  /** Index of the first point not before `t`, by halves. */
  #firstFrom(t: number): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#timeAt(middle) < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(count: number): void {
    this.#start = (this.#start + count) % this.#t.length;
    this.#length -= count;
  }

  #reserve(size: number): void {
    if (this.#out.t.length < size) this.#out = { t: new Float64Array(size), v: new Float64Array(size) };
  }
}

const columnOf = (t: number, fromMs: number, width: number): number => Math.floor((t - fromMs) / width);
