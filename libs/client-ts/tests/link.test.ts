// The connection: states, back-off, drain, silence, credentials.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs, LINK_SETTINGS, type LinkState } from "../src/link.js";
import { topics } from "../src/topics.generated.js";
import { World } from "./world.js";

const states = (world: World): LinkState[] => {
  const seen: LinkState[] = [];
  const session = world.session();
  session.onStatus(({ state }) => {
    if (seen.at(-1) !== state) seen.push(state);
  });
  seen.push(session.status().state);
  return seen;
};

describe("states", () => {
  it("connects, falls back, comes back, and goes away when told", () => {
    const world = new World();
    const session = world.session();
    const seen: LinkState[] = [session.status().state];
    session.onStatus(({ state }) => seen.at(-1) !== state && seen.push(state));
    world.settle(20);
    world.gateway.connection?.cut();
    expect(session.status().retryAt).toBeGreaterThan(world.clock.now());
    world.settle(600);
    session.disconnect();
    expect(seen).toEqual(["connecting", "connected", "backoff", "connecting", "connected", "disconnected"]);
    expect(session.diagnostics().counts.transitions).toEqual({ connecting: 2, connected: 2, backoff: 1, disconnected: 1 });
    world.settle(60_000);
    expect(session.status().state).toBe("disconnected");
    session.connect();
    world.settle(20);
    expect(session.status().state).toBe("connected");
  });

  it("stays away after a final close, and comes back after any other", () => {
    for (const [code, last] of [[4500, "disconnected"], [4599, "disconnected"], [4408, "connected"], [4001, "connected"]] as const) {
      const world = new World();
      const seen = states(world);
      world.settle(20);
      world.gateway.connection?.cut(code);
      world.settle(30_000);
      expect([code, seen.at(-1)]).toEqual([code, last]);
    }
  });

  it("does not wait for ever for an ack", () => {
    const world = new World();
    world.gateway.mute = true;
    const session = world.session();
    world.settle(9_000);
    expect(session.status().state).toBe("connecting");
    world.settle(1_100);
    expect(session.status()).toMatchObject({ state: "backoff", failures: 1, lastClose: { reason: "no connection_ack in time" } });
    world.gateway.mute = false;
    world.settle(1_000);
    expect(session.status().state).toBe("connected");
  });

  it("pings a silent server and gives it up after twice the interval", () => {
    const world = new World();
    const session = world.session();
    world.settle(40_000);
    expect(session.status().state).toBe("connected");
    expect(world.gateway.received("ping").length).toBe(2);
    world.gateway.mute = true;
    world.settle(21_000);
    expect(session.status().lastClose?.reason).toBe("silent");
    expect(session.diagnostics().counts.transitions.backoff).toBe(1);
  });

  it("hears nothing from a socket that it has given up", () => {
    const world = new World();
    const session = world.session();
    world.settle(20);
    const old = world.gateway.connection;
    session.disconnect();
    session.connect();
    world.settle(20);
    old?.events.received('{"type":"drain","retry_after_ms":1}');
    old?.events.closed(4500, "");
    world.settle(50);
    expect(session.status()).toMatchObject({ state: "connected", draining: false });
    expect(world.gateway.connections.length).toBe(2);
  });

  it("answers a ping", () => {
    const world = new World();
    world.session();
    world.settle(20);
    world.gateway.connection?.send({ type: "ping" });
    world.settle(20);
    expect(world.gateway.received("pong").length).toBe(1);
  });
});

describe("back-off", () => {
  it("is anywhere from 0 to the bound, which doubles from 0.5 s to 20 s", () => {
    fc.assert(fc.property(fc.nat(100), fc.double({ min: 0, max: 0.999_999, noNaN: true }), (failures, random) => {
      const bound = Math.min(20_000, 500 * 2 ** failures);
      const ms = backoffMs(failures, random, LINK_SETTINGS);
      expect(ms).toBeCloseTo(random * bound, 6);
      expect(ms).toBeLessThanOrEqual(bound);
    }));
  });

  it("grows while the server is away, and begins anew only after a connection that held", () => {
    const world = new World();
    world.random = 0.999;
    world.gateway.down = true;
    const session = world.session();
    const waits: number[] = [];
    session.onStatus(({ state, retryAt }) => {
      if (state === "backoff") waits.push(Math.round((retryAt ?? 0) - world.clock.now()));
    });
    world.settle(100_000);
    expect(waits.slice(0, 8)).toEqual([500, 999, 1998, 3996, 7992, 15984, 19980, 19980]);
    world.gateway.down = false;
    world.settle(25_000);
    expect(session.status().state).toBe("connected");
    world.gateway.connection?.cut();
    expect(waits.at(-1)).toBe(500);
    world.settle(700);
    world.gateway.connection?.cut();
    expect(waits.at(-1)).toBe(999);
  });

  it("adds what the server asks for", () => {
    const world = new World();
    const session = world.session();
    world.settle(20);
    world.gateway.connection?.cut(4429, "retry_after_ms=4000 too many");
    expect((session.status().retryAt ?? 0) - world.clock.now()).toBe(4_250);
  });
});

describe("drain", () => {
  it("keeps its frames until the time is over, then comes back at once and with its positions", () => {
    const world = new World();
    const session = world.session();
    const lease = session.acquire(topics.fleetSummary());
    world.gateway.publish("fleet/summary", 1);
    world.settle();
    world.gateway.connection?.send({ type: "drain", retry_after_ms: 2_500 });
    world.settle(20);
    expect(session.status()).toMatchObject({ state: "connected", draining: true });
    world.gateway.publish("fleet/summary", 2);
    world.settle(2_400);
    expect(lease.current()?.state).toBe(2);
    expect(world.gateway.connections.length).toBe(1);
    world.settle(200);
    expect(world.gateway.connections.length).toBe(2);
    expect(session.status()).toMatchObject({ state: "connected", failures: 0, draining: false });
    expect(world.gateway.received("subscribe").at(-1)?.subscriptions[0]?.position).toEqual({ epoch: "a", seq: 2 });
  });

  it("keeps the promised time when the server is gone before, without a random part", () => {
    const world = new World();
    const session = world.session();
    world.settle(20);
    world.gateway.connection?.send({ type: "drain", retry_after_ms: 2_500 });
    world.gateway.deliverAll();
    const promised = world.clock.now() + 2_500;
    world.settle(100);
    world.gateway.connection?.cut(4000);
    expect(session.status()).toMatchObject({ state: "backoff", retryAt: promised, failures: 0 });
  });
});

describe("credentials", () => {
  const turn = async (world: World): Promise<void> => {
    world.gateway.deliverAll();
    await new Promise((resolve) => setImmediate(resolve));
    world.settle(20);
  };

  it("are asked for anew per connection, and when they run out", async () => {
    const world = new World();
    let count = 0;
    world.session({ token: async () => `t-${++count}` });
    await turn(world);
    world.gateway.connection?.send({ type: "refresh", expires_in_ms: 60_000, wanted: true });
    await turn(world);
    world.gateway.connection?.send({ type: "refresh", expires_in_ms: 60_000, wanted: false });
    await turn(world);
    world.gateway.connection?.cut(4001);
    world.clock.advance(500);
    await turn(world);
    expect(world.gateway.received("connection_init").map(({ token }) => token)).toEqual(["t-1", "t-3"]);
    expect(world.gateway.received("refresh")).toEqual([{ type: "refresh", token: "t-2" }]);
  });

  it("that cannot be had are a failure like any other", async () => {
    const world = new World();
    const session = world.session({ token: () => Promise.reject(new Error("no login")) });
    await turn(world);
    expect(session.status()).toMatchObject({ state: "backoff", lastClose: { reason: "no token: Error: no login" } });
  });
});

it("an address that no socket takes ends in disconnected, and says why", () => {
  const world = new World();
  const ports = { ...world.ports, openSocket: () => { throw new SyntaxError("bad address"); } };
  Object.assign(world, { ports });
  const session = world.session();
  world.settle(100);
  expect(session.status()).toMatchObject({ state: "disconnected", lastClose: { reason: "SyntaxError: bad address" } });
  expect(world.errors.length).toBe(1);
});
