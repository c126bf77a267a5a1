// The fleet's figures over time, fed through a session of the client with a clock that is moved by hand.
import type { FleetSummary } from "@evenkeel/client";
import { expect, it } from "vitest";
import { World } from "../../../../libs/client-ts/tests/world.js";
import { FleetFeed, HISTORY_MS } from "../../src/fleet/feed.js";
import { Fleet } from "../gateway/fleet.js";

const TOPIC = "fleet/summary";

function open(): { world: World; feed: FleetFeed; publish: (change?: Partial<FleetSummary>) => void } {
  const world = new World();
  const session = world.session();
  const feed = new FleetFeed(session.scope);
  const summary = new Fleet().summary();
  world.settle();
  return {
    world,
    feed,
    publish: (change = {}) => {
      world.gateway.publish(TOPIC, { ...summary, ...change });
      world.settle(500);
    },
  };
}

it("knows nothing before the first frame", () => {
  const { feed } = open();
  expect([feed.current(), feed.span()]).toEqual([undefined, undefined]);
});

it("draws from the first figure on, within its bounds", () => {
  const { world, feed, publish } = open();
  publish();
  const width = (): number => (feed.span()?.to ?? 0) - (feed.span()?.from ?? 0);
  expect(width()).toBe(15_000);
  world.settle(60_000, 1_000);
  publish();
  expect(width()).toBeGreaterThan(59_000);
  expect(width()).toBeLessThan(HISTORY_MS);
  world.settle(HISTORY_MS, 5_000);
  publish();
  expect(width()).toBe(HISTORY_MS);
  expect(feed.rings.eventsPerS.length).toBeLessThanOrEqual(3);
});

it("counts what was set aside since it was opened, and begins anew when the counter does", () => {
  const { world, feed, publish } = open();
  const since = (reason: string): number => {
    const dropped = new Map(feed.current()?.dropped ?? []);
    return feed.droppedSince(reason, dropped.get(reason) ?? 0);
  };
  publish({ dropped: { late: 100 } });
  expect(since("late")).toBe(0);
  publish({ dropped: { late: 103, future: 2 } });
  // A reason that was not there before began at nothing.
  expect([since("late"), since("future")]).toEqual([3, 2]);
  publish({ dropped: { late: 5, future: 2 } });
  expect(since("late")).toBe(0);
  world.gateway.newEpoch(TOPIC, "b", { dropped: { late: 900 } });
  world.settle(500);
  expect(since("late")).toBe(0);
});
