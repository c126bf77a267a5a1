// Whether dist is what the sources make: builds anew beside it and compares byte by byte. Names what differs.
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const kept = join(root, "dist");
const fresh = mkdtempSync(join(tmpdir(), "evenkeel-dashboard-"));
try {
  await build({ root, logLevel: "warn", build: { outDir: fresh, emptyOutDir: true } });
  const names = [...new Set([...readdirSync(kept), ...readdirSync(fresh)])].sort();
  const bytes = (dir, name) => (readdirSync(dir).includes(name) ? readFileSync(join(dir, name)) : undefined);
  const differing = names.filter((name) => {
    const [a, b] = [bytes(kept, name), bytes(fresh, name)];
    return a === undefined || b === undefined || !a.equals(b);
  });
  for (const name of names) console.log(`${differing.includes(name) ? "differs" : "equal  "} dist/${name}`);
  if (differing.length > 0) {
    console.error("dist is not what the sources make: run `make dashboard` and commit it");
    process.exitCode = 1;
  }
} finally {
  rmSync(fresh, { recursive: true });
}
