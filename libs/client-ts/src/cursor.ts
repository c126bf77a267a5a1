// What was seen of a topic, and what to do with the fragment that comes next.
// Owns: positions. Never: values, a clock. schemas/ws/vectors/sequences.json shows each case.
import type { Events, EventPosition, Frame, StatePosition, WireEvent } from "./protocol.js";

/** The last frame of a state topic. */
export class StateCursor {
  #position: StatePosition | undefined;

  get position(): StatePosition | undefined {
    return this.#position;
  }

  /** Whether the frame is newer than all before. A new epoch always is. */
  take(frame: Frame): boolean {
    const last = this.#position;
    if (last !== undefined && last.epoch === frame.epoch && frame.seq <= last.seq) return false;
    this.#position = { epoch: frame.epoch, seq: frame.seq };
    return true;
  }
}

/**
 * What became of a fragment of events. `ignored`: seen before. `gap`: events are missing, ask for them. `waiting`:
 * they are asked for already. `recovered`: nothing is missing. `lost`: what is missing will not come.
 */
export type Then = "taken" | "ignored" | "gap" | "waiting" | "recovered" | "lost";

/** The last event of an event topic. */
export class EventCursor {
  #position: EventPosition | undefined;
  #asked = false;

  get position(): EventPosition | undefined {
    return this.#position;
  }

  /** A subscribe with the position has left: its answer decides about gaps. */
  asked(): void {
    this.#asked = this.#position !== undefined;
  }

  /** What becomes of the fragment, and which of its events are new. */
  take(fragment: Events): { then: Then; fresh: readonly WireEvent[] } {
    const last = this.#position;
    const follows = last !== undefined && last.epoch === fragment.epoch && fragment.after <= last.offset;
    if (last === undefined || fragment.recovered === false || (fragment.recovered === true && !follows)) {
      this.#asked = false;
      const fresh = this.#advance(fragment);
      return { then: last === undefined && fragment.recovered !== false ? "taken" : "lost", fresh };
    }
    if (!follows) {
      const then = this.#asked ? "waiting" : "gap";
      this.#asked = true;
      return { then, fresh: [] };
    }
    if (fragment.recovered === true) this.#asked = false;
    const fresh = this.#advance(fragment);
    if (fragment.recovered === true) return { then: "recovered", fresh };
    return { then: fresh.length === 0 && fragment.events.length > 0 ? "ignored" : "taken", fresh };
  }

  /** Moves behind the fragment; never back within an epoch. */
  #advance(fragment: Events): readonly WireEvent[] {
    const seen = this.#position?.epoch === fragment.epoch ? this.#position.offset : undefined;
    const fresh = seen === undefined ? fragment.events : fragment.events.filter((event) => event.offset > seen);
    const end = fragment.events.at(-1)?.offset ?? fragment.after;
    this.#position = { epoch: fragment.epoch, offset: Math.max(end, seen ?? end) };
    return fresh;
  }
}
