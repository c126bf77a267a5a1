// What people see: every state of both pages, by day, by night and on a phone; each is looked through by axe as well.
// The pictures go to test-results; `npm run screenshots` keeps them in tests/screenshots.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { deviceHash, shot, SIMULATED, until, World } from "./world.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const BOWL = deviceHash("bowl/0000");

let world: World;
beforeAll(async () => void (world = await World.open()));
afterAll(() => world?.close());
// A test that fails half-way leaves the world whole for the next one.
afterEach(() => {
  world.line.mend();
  world.gateway.token = undefined;
  world.gateway.fleet.summaryStoppedAt = undefined;
  world.gateway.fleet.silent.clear();
  world.gateway.refused.clear();
});

interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

async function accessible(page: Page): Promise<void> {
  // Through the debugger: the page's policy lets no foreign script in.
  await page.evaluate(AXE);
  const violations = await page.evaluate(
    async () =>
      (await (globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } }).axe.run()).violations,
  );
  expect(
    violations.map(({ id, nodes }) => ({
      id,
      nodes: nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`),
    })),
  ).toEqual([]);
}

const badge = (page: Page): Promise<string> => page.locator(".badge .label").innerText();
const trust = (page: Page): Promise<string> => page.locator(".title .trust .label").innerText();

/** Seen, found accessible, and no wider than the screen. */
async function seen(page: Page, name: string): Promise<void> {
  await shot(page, name);
  await accessible(page);
  const [width, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth] as const);
  expect(width, `${name} is wider than its screen`).toBeLessThanOrEqual(screen);
}

const LOOKS = [
  { name: "light", options: {} },
  { name: "dark", options: { colorScheme: "dark" } },
  {
    name: "phone",
    options: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true },
  },
  {
    name: "phone-dark",
    options: { viewport: { width: 360, height: 740 }, colorScheme: "dark", isMobile: true, hasTouch: true },
  },
] as const;

describe.runIf(SIMULATED)("live", () => {
  for (const { name, options } of LOOKS) {
    it(`the fleet, ${name}`, async () => {
      const page = await world.page(options);
      await page.locator(".devices tbody tr").nth(3).waitFor();
      await until(
        () => trust(page),
        (label) => label === "Live",
        "the mark of the fleet page",
      );
      for (let i = 0; i < 600; i += 1) world.step();
      await seen(page, `fleet-live-${name}`);
      await page.context().close();
    });
    it(`a device, ${name}`, async () => {
      const page = await world.page(options, BOWL);
      await page.locator(".panel canvas").nth(1).waitFor();
      await page.locator(".windows tbody tr").nth(3).waitFor();
      await until(
        () => trust(page),
        (label) => label === "Live",
        "the mark of the device page",
      );
      for (let i = 0; i < 600; i += 1) world.step();
      await page.locator(".alerts li").first().waitFor();
      await seen(page, `device-live-${name}`);
      await page.context().close();
    });
  }
});

describe.runIf(SIMULATED)("not live", () => {
  it("a device that falls silent is stale, and says since when", async () => {
    const page = await world.page({}, deviceHash("bowl/0003"));
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark before",
    );
    world.gateway.fleet.silent.set("bowl/0003", world.gateway.fleet.now);
    await until(
      () => trust(page),
      (label) => label === "Stale",
      "the mark after",
    );
    for (let i = 0; i < 150; i += 1) world.step();
    await until(
      () => page.locator(".title .trust .detail").innerText(),
      (text) => /As of \d+ s ago/.test(text),
      "the age",
    );
    await seen(page, "device-stale");
    world.gateway.fleet.silent.delete("bowl/0003");
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark when it is back",
    );
    await page.context().close();
  });

  it("a summary that stops is stale", async () => {
    const page = await world.page({ colorScheme: "dark" });
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark before",
    );
    world.gateway.fleet.summaryStoppedAt = world.gateway.fleet.now;
    await until(
      () => trust(page),
      (label) => label === "Stale",
      "the mark after",
    );
    await seen(page, "fleet-stale-dark");
    world.gateway.fleet.summaryStoppedAt = undefined;
    await page.context().close();
  });

  it("a gateway that lists no devices says so, and the way by id stays", async () => {
    world.gateway.refused.set("fleet/devices", "this gateway lists no devices");
    const page = await world.page();
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark",
    );
    await until(
      () => page.locator(".devices").innerText(),
      (text) => /Refused[^]*lists no devices[^]*by its id/.test(text),
      "the words",
    );
    await page.getByLabel("Open a device by its id").fill("bowl/0007");
    await page.getByRole("button", { name: "Open" }).click();
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark of the device page",
    );
    await page.goBack();
    await until(
      () => page.locator(".devices .label").innerText(),
      (label) => label === "Refused",
      "the words on the way back",
    );
    await seen(page, "fleet-unlisted");
    world.gateway.refused.clear();
    await page.context().close();
  });

  it("a device nobody knows has no data, and no figure stands for it", async () => {
    const page = await world.page({}, deviceHash("nobody/1"));
    await until(
      () => badge(page),
      (label) => label === "Connected",
      "the badge",
    );
    await until(
      () => page.locator(".title .trust .detail").innerText(),
      (text) => text.includes("Is the id right"),
      "the words",
    );
    expect(await page.locator(".facts dd").allInnerTexts()).toEqual(["–", "–", "–", "–", "–"]);
    await seen(page, "device-no-data");
    await page.context().close();
  });

  it("without a connection figures are shown as old, with a way to try again", async () => {
    const page = await world.page({}, BOWL);
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark before",
    );
    world.line.cut();
    await until(
      () => badge(page),
      (label) => label === "Reconnecting",
      "the badge",
    );
    await until(
      () => trust(page),
      (label) => label === "Stale",
      "the mark after",
    );
    await until(
      () => page.locator(".notice").innerText(),
      (text) => text.includes("Not connected since"),
      "the notice",
    );
    await page.getByRole("button", { name: "Try now" }).waitFor();
    await seen(page, "device-reconnecting");
    world.line.mend();
    await until(
      () => trust(page),
      (label) => label === "Live",
      "the mark when the line is back",
    );
    await page.context().close();
  });

  it("a gateway that wants a token is given one, which stays in the tab", async () => {
    world.gateway.token = "open sesame";
    const page = await world.page();
    await page.getByRole("dialog").waitFor();
    await seen(page, "token");
    await page.getByLabel("Token", { exact: true }).fill("wrong");
    await page.getByRole("button", { name: "Connect" }).click();
    await page.getByText("The token in use was not accepted.").waitFor();
    await page.getByLabel("Token", { exact: true }).fill("open sesame");
    await page.getByRole("button", { name: "Connect" }).click();
    await until(
      () => badge(page),
      (label) => label === "Connected",
      "the badge",
    );
    expect(await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage)])).toEqual([
      [],
      ["evenkeel.token"],
    ]);
    world.gateway.token = undefined;
    await page.getByRole("button", { name: "Forget token" }).click();
    await until(
      () => page.evaluate(() => sessionStorage.length),
      (n) => n === 0,
      "the tab's storage",
    );
    await page.context().close();
  });

  it("a gateway that slows down or leaves is said to", async () => {
    const page = await world.page();
    await until(
      () => badge(page),
      (label) => label === "Connected",
      "the badge",
    );
    const [connection] = [...world.gateway.connections].slice(-1);
    connection?.say({ type: "rate", step: 1, max_hz: 5, reason: "slow reader" });
    await until(
      () => badge(page),
      (label) => label === "Slowed",
      "the badge when slowed",
    );
    connection?.say({ type: "drain", retry_after_ms: 1_500 });
    await until(
      () => badge(page),
      (label) => label === "Moving",
      "the badge while it drains",
    );
    await until(
      () => badge(page),
      (label) => label === "Connected",
      "the badge on the next connection",
    );
    await page.context().close();
  });
});

it.runIf(SIMULATED)("nothing went wrong behind the scenes", () => {
  // What a browser says about a connection that a test cut is expected.
  expect(world.faults.filter((fault) => !/WebSocket connection to|ERR_CONNECTION|ERR_EMPTY/.test(fault))).toEqual([]);
});
