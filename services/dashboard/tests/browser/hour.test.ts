// An hour of a device page in compressed time: every frame arrives, the page holds five minutes and shows the last.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measured } from "../../src/format.js";
import { deviceHash, diagnostics, footprint, SIMULATED, until, World } from "./world.js";

const ID = "bowl/0000";
const TICKS_PER_MINUTE = 600;
const HEAP_SLACK = 1024 * 1024;

let world: World;
beforeAll(async () => void (world = await World.open()));
afterAll(() => world?.close());

/** Lets the fleet live for so many minutes, as quickly as the socket takes it. */
async function live(minutes: number): Promise<void> {
  for (let tick = 0; tick < minutes * TICKS_PER_MINUTE; tick += 1) {
    world.step();
    // Every tick is to arrive: a gateway in a hurry would skip those that find the socket full.
    do await new Promise((resolve) => setImmediate(resolve));
    while (world.gateway.busy);
  }
}

describe.runIf(SIMULATED)("an hour", () => {
  it("changes nothing but the figures", async () => {
    const page = await world.page({}, deviceHash(ID));
    await page.locator(".panel canvas").first().waitFor();
    const frames = async (): Promise<number> => (await diagnostics(page)).counts.framesTaken;
    world.hold();
    await live(10);
    await until(frames, (n) => n > 5_000, "frames of the first ten minutes");
    const before = { ...(await footprint(page)), frames: await frames() };
    await live(50);
    const { series } = world.gateway.fleet.telemetry(ID, world.gateway.fleet.now - 1_000);
    const last = measured(series["weight"]?.v.at(-1));
    await until(
      () => page.locator(".panel .reading").first().innerText(),
      (text) => text === last,
      `the last reading, ${last}`,
    );
    const after = { ...(await footprint(page)), frames: await frames() };
    const [heap, nodes] = [`${before.heap} → ${after.heap}`, `${before.nodes} → ${after.nodes}`];
    console.log(`${after.frames - before.frames} frames, heap ${heap} bytes, nodes ${nodes}`);
    // Most ticks of fifty minutes must have come, or the hour was not an hour.
    expect(after.frames - before.frames).toBeGreaterThan(30_000);
    expect(after.heap - before.heap).toBeLessThan(HEAP_SLACK);
    expect(after.nodes - before.nodes).toBeLessThan(200);
    expect(await page.locator(".alerts li").count()).toBe(12);
    expect(await page.locator(".strip rect").count()).toBeLessThanOrEqual(120);
    const { counts } = await diagnostics(page);
    expect([counts.messagesBroken, counts.messagesUnknown, counts.listenerErrors, counts.gaps]).toEqual([0, 0, 0, 0]);
    world.run();
    expect(world.faults).toEqual([]);
  });
});
