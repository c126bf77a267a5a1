// What a holder sees: last values at once, paints, hidden pages, gaps, refusals, iterators.
import { expect, it } from "vitest";
import { events, frames } from "../src/rxjs/index.js";
import type { EventTopic, StateTopic } from "../src/topic.js";
import { World } from "./world.js";

const T: StateTopic<number> = { kind: "state", name: "t" };
const LOG: EventTopic<number> = { kind: "event", name: "log" };

it("a late holder has the last value at once, a listener that throws hurts nobody", () => {
  const world = new World();
  const session = world.session();
  session.acquire(T).onFrame(() => { throw new Error("mine"); });
  world.gateway.publish("t", 5);
  world.settle();
  const late = session.acquire(T);
  const heard: number[] = [];
  late.onFrame(({ state }) => heard.push(state));
  expect([late.current()?.state, heard]).toEqual([5, [5]]);
  expect([world.errors.length, session.diagnostics().counts.listenerErrors]).toEqual([1, 1]);
});

it("frames come at their own rate, paints at the session's", () => {
  const world = new World();
  const session = world.session({ paintHz: 5 });
  const lease = session.acquire(T);
  let [framed, painted] = [0, 0];
  lease.onFrame(() => (framed += 1));
  world.settle();
  lease.onPaint(() => (painted += 1));
  for (let i = 0; i < 100; i += 1) {
    world.gateway.publish("t", i);
    world.settle(10);
  }
  expect(framed).toBe(100);
  expect(painted).toBeGreaterThanOrEqual(4);
  expect(painted).toBeLessThanOrEqual(6);
  expect(session.diagnostics().topics[0]?.messagesPerSecond).toBe(10);
});

it("a hidden page is not painted and catches up by the newest snapshot", () => {
  const world = new World();
  const session = world.session();
  const lease = session.acquire(T);
  world.gateway.publish("t", 1);
  world.settle();
  let painted = 0;
  lease.onPaint(() => (painted += 1));
  world.hide(true);
  for (let i = 2; i < 50; i += 1) {
    world.gateway.publish("t", i);
    world.settle(20);
  }
  expect([painted, lease.current()?.state]).toEqual([0, 1]);
  expect(session.diagnostics().counts.framesTaken).toBeLessThan(5);
  world.hide(false);
  world.settle();
  expect(lease.current()).toMatchObject({ state: 49, flags: { live: true, paused: false } });
});

it("older frames are ignored and counted, fragments of nobody too", () => {
  const world = new World();
  const session = world.session();
  const lease = session.acquire(T);
  world.gateway.publish("t", 1);
  world.gateway.publish("t", 2);
  world.settle();
  const frame = { epoch: "a", seq: 1, ts: 0, source: "s", watermark: null, flags: [], state: 1 };
  world.gateway.connection?.send({ type: "next", server_ms: 1, fragments: [{ id: 1, frame }, { id: 9, frame }] });
  world.settle();
  expect(lease.current()?.state).toBe(2);
  expect(session.diagnostics().counts).toMatchObject({ framesTaken: 1, framesStale: 1, fragmentsStray: 1 });
});

it("a gap is asked for from the last offset, once", () => {
  const world = new World();
  const session = world.session();
  world.gateway.append("log", 0);
  const lease = session.acquire(LOG);
  const seen: number[] = [];
  lease.onEvent(({ offset }) => seen.push(offset));
  world.settle();
  for (let i = 1; i <= 4; i += 1) world.gateway.append("log", i);
  const gap = { epoch: "k", after: 2, events: [{ offset: 3, ts: 0, data: 3 }] };
  for (let i = 0; i < 2; i += 1) world.gateway.connection?.send({ type: "next", server_ms: 1, fragments: [{ id: 1, events: gap }] });
  world.settle();
  expect(seen).toEqual([1, 2, 3, 4]);
  expect(world.gateway.received("subscribe").map(({ subscriptions }) => subscriptions[0])).toEqual([
    { id: 1, topic: "log" },
    { id: 1, topic: "log", position: { epoch: "k", offset: 0 } },
  ]);
  expect(session.diagnostics().counts).toMatchObject({ gaps: 1, gapsLost: 0, eventsTaken: 4 });
});

it("a refused topic says why, and is asked for again only when the server names a time", () => {
  const world = new World();
  const session = world.session();
  world.gateway.refusals.set("t", { reason: "overloaded", message: "later", retry_after_ms: 800 });
  world.gateway.refusals.set("u", { reason: "forbidden", message: "not yours" });
  const [t, u] = [session.acquire(T), session.acquire({ kind: "state", name: "u" })];
  world.settle();
  expect([t.problem(), u.problem()]).toEqual(["overloaded: later", "forbidden: not yours"]);
  world.gateway.refusals.clear();
  world.gateway.publish("t", 1);
  world.settle(1_500);
  expect([t.problem(), t.current()?.flags.live, u.problem()]).toEqual([undefined, true, "forbidden: not yours"]);
  expect(world.gateway.subscribed()).toEqual(["t"]);
});

it("iterators: views skip to the latest, events keep all up to a bound, both end with the lease", async () => {
  const world = new World();
  const session = world.session();
  world.gateway.append("log", 0);
  const [state, log] = [session.acquire(T), session.acquire(LOG)];
  const [views, all] = [state.views(), log.events()];
  world.settle();
  for (let i = 1; i <= 300; i += 1) {
    world.gateway.append("log", i);
    world.gateway.publish("t", i);
    world.settle(10);
  }
  world.settle();
  expect((await views.next()).value?.state).toBe(300);
  expect([(await all.next()).value?.offset, all.dropped]).toEqual([45, 44]);
  const waiting = views.next();
  await expect(views.next()).rejects.toThrow("one consumer");
  state.release();
  expect(await waiting).toEqual({ done: true, value: undefined });
  expect(await state.views().next()).toMatchObject({ done: false, value: { state: 300 } });
  await all.return?.();
  log.release();
  session.assertBaseline();
});

it("observables hold a topic while they are subscribed", () => {
  const world = new World();
  const session = world.session();
  world.gateway.append("log", 0);
  const seen: number[] = [];
  const subscriptions = [
    frames(session, T).subscribe(({ state }) => seen.push(state)),
    events(session, LOG).subscribe(({ data }) => seen.push(data)),
  ];
  world.settle();
  world.gateway.publish("t", 10);
  world.gateway.append("log", 20);
  world.settle();
  expect(seen.sort()).toEqual([10, 20]);
  for (const subscription of subscriptions) subscription.unsubscribe();
  session.assertBaseline();
});

it("a disposed session leaves no timer, no listener, no socket", async () => {
  const world = new World();
  const session = world.session();
  const lease = session.acquire(T);
  const statuses = session.statuses();
  world.settle();
  session.dispose();
  session.dispose();
  expect([lease.released, world.clock.pending, world.watchers, world.gateway.connection?.open]).toEqual([true, 0, 0, false]);
  await statuses.next();
  expect((await statuses.next()).done).toBe(true);
  expect(() => session.connect()).toThrow("create another");
});
