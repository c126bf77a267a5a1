// The core as a page would load it: bundled, minified, gzipped. Fails above the limit, prints the bytes.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** 12 KiB: what the core may weigh. */
export const LIMIT_BYTES = 12 * 1024;

/** Bytes of the core, gzipped. */
export async function coreBytes() {
  const entry = fileURLToPath(new URL("../src/index.ts", import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [entry], bundle: true, minify: true, format: "esm", target: "es2022", write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = await coreBytes();
  console.log(`core: ${bytes} bytes gzipped, the limit is ${LIMIT_BYTES}`);
  if (bytes > LIMIT_BYTES) process.exit(1);
}
