// A browser, a gateway, and the line between them. With EVENKEEL_GATEWAY_URL the gateway is a real one, and the tests
// that need to move the fleet's time are left out by name.
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Diagnostics } from "@evenkeel/client";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { expect } from "vitest";
import { Fleet } from "../gateway/fleet.js";
import { Gateway } from "../gateway/gateway.js";
import { Line } from "../gateway/line.js";
import { serve } from "../gateway/server.js";

const REAL = process.env["EVENKEEL_GATEWAY_URL"];
const CHROMIUM = process.env["EVENKEEL_CHROMIUM"] ?? "/usr/bin/chromium";
const TICK_MS = 100;
const KEEP = process.env["EVENKEEL_KEEP_SCREENSHOTS"] !== undefined;
const SHOTS = fileURLToPath(new URL(KEEP ? "../screenshots" : "../../test-results", import.meta.url));

/** Whether the gateway is ours to command. */
export const SIMULATED = REAL === undefined;

/** How long a browser may take to show what must come, ms. */
const DEADLINE_MS = 30_000;

export class World {
  /** Console errors, exceptions and refused loads of all pages. */
  readonly faults: string[] = [];
  readonly gateway = new Gateway(new Fleet());
  readonly #browser: Browser;
  readonly #ends: (() => Promise<void> | void)[];
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    browser: Browser,
    readonly line: Line,
    ends: (() => Promise<void> | void)[],
  ) {
    this.#browser = browser;
    this.#ends = ends;
  }

  static async open(): Promise<World> {
    if (!existsSync(CHROMIUM))
      throw new Error(
        `no Chromium at ${CHROMIUM}: install it (Debian: apt-get install chromium), or name it in EVENKEEL_CHROMIUM`,
      );
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    const ends: (() => Promise<void> | void)[] = [() => browser.close()];
    if (REAL !== undefined) {
      const { hostname, port } = new URL(REAL);
      return new World(browser, await Line.to(hostname, Number(port)), ends);
    }
    const own: { world?: World } = {};
    const gateway = (): Gateway => (own.world as World).gateway;
    const dist = fileURLToPath(new URL("../../dist", import.meta.url));
    const lazy = { connect: (wire: Parameters<Gateway["connect"]>[0]) => gateway().connect(wire) } as Gateway;
    const server = await serve(lazy, dist);
    ends.push(() => server.close());
    own.world = new World(browser, await Line.to("127.0.0.1", server.port), ends);
    own.world.run();
    return own.world;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.line.port}`;
  }

  /** The fleet's time goes on with the wall's. */
  run(): void {
    if (!SIMULATED) return;
    this.#timer ??= setInterval(() => this.step(), TICK_MS);
  }

  /** The fleet's time stands until `run`. */
  hold(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  step(): void {
    this.gateway.fleet.advance(TICK_MS);
    this.gateway.tick();
  }

  /** The dashboard at a page of it. */
  async page(options: BrowserContextOptions = {}, hash = "#/"): Promise<Page> {
    const page = await this.blank(options);
    await page.goto(`${this.origin}/${hash}`);
    return page;
  }

  /** A browser of its own, with nothing loaded yet. */
  async blank(options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: { width: 1200, height: 900 },
      timezoneId: "UTC",
      locale: "en-GB",
      colorScheme: "light",
      reducedMotion: "reduce",
      ...options,
    });
    this.#ends.unshift(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(DEADLINE_MS);
    page.on("pageerror", (error) => this.faults.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.faults.push(`console: ${message.text()}`);
    });
    return page;
  }

  async close(): Promise<void> {
    this.hold();
    for (const end of this.#ends) await end();
    await this.line.close();
  }
}

/** A device to open: given, or the first one that the fleet page lists. */
export async function someDevice(page: Page): Promise<string> {
  const given = process.env["EVENKEEL_GATEWAY_DEVICE"];
  if (given !== undefined) return given;
  return page.locator(".devices tbody a").first().innerText();
}

export const deviceHash = (id: string): string => `#/device/${encodeURIComponent(id)}`;

/** What the client of a page says of itself. */
export async function diagnostics(page: Page): Promise<Diagnostics> {
  const said = await page.evaluate(() => globalThis.evenkeel?.session.diagnostics());
  if (said === undefined) throw new Error("the page has no session: its script did not start");
  return said;
}

export type Held = Pick<Diagnostics, "references" | "listeners" | "topicsActive" | "topicsKept">;

/** What the client holds. */
export async function held(page: Page): Promise<Held> {
  const { references, listeners, topicsActive, topicsKept } = await diagnostics(page);
  return { references, listeners, topicsActive, topicsKept };
}

/** Bytes of the heap and counts of the document, after a full collection. */
export async function footprint(page: Page): Promise<{ heap: number; nodes: number; domListeners: number }> {
  const cdp = await page.context().newCDPSession(page);
  try {
    // Twice: what the first one finalises, the second one frees.
    await cdp.send("HeapProfiler.collectGarbage");
    await cdp.send("HeapProfiler.collectGarbage");
    // The points of charts lie in array buffers, beside the heap proper.
    const { usedSize, backingStorageSize } = await cdp.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await cdp.send("Memory.getDOMCounters");
    return { heap: usedSize + backingStorageSize, nodes, domListeners: jsEventListeners };
  } finally {
    await cdp.detach();
  }
}

/** Waits until the value is as expected; fails with the last value at the deadline. */
export async function until<T>(
  read: () => Promise<T> | T,
  expected: (value: T) => boolean,
  what: string,
  deadlineMs = DEADLINE_MS,
): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await read();
    if (expected(value)) return value;
    if (Date.now() > end) expect.fail(`${what}: still ${JSON.stringify(value)} after ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** The states whose pictures are kept in the repository. */
const KEPT = new Set([
  "fleet-live-light",
  "fleet-live-phone-dark",
  "device-live-dark",
  "device-stale",
  "device-reconnecting",
]);

/** A picture for people: sharp to look at, small to keep. */
export async function shot(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  const fullPage = true;
  if (!KEEP) await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage });
  else if (KEPT.has(name)) await page.screenshot({ path: `${SHOTS}/${name}.jpg`, type: "jpeg", quality: 55, fullPage });
}
