// Memory three ways: what was planned, what the cores account for, what the system sees. One scale for all bars.
import { card, h, s, setAttributes, setText } from "../dom.js";
import { bytes } from "../format.js";
import type { Summary } from "../read.js";

const BARS = [
  { key: "planned", title: "Planned", about: "by the arithmetic of the configuration" },
  { key: "accounted", title: "Accounted", about: "by the books of the cores" },
  { key: "resident", title: "Resident", about: "as the system sees the process" },
] as const;

export function memoryBars(): { element: HTMLElement; show: (memory: Summary["memory"] | undefined) => void } {
  const rows = BARS.map(({ key, title, about }) => {
    const figure = h("span", { class: "amount" });
    const fill = s("rect", { class: `fill ${key}`, x: 0, y: 0, height: 8, width: 0 });
    const bar = s(
      "svg",
      { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: "track", width: 100, height: 8 }),
      fill,
    );
    const row = h(
      "div",
      { class: "memory-row" },
      h("dt", {}, title),
      h("dd", {}, figure, bar, h("span", { class: "about" }, about)),
    );
    return { key, figure, fill, row };
  });
  const words = h("p", { class: "about" });
  const element = card("Memory", "memory", h("dl", {}, ...rows.map(({ row }) => row)), words);
  return {
    element,
    show: (memory) => {
      const top = Math.max(1, ...BARS.map(({ key }) => memory?.[key] ?? 0)) * 1.05;
      for (const { key, figure, fill } of rows) {
        // Nothing is planned with 0 bytes: such a figure means that nobody told.
        const value = memory?.[key] === 0 ? undefined : memory?.[key];
        setText(figure, bytes(value));
        setAttributes(fill, { width: (((value ?? 0) / top) * 100).toFixed(1) });
      }
      setText(words, memoryWords(memory));
    },
  };
}

/** One sentence about plan and reality: a figure, no verdict, for what the plan covers is the gateway's to say. */
export function memoryWords(memory: Summary["memory"] | undefined): string {
  const [planned, resident] = [memory?.planned ?? 0, memory?.resident ?? 0];
  return planned > 0 && resident > 0 ? `Resident is ${Math.round((resident / planned) * 100)} % of the plan.` : "";
}
