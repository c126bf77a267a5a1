// The built pages in a real headless Chromium. One file after the other: they share two cores and watch the heap.
import { defineConfig } from "vitest/config";
import { clientAlias } from "./vite.config.js";

export default defineConfig({
  resolve: { alias: clientAlias },
  test: {
    include: ["tests/browser/**/*.test.ts"],
    fileParallelism: false,
    testTimeout: 240_000,
    hookTimeout: 120_000,
  },
});
