// Leases in any order: what is on the wire follows from who holds what, and from nothing else.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { StateLease } from "../src/lease.js";
import { REGISTRY_SETTINGS } from "../src/registry.js";
import type { Scope } from "../src/scope.js";
import type { StateTopic } from "../src/topic.js";
import { World } from "./world.js";

const topic = (n: number): StateTopic<number> => ({ kind: "state", name: `t/${n}` });
const { subscriptionLingerMs, valueLingerMs } = REGISTRY_SETTINGS;

type Op =
  | { do: "acquire"; topic: number; scope: number }
  | { do: "release"; lease: number }
  | { do: "again"; lease: number }
  | { do: "scope"; parent: number }
  | { do: "dispose"; scope: number }
  | { do: "wait"; ms: number }
  | { do: "cut" };

const anOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("acquire" as const), topic: fc.nat(5), scope: fc.nat(5) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("release" as const), lease: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("again" as const), lease: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("scope" as const), parent: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("dispose" as const), scope: fc.nat(5) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(0, 100, 2_000, 4_990, 5_010, 70_000) }) },
  { weight: 1, arbitrary: fc.constant({ do: "cut" as const }) },
);

/** The plain reference: a list of holdings per topic, and when the last one went. */
class Reference {
  readonly holders = new Map<number, Set<object>>();
  readonly idleSince = new Map<number, number>();

  hold(n: number, by: object): void {
    this.holders.set(n, (this.holders.get(n) ?? new Set()).add(by));
  }

  release(n: number, by: object, now: number): void {
    const holders = this.holders.get(n);
    if (holders?.delete(by) && holders.size === 0) this.idleSince.set(n, now);
  }

  wanted(now: number): string[] {
    const lingers = (n: number) => now < (this.idleSince.get(n) ?? -Infinity) + subscriptionLingerMs;
    return [...this.holders].filter(([n, by]) => by.size > 0 || lingers(n)).map(([n]) => `t/${n}`).sort();
  }

  get references(): number {
    return [...this.holders.values()].reduce((sum, by) => sum + by.size, 0);
  }
}

describe("the registry", () => {
  it("has on the wire what is held or lingers, whatever the order of acquire, release and dispose", () => {
    fc.assert(fc.property(fc.array(anOp, { maxLength: 60 }), (ops) => {
      const world = new World();
      const session = world.session();
      const reference = new Reference();
      const scopes: { scope: Scope; parent: Scope | undefined }[] = [{ scope: session.scope.child("root"), parent: undefined }];
      const leases: { n: number; lease: StateLease<number>; scope: Scope }[] = [];
      const release = (i: number): void => {
        const held = leases[i % Math.max(1, leases.length)];
        if (held === undefined) return;
        held.lease.release();
        reference.release(held.n, held.lease, world.clock.now());
      };
      const within = (inner: Scope | undefined, outer: Scope): boolean =>
        inner !== undefined && (inner === outer || within(scopes.find(({ scope }) => scope === inner)?.parent, outer));
      world.settle(20);
      for (const op of ops) {
        if (op.do === "acquire") {
          const { scope } = scopes[op.scope % scopes.length] as { scope: Scope };
          if (scope.disposed) expect(() => scope.acquire(topic(op.topic))).toThrow("has ended");
          else {
            const lease = scope.acquire(topic(op.topic));
            leases.push({ n: op.topic, lease, scope });
            reference.hold(op.topic, lease);
          }
        } else if (op.do === "release") release(op.lease);
        else if (op.do === "again") {
          release(op.lease);
          release(op.lease);
        } else if (op.do === "scope") {
          const { scope } = scopes[op.parent % scopes.length] as { scope: Scope };
          if (!scope.disposed && scopes.length < 6) scopes.push({ scope: scope.child("child"), parent: scope });
        } else if (op.do === "dispose") {
          const { scope } = scopes[op.scope % scopes.length] as { scope: Scope };
          scope.dispose();
          scope.dispose();
          for (const held of leases) if (within(held.scope, scope)) reference.release(held.n, held.lease, world.clock.now());
        } else if (op.do === "wait") world.settle(op.ms, 1_000);
        else world.gateway.connection?.cut();
        expect(session.diagnostics().references).toBe(reference.references);
        if (op.do === "wait" && op.ms > 0 && session.status().state === "connected") {
          world.gateway.deliverAll();
          expect(world.gateway.subscribed()).toEqual(reference.wanted(world.clock.now()));
        }
      }
      world.settle(700);
      expect(session.status().state).toBe("connected");
      expect(world.gateway.subscribed()).toEqual(reference.wanted(world.clock.now()));
      session.scope.dispose();
      expect(session.scope.size).toBe(0);
      session.assertBaseline();
      world.settle(valueLingerMs + 10, 1_000);
      expect(world.gateway.subscribed()).toEqual([]);
      expect(session.diagnostics().topics).toEqual([]);
    }), { numRuns: 300 });
  });

  it("a second release takes nobody else's share", () => {
    const world = new World();
    const session = world.session();
    const [mine, other] = [session.acquire(topic(1)), session.acquire(topic(1))];
    world.settle();
    mine.release();
    mine.release();
    mine[Symbol.dispose]();
    world.settle(10_000);
    expect(world.gateway.subscribed()).toEqual(["t/1"]);
    expect(other.released).toBe(false);
    other.release();
    world.settle(4_900);
    expect(world.gateway.subscribed()).toEqual(["t/1"]);
    world.settle(200);
    expect(world.gateway.subscribed()).toEqual([]);
  });

  it("asks at the fastest holder's rate, and tells when that changes", () => {
    const world = new World();
    const session = world.session();
    session.acquire(topic(1), { maxHz: 2 });
    world.settle();
    const fast = session.acquire(topic(1), { maxHz: 5 });
    world.settle();
    fast.release();
    world.settle();
    expect(world.gateway.received("subscribe").map(({ subscriptions }) => subscriptions[0]?.max_hz)).toEqual([2]);
    expect(world.gateway.received("rate").map(({ rates }) => rates)).toEqual([[{ id: 1, max_hz: 5 }], [{ id: 1, max_hz: 2 }]]);
    expect(() => session.acquire(topic(1), { maxHz: 0 })).toThrow("must be above 0");
  });

  it("subscribes in batches no larger than the server takes", () => {
    const world = new World();
    const session = world.session();
    for (let n = 0; n < 10; n += 1) session.acquire(topic(n));
    world.settle();
    expect(world.gateway.received("subscribe").map(({ subscriptions }) => subscriptions.length)).toEqual([4, 4, 2]);
    world.gateway.connection?.cut();
    world.settle(600);
    expect(world.gateway.received("subscribe").length).toBe(6);
  });

  it("at its bound lets the longest idle go, and refuses when all are held", () => {
    const world = new World();
    const session = world.session({ topicsMax: 2 });
    const [a, b] = [session.acquire(topic(1)), session.acquire(topic(2))];
    expect(() => session.acquire(topic(3))).toThrow("2 topics are held: release some, or raise topicsMax");
    world.settle();
    a.release();
    world.settle(10);
    b.release();
    session.acquire(topic(3));
    world.settle();
    expect(world.gateway.subscribed()).toEqual(["t/2", "t/3"]);
    expect(() => session.acquire({ kind: "state", name: "x".repeat(1025) })).toThrow("1025 characters");
    expect(() => session.acquire({ kind: "event", name: "t/3" })).toThrow("held as state topic");
  });
});

describe("scopes", () => {
  it("give back the newest first, children too, and run every end even if one throws", () => {
    const world = new World();
    const session = world.session();
    const order: string[] = [];
    const feature = session.scope.child("feature");
    feature.defer(() => order.push("feature's first"));
    const widget = feature.child("widget");
    widget.defer(() => order.push("widget's"));
    widget.defer(() => { throw new Error("an end that throws"); });
    const lease = widget.acquire(topic(1));
    feature.defer(() => order.push("feature's last"));
    feature.defer(() => order.push("taken back"))();
    expect(() => feature.dispose()).toThrow("ends of scope session/feature threw");
    expect(order).toEqual(["feature's last", "widget's", "feature's first"]);
    expect([lease.released, widget.disposed, session.scope.size]).toEqual([true, true, 0]);
    expect(() => widget.child("late")).toThrow("scope session/feature/widget has ended");
  });

  it("end with `using`", () => {
    const world = new World();
    const session = world.session();
    {
      using widget = session.scope.child("widget");
      using lease = widget.acquire(topic(1));
      expect([lease.topic, session.diagnostics().references]).toEqual(["t/1", 1]);
    }
    session.assertBaseline();
  });

  it("open and close a page 100 times: everything is back at the baseline", () => {
    const world = new World();
    const session = world.session();
    const page = (): void => {
      const feature = session.scope.child("device page");
      for (let n = 0; n < 5; n += 1) {
        const lease = feature.child(`widget ${n}`).acquire(topic(n));
        lease.onPaint(() => undefined);
        lease.onFrame(() => undefined);
        void lease.views().next();
      }
      world.settle(50);
      feature.dispose();
    };
    page();
    const before = { ...session.diagnostics(), timers: world.clock.pending };
    for (let i = 0; i < 100; i += 1) page();
    const after = { ...session.diagnostics(), timers: world.clock.pending };
    const grown = ["references", "listeners", "topicsActive", "topicsKept", "timers"] as const;
    expect(grown.map((key) => after[key])).toEqual(grown.map((key) => before[key]));
    expect(session.scope.size).toBe(0);
    expect(world.gateway.received("subscribe").flatMap(({ subscriptions }) => subscriptions).length).toBe(5);
    expect(after.log.length).toBe(64);
  });
});

it("assertBaseline names who still holds what", () => {
  const world = new World();
  const session = world.session();
  session.scope.child("feature").acquire(topic(7)).onPaint(() => undefined);
  world.clock.advance(1_500);
  expect(() => session.assertBaseline()).toThrow(/1 leases and 1 listeners[^]*t\/7: session\/feature \(1500 ms\); 1 listeners/);
});
