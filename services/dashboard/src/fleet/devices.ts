// The devices worth a look, each a link to its page. Owns: its rows, reused from paint to paint so that a row that has
// the focus keeps it. Bound: what read.ts lets through, 100.
import type { FleetDevices, Session, StateView } from "@evenkeel/client";
import { card, h, resize, setAttributes, setText } from "../dom.js";
import { ago, count, perSecond, plural } from "../format.js";
import { mark } from "../page.js";
import { readDevices, type Devices, type Glance } from "../read.js";
import { hashOf } from "../route.js";

const COLUMNS = [
  ["Device", ""],
  ["Last event", "number"],
  ["Events per second", "number"],
  ["Alerts", "number"],
] as const;

export function deviceTable(session: Session): {
  element: HTMLElement;
  show: (view: StateView<FleetDevices> | undefined, problem: string | undefined) => void;
} {
  const body = h("tbody");
  const head = h(
    "thead",
    {},
    h("tr", {}, ...COLUMNS.map(([title, kind]) => h("th", { scope: "col", class: kind || undefined }, title))),
  );
  const table = h("table", {}, h("caption", { class: "unseen" }, "Devices, those with alerts first"), head, body);
  const scroll = h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table of devices" }, table);
  const note = h("p", { class: "about" });
  const trust = mark(session, [scroll], { empty: "The gateway has named no device yet." });
  const element = card("Devices", "devices", trust.element, scroll, note);
  const rows: HTMLTableRowElement[] = [];
  return {
    element,
    show: (view, problem) => {
      trust.show(view, problem);
      const read = view === undefined ? undefined : readDevices(view.state);
      const devices = read?.devices ?? [];
      scroll.hidden = devices.length === 0;
      setText(note, noteOf(read, problem));
      resize(body, rows, devices.length, () =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, h("a")),
          h("td", { class: "number" }),
          h("td", { class: "number" }),
          h("td", { class: "number" }),
        ),
      );
      const now = session.serverNow();
      devices.forEach((device, i) => fill(rows[i], device, now));
    },
  };
}

function fill(row: HTMLTableRowElement | undefined, device: Glance, now: number | undefined): void {
  const [name, last, rate, alerts] = row?.children ?? [];
  if (name === undefined || last === undefined || rate === undefined || alerts === undefined) return;
  const link = name.children[0] as HTMLElement;
  setAttributes(link, { href: hashOf({ page: "device", id: device.id }) });
  setText(link, device.id);
  setText(last, ago(device.lastTs, now));
  setText(rate, perSecond(device.eventsPerS));
  setText(alerts, (device.alerts ?? 0) > 0 ? plural(device.alerts ?? 0, "alert") : "none");
  setAttributes(alerts, { "data-alert": (device.alerts ?? 0) > 0 });
}

function noteOf(read: Devices | undefined, problem: string | undefined): string {
  if (problem !== undefined) return "Open a device by its id, in the field above.";
  if (read === undefined) return "";
  if (read.devices.length === 0) return "No device has been heard yet.";
  const more = (read.total ?? 0) - read.devices.length;
  return more > 0 ? `${count(more)} more are not listed: open them by their id, in the field above.` : "";
}
