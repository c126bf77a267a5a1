// What is said about memory: a share, and nothing where a part of it is not known.
import { expect, it } from "vitest";
import { memoryWords } from "../../src/fleet/memory.js";

it.each([
  [{ planned: 200, accounted: 50, resident: 150 }, "Resident is 75 % of the plan."],
  [{ planned: 100, accounted: 50, resident: 150 }, "Resident is 150 % of the plan."],
  [{ planned: 0, accounted: 50, resident: 150 }, ""],
  [{ planned: 100, accounted: 50, resident: undefined }, ""],
  [undefined, ""],
])("%j: %s", (memory, words) => expect(memoryWords(memory)).toBe(words));
