// The dashboard without a mouse: every way of it by keys, and what a screen reader is told.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { someDevice, until, World } from "./world.js";

let world: World;
beforeAll(async () => void (world = await World.open()));
afterAll(() => world?.close());

const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const at = document.activeElement;
    return at === null
      ? "nothing"
      : `${at.tagName.toLowerCase()} ${at.getAttribute("aria-label") ?? at.textContent ?? ""}`.trim();
  });

/** Tab until the focus is on what is looked for; fails after a whole round. */
async function tabTo(page: Page, what: RegExp): Promise<void> {
  const passed: string[] = [];
  for (let i = 0; i < 150; i += 1) {
    await page.keyboard.press("Tab");
    const now = await focused(page);
    if (what.test(now)) return;
    passed.push(now);
  }
  expect.fail(`no Tab leads to ${what}: ${[...new Set(passed)].join(" · ")}`);
}

it("leads from the fleet to a device and back", async () => {
  const page = await world.page();
  const id = await someDevice(page);
  await page.keyboard.press("Tab");
  expect(await focused(page)).toBe("a Skip to the page");
  await page.keyboard.press("Enter");
  expect(await page.evaluate(() => document.activeElement?.id)).toBe("main");
  expect(await page.evaluate(() => location.hash)).toBe("#/");

  await page.reload();
  await tabTo(page, /^input Open a device/);
  await page.keyboard.type(id);
  await page.keyboard.press("Enter");
  await until(
    () => focused(page),
    (now) => now === `h1 ${id}`,
    "the focus on the device page",
  );
  expect(await page.title()).toBe(`${id} · Evenkeel`);

  await page.locator(".panel canvas").first().waitFor();
  const panels = await page.locator(".panel").count();
  const first = await page.locator(".chip").first().innerText();
  await tabTo(page, new RegExp(`^button ${first}$`));
  await page.keyboard.press("Space");
  expect(await page.locator(".panel").count()).toBe(panels - 1);
  expect(await page.locator(".chip").first().getAttribute("aria-pressed")).toBe("false");
  await page.keyboard.press("Space");
  expect(await page.locator(".panel").count()).toBe(panels);
  await tabTo(page, /^button 30 s$/);
  await page.keyboard.press("Enter");
  expect(await page.getByRole("button", { name: "30 s" }).getAttribute("aria-pressed")).toBe("true");
  await until(
    () => page.locator(".panel .plot").first().getAttribute("aria-label"),
    (label) => /over the last 30 s: now .*, lowest .*, highest /.test(label ?? ""),
    "the words for the chart",
  );

  await page.goBack();
  await until(
    () => focused(page),
    (now) => now === "h1 Fleet",
    "the focus on the fleet page",
  );
  await page.locator(".devices tbody a").first().waitFor();
  await tabTo(page, /^group Table of devices|^div Table of devices/);
  await tabTo(page, /^a ./);
  await page.keyboard.press("Enter");
  await until(
    () => focused(page),
    (now) => now.startsWith("h1 ") && now !== "h1 Fleet",
    "the focus on a device page",
  );
  expect(world.faults).toEqual([]);
});

it("chooses the colours, and they stay", async () => {
  const page = await world.page({ colorScheme: "light" });
  const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  const button = page.getByRole("button", { name: /^Colours/ });
  await button.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  expect(await button.getAttribute("aria-label")).toBe("Colours: Dark. Change to Auto");
  const dark = await ground();
  expect(dark).not.toBe(light);
  await page.reload();
  expect(await ground()).toBe(dark);
});

it("a screen reader hears of the connection, and is not chased by figures", async () => {
  const page = await world.page();
  const voice = page.locator("[role=status][aria-live=polite]");
  await until(
    () => voice.innerText(),
    (text) => text.startsWith("Connected."),
    "the words of the connection",
  );
  world.line.cut();
  await until(
    () => voice.innerText(),
    (text) => text.startsWith("Reconnecting."),
    "the words of its loss",
  );
  world.line.mend();
  await until(
    () => voice.innerText(),
    (text) => text.startsWith("Connected."),
    "the words of its return",
  );
  // Only the voice and the problem of the token dialog are live: figures change ten times a second.
  expect(await page.locator("[aria-live], [role=status], [role=alert]").count()).toBe(2);
});
