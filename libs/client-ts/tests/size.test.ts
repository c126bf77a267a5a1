// What a page pays, and what is generated.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
// @ts-expect-error a script without types
import { coreBytes, LIMIT_BYTES } from "../scripts/size.mjs";
// @ts-expect-error a script without types
import { generate } from "../scripts/topics.mjs";

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");

it("the core is at most 12 KiB, gzipped", async () => {
  const bytes: number = await coreBytes();
  expect(bytes).toBeGreaterThan(1024);
  expect(bytes).toBeLessThanOrEqual(LIMIT_BYTES as number);
});

it("the topics are those of topics.json", () => {
  expect(read("../src/topics.generated.ts")).toBe(generate(read("../../../schemas/ws/topics.json")));
});

it("nothing is needed at run time", () => {
  expect(JSON.parse(read("../package.json"))).not.toHaveProperty("dependencies");
});
