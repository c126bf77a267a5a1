// Tiles: one figure per field over the last ten minutes of closed windows; and the windows that are still filling.
// Owns: its elements. Bound: TILES_MAX fields.
import { card, h, resize, s, setAttributes, setText } from "../dom.js";
import { clock, duration, measured, plural } from "../format.js";
import type { Points, Row } from "../read.js";
import { figureOf } from "./cells.js";

const TILES_MAX = 8;
const SPAN_MS = 600_000;

export function tileCard(): { element: HTMLElement; show: (rows: readonly Row[]) => void } {
  const place = h("dl", { class: "figures" });
  const note = h("p", { class: "about" });
  const element = card("Last ten minutes", "figures-card", place, note);
  const tiles: HTMLElement[] = [];
  return {
    element,
    show: (rows) => {
      const fields = fieldsOf(rows).slice(0, TILES_MAX);
      setText(note, rows.length === 0 ? "No window has closed yet." : spanNote(rows));
      resize(place, tiles, fields.length, () =>
        h("div", {}, h("dt"), h("dd", {}, h("span", { class: "mean" }), h("span", { class: "about" }))),
      );
      fields.forEach((field, i) => {
        const [name, value] = tiles[i]?.children ?? [];
        const figure = figureOf(rows, field, SPAN_MS);
        if (name === undefined || value === undefined || figure === undefined) return;
        setText(name, field);
        setText(value.children[0] as Element, measured(figure.mean));
        setText(value.children[1] as Element, `${measured(figure.min)} to ${measured(figure.max)}`);
      });
    },
  };
}

/** Less than ten minutes are told as what they are. */
function spanNote(rows: readonly Row[]): string {
  const [first, last] = [rows[0], rows[rows.length - 1]];
  if (first === undefined || last === undefined) return "";
  const covered = Math.min(SPAN_MS, last.start + last.sizeMs - first.start);
  return `Mean, and lowest to highest, over ${duration(covered)} of closed windows.`;
}

/** Fields of any window, in the order of the newest that has them. */
function fieldsOf(rows: readonly Row[]): string[] {
  const fields = new Set<string>();
  for (let i = rows.length - 1; i >= 0; i -= 1)
    for (const field of Object.keys(rows[i]?.stats ?? {})) fields.add(field);
  return [...fields];
}

export function fillingCard(): { element: HTMLElement; show: (points: Points | undefined) => void } {
  const list = h("ul", { class: "filling" });
  const note = h("p", { class: "about" });
  const element = card("Windows that are filling", "filling-card", list, note);
  const lines: HTMLElement[] = [];
  return {
    element,
    show: (points) => {
      const open = points?.open ?? [];
      setText(note, open.length === 0 ? "None is open." : "They close when a later event, or silence, says so.");
      resize(list, lines, open.length, () => {
        const track = s("rect", { class: "track", width: 100, height: 6 });
        const bar = s(
          "svg",
          { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
          track,
          s("rect", { class: "fill accounted", height: 6, width: 0 }),
        );
        return h("li", {}, h("span", { class: "name" }), h("span", { class: "amount" }), bar);
      });
      open.forEach((row, i) => {
        const [name, amount, bar] = lines[i]?.children ?? [];
        if (name === undefined || amount === undefined || bar === undefined) return;
        setText(name, `${duration(row.sizeMs)} from ${clock(row.start)}`);
        setText(amount, plural(row.count, "event"));
        const share = Math.min(1, Math.max(0, ((points?.toMs ?? row.start) - row.start) / row.sizeMs));
        setAttributes(bar.children[1] as Element, { width: (share * 100).toFixed(1) });
      });
    },
  };
}
