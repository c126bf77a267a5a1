// The client's hooks in a real browser: StrictMode mounts twice, the wire sees one subscribe.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { clientAlias } from "../../vite.config.js";
import { diagnostics, held, until, World } from "./world.js";

let world: World;
let built: string;
beforeAll(async () => {
  built = mkdtempSync(join(tmpdir(), "evenkeel-strict-"));
  await build({
    configFile: false,
    root: fileURLToPath(new URL("../..", import.meta.url)),
    logLevel: "warn",
    mode: "development",
    resolve: { alias: clientAlias, dedupe: ["react", "react-dom"] },
    define: { "process.env.NODE_ENV": '"development"' },
    build: {
      outDir: built,
      emptyOutDir: true,
      minify: false,
      lib: {
        entry: fileURLToPath(new URL("strict/main.tsx", import.meta.url)),
        formats: ["es"],
        fileName: () => "strict.js",
      },
    },
  });
  world = await World.open();
});
afterAll(async () => {
  await world?.close();
  rmSync(built, { recursive: true });
});

it("a component that is mounted twice subscribes once", async () => {
  // The document is the gateway's, whichever gateway it is; the script in it is ours.
  const body = readFileSync(join(built, "strict.js"), "utf8");
  const page = await world.blank();
  await page.route("**/app.js", (route) => route.fulfill({ contentType: "text/javascript", body }));
  const sent: { type: string; subscriptions?: { topic: string }[] }[] = [];
  page.on("websocket", (socket) => socket.on("framesent", ({ payload }) => sent.push(JSON.parse(String(payload)))));
  await page.goto(world.origin);
  await until(
    () => page.locator("p").innerText(),
    (text) => text === "connected: a frame",
    "the component",
  );
  expect(world.faults).toEqual([]);
  const log = (await diagnostics(page)).log.map(({ what }) => what);
  // If this is not so, StrictMode did not mount twice, and the test shows nothing.
  expect(log).toEqual(["acquire", "release", "acquire"]);
  expect(
    sent
      .filter(({ type }) => type === "subscribe")
      .map(({ subscriptions }) => subscriptions?.map(({ topic }) => topic)),
  ).toEqual([["fleet/summary"]]);
  expect(sent.filter(({ type }) => type === "complete")).toEqual([]);
  expect((await held(page)).references).toBe(1);
});
