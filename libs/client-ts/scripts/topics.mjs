// Writes src/topics.generated.ts from schemas/ws/topics.json. With --check it only compares, and fails if they differ.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SOURCE = new URL("../../../schemas/ws/topics.json", import.meta.url);
const TARGET = new URL("../src/topics.generated.ts", import.meta.url);
const PRIMITIVES = new Set(["number", "string", "boolean"]);

/** The TypeScript form of a type of the schema. */
function typed(text, known) {
  if (text.endsWith("?")) return `${typed(text.slice(0, -1), known)} | null`;
  if (text.endsWith("[]")) return `readonly ${typed(text.slice(0, -2), known)}[]`;
  if (text.startsWith("{") && text.endsWith("}")) {
    return `{ readonly [name: string]: ${typed(text.slice(1, -1), known)} }`;
  }
  if (!PRIMITIVES.has(text) && !known.has(text)) throw new Error(`topics.json: unknown type ${text}`);
  return text;
}

function interfaceOf(name, type, known) {
  const fields = Object.entries(type.fields).map(
    ([field, [text, doc]]) => `  /** ${doc} */\n  readonly ${field}: ${typed(text, known)};\n`,
  );
  return `/** ${type.doc} */\nexport interface ${name} {\n${fields.join("")}}\n`;
}

function builderOf(topic, known) {
  const params = [...topic.pattern.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
  const name = topic.pattern.replace(/\{(\w+)\}/g, (_, param) => `\${encodeURIComponent(${param})}`);
  const kind = topic.kind === "event" ? "EventTopic" : "StateTopic";
  const taken = params.length === 0 ? "" : `{ ${params.join(", ")} }: { ${params.map((p) => `${p}: string`).join("; ")} }`;
  const text = params.length === 0 ? `"${name}"` : `\`${name}\``;
  return (
    `  /** ${topic.doc} */\n` +
    `  ${topic.name}: (${taken}): ${kind}<${typed(topic.value, known)}> => ({ kind: "${topic.kind}", name: ${text} }),\n`
  );
}

/** The whole file, from the text of topics.json. */
export function generate(json) {
  const schema = JSON.parse(json);
  const known = new Set(Object.keys(schema.types));
  return (
    "// Generated from schemas/ws/topics.json by scripts/topics.mjs; `npm run topics` writes it anew.\n" +
    'import type { EventTopic, StateTopic } from "./topic.js";\n\n' +
    Object.entries(schema.types).map(([name, type]) => interfaceOf(name, type, known)).join("\n") +
    "\n/** Makes the topics, by name. */\nexport const topics = {\n" +
    schema.topics.map((topic) => builderOf(topic, known)).join("") +
    "} as const;\n"
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = generate(readFileSync(SOURCE, "utf8"));
  if (!process.argv.includes("--check")) {
    writeFileSync(TARGET, text);
  } else if (readFileSync(TARGET, "utf8") !== text) {
    console.error("src/topics.generated.ts differs from schemas/ws/topics.json: run `npm run topics`");
    process.exit(1);
  }
}
