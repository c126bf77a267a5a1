// Positions: frames never go back, gaps are asked for once, nothing is delivered twice or passed over in silence.
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { EventCursor, StateCursor } from "../src/cursor.js";
import type { Events, Frame } from "../src/protocol.js";
import { vectors } from "./world.js";

interface Step {
  give: { frame: Frame; events: Events };
  then: string;
  position: object;
  delivered: number[];
}

test.each(vectors<{ name: string; kind: "state" | "event"; steps: Step[] }[]>("sequences.json"))("$name", ({ kind, steps }) => {
  const [state, event] = [new StateCursor(), new EventCursor()];
  for (const { give, then, position, delivered } of steps) {
    if (kind === "state") {
      expect(state.take(give.frame) ? "taken" : "ignored").toBe(then);
      expect(state.position).toEqual(position);
    } else {
      const took = event.take(give.events);
      expect([took.then, took.fresh.map(({ offset }) => offset)]).toEqual([then, delivered]);
      expect(event.position).toEqual(position);
    }
  }
});

describe("an event log over a wire that loses fragments", () => {
  it("delivers every event once and in order, whatever is lost", () => {
    fc.assert(fc.property(fc.array(fc.record({ size: fc.nat(3), lost: fc.boolean(), again: fc.boolean() }), { maxLength: 40 }), (parts) => {
      const cursor = new EventCursor();
      const seen: number[] = [];
      let end = -1;
      const part = (after: number, recovered?: boolean): Events => ({
        epoch: "k", after, ...(recovered === undefined ? {} : { recovered }),
        events: Array.from({ length: end - after }, (_, i) => ({ offset: after + 1 + i, ts: 0, data: 0 })),
      });
      const give = (events: Events): string => {
        const took = cursor.take(events);
        seen.push(...took.fresh.map(({ offset }) => offset));
        return took.then;
      };
      give(part(-1));
      for (const { size, lost, again } of parts) {
        const after = end;
        end += size;
        if (lost) continue;
        if (give(part(after)) === "gap") {
          expect(give(part(cursor.position?.offset ?? -1, true))).toBe("recovered");
        }
        if (again) give(part(after));
      }
      give(part(cursor.position?.offset ?? -1, true));
      expect(seen).toEqual(Array.from({ length: end + 1 }, (_, i) => i));
    }));
  });
});
