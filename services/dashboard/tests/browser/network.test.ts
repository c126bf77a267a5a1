// The line is cut and comes back: one subscribe with positions, nothing held twice, figures that move again.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { deviceHash, held, someDevice, until, World } from "./world.js";

interface Sent {
  readonly type: string;
  readonly subscriptions?: readonly { readonly topic: string; readonly position?: object }[];
}

let world: World;
beforeAll(async () => void (world = await World.open()));
afterAll(() => world?.close());

const badge = (page: Page): Promise<string> => page.locator(".badge .label").innerText();
const reading = (page: Page): Promise<string> => page.locator(".panel .reading").first().innerText();

it("three cuts in a row leave the page as it was, and moving", async () => {
  const page = await world.page();
  const connections: Sent[][] = [];
  page.on("websocket", (socket) => {
    const sent: Sent[] = [];
    connections.push(sent);
    socket.on("framesent", ({ payload }) => sent.push(JSON.parse(String(payload))));
  });
  const id = await someDevice(page);
  await page.evaluate((hash) => void (location.hash = hash), deviceHash(id));
  await page.locator(".panel canvas").first().waitFor();
  await until(
    () => page.locator(".windows tbody tr").count(),
    (n) => n > 0,
    "the windows",
  );
  const before = await held(page);
  for (let cut = 0; cut < 3; cut += 1) {
    const known = connections.length;
    world.line.cut();
    await until(
      () => badge(page),
      (label) => label === "Reconnecting",
      "the badge while the line is cut",
    );
    expect(await page.locator(".notice").isVisible()).toBe(true);
    const stood = await reading(page);
    // Attempts fail, figures stand.
    await until(
      () => connections.length,
      (n) => n > known,
      "an attempt while the line is cut",
    );
    expect(await reading(page)).toBe(stood);
    world.line.mend();
    await until(
      () => badge(page),
      (label) => label === "Connected",
      "the badge when the line is back",
    );
    await until(
      () => reading(page),
      (now) => now !== stood,
      "a reading that moves",
    );
    await until(
      () => page.locator(".notice").isVisible(),
      (visible) => !visible,
      "the notice",
    );
  }
  const last = connections.at(-1) ?? [];
  const subscribed = last.filter(({ type }) => type === "subscribe");
  expect(subscribed).toHaveLength(1);
  const topics = subscribed[0]?.subscriptions ?? [];
  expect(new Set(topics.map(({ topic }) => topic)).size).toBe(topics.length);
  const of = (kind: string): object | undefined => topics.find(({ topic }) => topic.endsWith(kind))?.position;
  expect(of("/telemetry"), "the position of telemetry").toHaveProperty("seq");
  expect(of("/alerts"), "the position of alerts").toHaveProperty("offset");
  const { references, listeners } = await held(page);
  expect({ references, listeners }).toEqual({ references: before.references, listeners: before.listeners });
});
