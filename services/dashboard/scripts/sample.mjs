// The sample gateway is TypeScript: Vite loads it, so that nothing more need be installed.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const entry = fileURLToPath(new URL("../tests/gateway/main.ts", import.meta.url));
const { module } = await runnerImport(entry, {
  configFile: fileURLToPath(new URL("../vite.config.ts", import.meta.url)),
});
await module.main();
