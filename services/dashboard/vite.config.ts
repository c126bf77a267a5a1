// The build: four files with plain names, so that a change shows as a change of those files and nothing else.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The client is taken from its sources: one repository, one version of it. */
export const clientAlias = {
  "@evenkeel/client/react": here("../../libs/client-ts/src/react/index.ts"),
  "@evenkeel/client": here("../../libs/client-ts/src/index.ts"),
};

/** The licence of what is bundled goes with the bundle. */
const licences = (): Plugin => ({
  name: "licences",
  apply: "build",
  generateBundle() {
    const uplot = readFileSync(here("node_modules/uplot/LICENSE"), "utf8");
    const about = "The dashboard of Evenkeel is under the Apache License 2.0. It contains uPlot, under this one:";
    const source = `${about}

${uplot}`;
    this.emitFile({ type: "asset", fileName: "licences.txt", source });
  },
});

export default defineConfig({
  base: "./",
  resolve: { alias: clientAlias },
  plugins: [licences()],
  build: {
    target: "es2022",
    cssCodeSplit: false,
    modulePreload: false,
    rolldownOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "app[extname]" },
    },
  },
});
