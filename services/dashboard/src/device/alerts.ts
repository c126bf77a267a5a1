// Alerts of a device, newest first. Owns: the list. Never: silence about a gap: what was lost is said.
// Bound: SHOWN_MAX lines of the 64 events that the client keeps.
import { topics, type Scope } from "@evenkeel/client";
import { card, h, resize, setAttributes, setText } from "../dom.js";
import { clock, measured } from "../format.js";
import { mark, paintWith, type Context } from "../page.js";
import { readAlert, type AlertLine } from "../read.js";

const SHOWN_MAX = 12;

export function alertCard(scope: Scope, { session, announce }: Context, id: string): { element: HTMLElement } {
  const lease = scope.acquire(topics.deviceAlerts({ id }));
  const list = h("ol", { class: "alerts" });
  const note = h("p", { class: "about" });
  const trust = mark(session, [list], { empty: "Waiting for the log of alerts." });
  const element = card("Alerts", "alerts-card", trust.element, list, note);
  const lines: HTMLElement[] = [];
  lease.onEvent((event) => announce(alertWords(readAlert(event.data))));
  paintWith(scope, session, [lease], () => {
    const view = lease.current();
    trust.show(view === undefined ? undefined : view, lease.problem());
    const newest = (view?.events ?? []).slice(-SHOWN_MAX).reverse();
    setText(note, noteOf(newest.length, view?.lost));
    resize(list, lines, newest.length, () => h("li", {}, h("span", { class: "what" }), h("span", { class: "about" })));
    newest.forEach((event, i) => {
      const alert = readAlert(event.data);
      const [what, about] = lines[i]?.children ?? [];
      if (what === undefined || about === undefined) return;
      setAttributes(lines[i] as Element, { "data-severity": alert.raised ? alert.severity : "clear" });
      setText(what, alertWords(alert));
      setText(about, `${clock(event.ts)}${reading(alert)}`);
    });
  });
  return { element };
}

const SEVERITIES = { info: "Note", warning: "Warning", critical: "Critical" } as const;

export const alertWords = ({ rule, raised, severity }: AlertLine): string =>
  raised ? `${SEVERITIES[severity]}: ${rule} raised` : `Cleared: ${rule}`;

const reading = ({ field, value, threshold }: AlertLine): string =>
  value === undefined
    ? ""
    : ` · ${field ?? "value"} ${measured(value)}${threshold === undefined ? "" : `, limit ${measured(threshold)}`}`;

function noteOf(shown: number, lost: number | undefined): string {
  if ((lost ?? 0) > 0) return "Some alerts were lost: the gateway's log no longer had them.";
  return lost !== undefined && shown === 0 ? "None since this page was opened." : "";
}
