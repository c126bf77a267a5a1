// Logic alone: no browser, no network.
import { defineConfig } from "vitest/config";
import { clientAlias } from "./vite.config.js";

export default defineConfig({
  resolve: { alias: clientAlias },
  test: { include: ["tests/unit/**/*.test.ts"] },
});
