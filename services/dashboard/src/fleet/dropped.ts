// Events that are not simply counted in their window's row, by reason. Owns: its list.
// Bound: ROWS_MAX reasons; there are seven (docs/semantics.md).
import { card, h, resize, setText } from "../dom.js";
import { count } from "../format.js";
import { reasonMeans } from "../words.js";
import type { FleetFeed } from "./feed.js";

const ROWS_MAX = 16;

export function droppedList(feed: FleetFeed): {
  element: HTMLElement;
  show: (dropped: readonly (readonly [string, number])[] | undefined) => void;
} {
  const body = h("tbody");
  const note = h("p", { class: "about" });
  const head = h(
    "thead",
    {},
    h(
      "tr",
      {},
      h("th", { scope: "col" }, "Reason"),
      h("th", { scope: "col", class: "number" }, "Events"),
      h("th", { scope: "col", class: "number" }, "Since opened"),
    ),
  );
  const table = h("table", {}, h("caption", { class: "unseen" }, "Events set aside, by reason"), head, body);
  const element = card("Set aside, by reason", "dropped", table, note);
  const rows: HTMLTableRowElement[] = [];
  return {
    element,
    show: (dropped) => {
      const shown = (dropped ?? []).filter(([, events]) => events > 0).slice(0, ROWS_MAX);
      table.hidden = shown.length === 0;
      setText(note, noteOf(dropped, shown.length));
      resize(body, rows, shown.length, () =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("span", {}), h("span", { class: "about" })),
          h("td", { class: "number" }),
          h("td", { class: "number" }),
        ),
      );
      shown.forEach(([reason, events], i) => {
        const [name, total, since] = rows[i]?.children ?? [];
        if (name === undefined || total === undefined || since === undefined) return;
        setText(name.children[0] as Element, reason.replaceAll("_", " "));
        setText(name.children[1] as Element, reasonMeans(reason));
        setText(total, count(events));
        setText(since, `+${count(feed.droppedSince(reason, events))}`);
      });
    },
  };
}

function noteOf(dropped: readonly unknown[] | undefined, shown: number): string {
  if (dropped === undefined) return "Not known yet.";
  return shown === 0 ? "Nothing: every event was counted where it belongs." : "No event is lost without a name.";
}
