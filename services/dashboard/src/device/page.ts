// One device: its chart, its tiles, its windows and how complete they are, its alerts.
// Owns: the leases of the page and its elements. Never: what another page holds. All of it ends with the scope.
import { topics, type Scope } from "@evenkeel/client";
import { h, setAttributes, setText } from "../dom.js";
import { ago, clock, count, perSecond, UNKNOWN } from "../format.js";
import { heading, mark, paintWith, type Context } from "../page.js";
import { readStatus, readTelemetry } from "../read.js";
import { hashOf } from "../route.js";
import { alertCard } from "./alerts.js";
import { chartCard } from "./charts.js";
import { fillingCard, tileCard } from "./tiles.js";
import { windowCard } from "./windows.js";

const CHART_HZ = 10;

export function devicePage(scope: Scope, place: HTMLElement, context: Context, id: string): void {
  document.title = `${id} · Evenkeel`;
  const { session } = context;
  const telemetry = scope.acquire(topics.deviceTelemetry({ id }), { maxHz: CHART_HZ });
  const facts = factLine();
  const chart = chartCard(scope, context, telemetry);
  const filling = fillingCard();
  const tiles = tileCard();
  const alerts = alertCard(scope, context, id);
  const windows = windowCard(scope, context, id, tiles);
  const trust = mark(session, [chart.element, filling.element], {
    main: true,
    recency: true,
    empty: "Nothing has come yet. Is the id right, and has the device sent anything?",
  });
  place.append(
    h(
      "nav",
      { class: "crumbs", "aria-label": "Where you are" },
      h("a", { href: hashOf({ page: "fleet" }) }, "Fleet"),
      " / device",
    ),
    h("div", { class: "title" }, heading(id), trust.element),
    facts.element,
    h(
      "div",
      { class: "device" },
      h("div", { class: "wide" }, chart.element, windows.element),
      h("div", { class: "narrow" }, tiles.element, filling.element, alerts.element),
    ),
  );
  const status = scope.acquire(topics.deviceStatus({ id }), { maxHz: 1 });
  paintWith(scope, session, [telemetry], () => {
    const view = telemetry.current();
    trust.show(view, telemetry.problem());
    chart.paint(view);
    filling.show(view === undefined ? undefined : readTelemetry(view.state));
  });
  paintWith(scope, session, [status], () => {
    const view = status.current();
    const state = view === undefined ? undefined : readStatus(view.state);
    const now = session.serverNow();
    facts.show([
      [
        "Last event",
        state === undefined
          ? UNKNOWN
          : state.lastTs === undefined
            ? "never heard"
            : `${clock(state.lastTs)}, ${ago(state.lastTs, now)}`,
      ],
      ["Events per second", perSecond(state?.eventsPerS)],
      ["Missing events", count(state?.missing)],
      ["Alerts raised", count(state?.alerts)],
      ["Complete up to", clock(view?.watermark)],
    ]);
    setAttributes(facts.element, { "data-old": view?.flags.stale === true });
  });
}

type Fact = readonly [name: string, value: string];

function factLine(): { element: HTMLElement; show: (facts: readonly Fact[]) => void } {
  const element = h("dl", { class: "facts" });
  const values = new Map<string, HTMLElement>();
  return {
    element,
    show: (facts) => {
      for (const [name, value] of facts) {
        let place = values.get(name);
        if (place === undefined) {
          place = h("dd");
          values.set(name, place);
          element.append(h("div", {}, h("dt", {}, name), place));
        }
        setText(place, value);
      }
    },
  };
}
