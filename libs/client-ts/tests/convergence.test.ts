// Random subscribe, publish, stall, reconnect: every client that drains has the last state; seq never goes back; every
// event comes once, in order, or its loss is told.
import fc from "fast-check";
import { expect, it } from "vitest";
import type { EventLease, StateLease } from "../src/lease.js";
import { World } from "./world.js";

type Op =
  | { do: "publish"; topic: number }
  | { do: "append" }
  | { do: "acquire"; topic: number }
  | { do: "release"; topic: number }
  | { do: "stall"; on: boolean }
  | { do: "deliver" | "tick" | "cut" | "drain" | "epoch" | "cutLog" }
  | { do: "hide"; on: boolean }
  | { do: "wait"; ms: number };

const STATES = 3;
const nth = fc.nat(STATES - 1);
const anOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("publish" as const), topic: nth }) },
  { weight: 6, arbitrary: fc.constant({ do: "append" as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("acquire" as const), topic: nth }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), topic: nth }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("stall" as const), on: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom("deliver" as const, "tick" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("cut" as const, "drain" as const, "epoch" as const, "cutLog" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("hide" as const), on: fc.boolean() }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(10, 150, 1_000, 6_000) }) },
);

it("converges", () => {
  let [cuts, gaps] = [0, 0];
  fc.assert(fc.property(fc.array(anOp, { minLength: 30, maxLength: 120 }), (ops) => {
    const world = new World();
    const { gateway } = world;
    const session = world.session();
    const held: (StateLease<number> | undefined)[] = [];
    let [value, epochs] = [0, 0];
    const name = (n: number): string => `state/${n}`;
    const acquire = (n: number): void => {
      if (held[n] !== undefined) return;
      const lease = session.acquire<number>({ kind: "state", name: name(n) });
      held[n] = lease;
      let last: { epoch: string; seq: number } | undefined;
      lease.onFrame(({ epoch, seq }) => {
        if (last?.epoch === epoch) expect(seq).toBeGreaterThanOrEqual(last.seq);
        last = { epoch, seq };
      });
    };
    const seen: number[] = [];
    gateway.append("log", 0);
    const log: EventLease<number> = session.acquire<number>({ kind: "event", name: "log" });
    log.onEvent(({ offset, data }) => {
      expect(data).toBe(offset);
      seen.push(offset);
    });
    for (let n = 0; n < STATES; n += 1) gateway.publish(name(n), (value += 1));
    acquire(0);
    world.settle(200);
    const from = 1;
    let end = 0;
    for (const op of ops) {
      if (op.do === "publish") gateway.publish(name(op.topic), (value += 1));
      else if (op.do === "append") end = gateway.append("log", end + 1);
      else if (op.do === "acquire") acquire(op.topic);
      else if (op.do === "release") {
        held[op.topic]?.release();
        held[op.topic] = undefined;
      } else if (op.do === "stall") gateway.stalled = op.on;
      else if (op.do === "deliver") gateway.deliver();
      else if (op.do === "tick") gateway.tick();
      else if (op.do === "cut") gateway.connection?.cut();
      else if (op.do === "drain") {
        if (gateway.connection?.greeted) gateway.connection.send({ type: "drain", retry_after_ms: 500 });
      } else if (op.do === "epoch") gateway.newEpoch(name(0), `e${(epochs += 1)}`, (value += 1));
      else if (op.do === "cutLog") gateway.cutLog("log", 2);
      else if (op.do === "hide") world.hide(op.on);
      else if (op.do === "wait") world.clock.advance(op.ms);
    }
    gateway.stalled = false;
    world.hide(false);
    world.settle(41_000, 50);
    for (let n = 0; n < STATES; n += 1) {
      if (held[n] === undefined) continue;
      const view = held[n]?.current();
      const topic = gateway.topics.get(name(n));
      expect(view?.state).toBe(topic?.kind === "state" ? topic.state : undefined);
      expect(view?.flags.stale).toBe(false);
    }
    // Rising, to the end; where something is missing, a loss was told.
    const missing = Array.from({ length: end }, (_, i) => from + i).filter((offset) => !seen.includes(offset));
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
    expect(log.current()?.events.at(-1)?.offset ?? 0).toBe(end === 0 ? seen.at(-1) ?? 0 : end);
    if (missing.length > 0) expect(log.current()?.lost).toBeGreaterThan(0);
    expect(world.errors).toEqual([]);
    expect(session.diagnostics().counts.messagesBroken).toBe(0);
    cuts += gateway.connections.length - 1;
    gaps += session.diagnostics().counts.gapsLost;
  }), { numRuns: 200 });
  // Histories without misfortune would prove nothing.
  expect(cuts).toBeGreaterThan(50);
  expect(gaps).toBeGreaterThan(0);
});
