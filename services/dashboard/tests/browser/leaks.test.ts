// Open and close a device page a hundred times: what is held is what was held, in client, document and heap.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { deviceHash, footprint, held, until, World, type Held } from "./world.js";

const ROUNDS = 100;
const WARM_UP = 15;
/** The client forgets a topic's value after 60 s. */
const FORGOTTEN_MS = 90_000;
/** What the heap may have more at the end: the engine's own notes on hot code. One page's rings are half of it. */
const HEAP_SLACK = 768 * 1024;

let world: World;
beforeAll(async () => void (world = await World.open()));
afterAll(() => world?.close());

/** Names of a few devices: opened in turn, so that topics come and go and come back. */
async function devices(page: Page): Promise<string[]> {
  const given = process.env["EVENKEEL_GATEWAY_DEVICE"];
  if (given !== undefined) return [given];
  await page.locator(".devices tbody a").first().waitFor();
  return (await page.locator(".devices tbody a").allInnerTexts()).slice(0, 5);
}

async function openAndClose(page: Page, id: string): Promise<void> {
  await page.evaluate((hash) => void (location.hash = hash), deviceHash(id));
  await page.locator(".panel canvas").first().waitFor();
  await page.evaluate(() => void (location.hash = "#/"));
  await page.locator(".hero canvas").waitFor();
}

const holdsLike = (baseline: Held) => (now: Held) =>
  now.references === baseline.references &&
  now.listeners === baseline.listeners &&
  now.topicsActive === baseline.topicsActive;

it("a hundred openings leave nothing behind", async () => {
  const page = await world.page();
  const ids = await devices(page);
  await page.locator(".hero canvas").waitFor();
  const baseline = await held(page);
  for (let i = 0; i < WARM_UP; i += 1) await openAndClose(page, ids[i % ids.length] as string);
  await until(() => held(page), holdsLike(baseline), "what the client holds after the warm-up");
  const before = await footprint(page);
  for (let i = 0; i < ROUNDS; i += 1) await openAndClose(page, ids[i % ids.length] as string);
  await until(() => held(page), holdsLike(baseline), "what the client holds after the rounds");
  const after = await footprint(page);
  const [heap, nodes] = [`${before.heap} → ${after.heap}`, `${before.nodes} → ${after.nodes}`];
  console.log(`heap ${heap} bytes, nodes ${nodes}, listeners ${before.domListeners} → ${after.domListeners}`);
  expect(after.heap - before.heap).toBeLessThan(HEAP_SLACK);
  expect(after.nodes - before.nodes).toBeLessThan(100);
  expect(after.domListeners - before.domListeners).toBeLessThan(10);
  await until(
    () => held(page),
    ({ topicsKept }) => topicsKept === baseline.topicsKept,
    "values that the client keeps",
    FORGOTTEN_MS,
  );
  expect(world.faults).toEqual([]);
});
