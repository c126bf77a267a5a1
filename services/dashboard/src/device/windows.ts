// Closed windows of one size: how complete the last ones are, as a strip, and the newest of them as a table.
// Owns: the choice of the size and the lease that goes with it. Bound: CELLS_MAX cells, TABLE_MAX rows.
import { topics, type Scope, type StateLease, type Windows } from "@evenkeel/client";
import { card, h, listen, resize, s, setAttributes, setText } from "../dom.js";
import { clock, count, measured, plural } from "../format.js";
import { mark, paintWith, type Context } from "../page.js";
import { readDevices, readWindows, type Row } from "../read.js";
import { closedByMeans } from "../words.js";
import { CELLS_MAX, stripOf, type Strip } from "./cells.js";

const TABLE_MAX = 8;
const FIELDS_MAX = 3;
/** Where the gateway does not name the sizes: those of the default configuration. */
const SIZES_DEFAULT = ["5s", "1m"] as const;

export function windowCard(
  scope: Scope,
  context: Context,
  id: string,
  tiles: { readonly element: HTMLElement; show(rows: readonly Row[]): void },
): { element: HTMLElement } {
  const { session } = context;
  const sizes = scope.acquire(topics.fleetDevices(), { maxHz: 1 });
  const select = h("select", { "aria-label": "Window size" });
  const strip = stripView();
  const table = tableView();
  const parts = h("div", {}, strip.element, table.element);
  const trust = mark(session, [parts, tiles.element], { empty: "No window of this size has closed yet." });
  const element = card(
    "Closed windows",
    "windows",
    h("div", { class: "controls" }, trust.element, h("label", { class: "size" }, "Size ", select)),
    parts,
  );
  let inner: { readonly scope: Scope; readonly lease: StateLease<Windows> } | undefined;
  const open = (size: string): void => {
    inner?.scope.dispose();
    const own = scope.child(`windows of ${size}`);
    const lease = own.acquire(topics.deviceWindows({ id, size }), { maxHz: 1 });
    inner = { scope: own, lease };
    paintWith(own, session, [lease], () => {
      const view = lease.current();
      trust.show(view, lease.problem());
      const rows = view === undefined ? [] : readWindows(view.state);
      strip.show(stripOf(rows));
      table.show(rows);
      tiles.show(rows);
    });
  };
  const offer = (): void => {
    const named = readDevices(sizes.current()?.state).sizes;
    const offered = named.length > 0 ? named : SIZES_DEFAULT;
    if ([...select.options].map(({ value }) => value).join() === offered.join()) return;
    const before = select.value;
    select.replaceChildren(...offered.map((size) => h("option", { value: size }, size)));
    select.value = offered.includes(before) ? before : (offered[0] ?? "");
    if (select.value !== before || inner === undefined) open(select.value);
  };
  listen(scope, select, "change", () => open(select.value));
  sizes.onPaint(offer);
  offer();
  return { element };
}

function stripView(): { element: HTMLElement; show: (strip: Strip | undefined) => void } {
  const picture = s("svg", {
    class: "strip",
    viewBox: `0 0 ${CELLS_MAX * 4} 24`,
    preserveAspectRatio: "none",
    role: "img",
  });
  const words = h("p", { class: "completeness" });
  const kinds = [
    ["whole", "whole"],
    ["late", "whole, late events merged"],
    ["missing", "events missing"],
    ["none", "no window"],
  ] as const;
  const legend = h(
    "p",
    { class: "legend", "aria-hidden": "true" },
    ...kinds.map(([kind, name]) => h("span", {}, h("span", { class: `key ${kind}` }), name)),
  );
  const cells: SVGRectElement[] = [];
  const element = h("div", { class: "strip-box" }, words, picture, legend);
  return {
    element,
    show: (strip) => {
      element.hidden = strip === undefined;
      const count = strip?.cells.length ?? 0;
      resize(picture, cells, count, (i) => s("rect", { x: i * 4, y: 0, width: 3.2, height: 24 }));
      strip?.cells.forEach((cell, i) => setAttributes(cells[i] as Element, { class: `cell ${cell}` }));
      setAttributes(picture, { viewBox: `0 0 ${Math.max(30, count) * 4} 24`, "aria-label": stripWords(strip) });
      setText(words, stripWords(strip));
    },
  };
}

export function stripWords(strip: Strip | undefined): string {
  if (strip === undefined) return "No closed window yet.";
  const { windows, whole, missing, from, to } = strip;
  const span = `${clock(from)} to ${clock(to)}`;
  if (missing === 0)
    return `${windows === 1 ? "The one window is" : `All ${count(windows)} windows are`} whole, ${span}.`;
  return `${count(whole)} of ${plural(windows, "window")} whole, ${plural(missing, "event")} missing, ${span}.`;
}

function tableView(): { element: HTMLElement; show: (rows: readonly Row[]) => void } {
  const body = h("tbody");
  const head = h("tr");
  const table = h(
    "table",
    {},
    h("caption", { class: "unseen" }, "The newest closed windows"),
    h("thead", {}, head),
    body,
  );
  const scroll = h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table of closed windows" },
    table,
  );
  const lines: HTMLTableRowElement[] = [];
  let titles = "";
  return {
    element: scroll,
    show: (rows) => {
      scroll.hidden = rows.length === 0;
      const newest = rows.slice(-TABLE_MAX).reverse();
      const fields = Object.keys(newest[0]?.stats ?? {}).slice(0, FIELDS_MAX);
      const columns = [
        "Start",
        "Events",
        "Missing",
        "Closed by",
        "Revision",
        ...fields.map((field) => `Mean ${field}`),
      ];
      if (columns.join("\n") !== titles) {
        titles = columns.join("\n");
        head.replaceChildren(
          ...columns.map((title, i) =>
            h("th", { scope: "col", class: i === 0 || i === 3 ? undefined : "number" }, title),
          ),
        );
        body.replaceChildren();
        lines.length = 0;
      }
      resize(body, lines, newest.length, () =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }),
          ...columns.slice(1).map((_, i) => h("td", { class: i === 2 ? undefined : "number" })),
        ),
      );
      newest.forEach((row, i) => {
        const means = fields.map((field) => measured(row.stats[field]?.mean));
        const texts = [
          clock(row.start),
          count(row.count),
          count(row.missing),
          closedByMeans(row.closedBy),
          count(row.revision),
          ...means,
        ];
        texts.forEach((text, j) => setText(lines[i]?.children[j] as Element, text));
        setAttributes(lines[i]?.children[2] as Element, { "data-alert": (row.missing ?? 0) > 0 });
      });
    },
  };
}
