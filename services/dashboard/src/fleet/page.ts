// The fleet: rates, lag, jitter, memory, what was set aside, and the devices worth a look.
// Owns: its elements. Never: figures of its own: what the gateway does not say reads as a dash.
import { topics, type Scope } from "@evenkeel/client";
import { card, h, setAttributes, setText } from "../dom.js";
import { count, duration, perSecond } from "../format.js";
import { heading, mark, paintWith, type Context } from "../page.js";
import { Plot } from "../plot.js";
import { spark } from "../spark.js";
import type { Summary } from "../read.js";
import { deviceTable } from "./devices.js";
import { droppedList } from "./dropped.js";
import { FIGURES, type FigureName } from "./feed.js";
import { memoryBars } from "./memory.js";

interface Tile {
  readonly title: string;
  readonly about: string;
  readonly text: (n: number | undefined) => string;
}

const TILES: Readonly<Record<FigureName, Tile>> = {
  eventsPerS: { title: "Events per second", about: "that came in", text: perSecond },
  rowsPerS: { title: "Windows per second", about: "that closed", text: perSecond },
  streams: { title: "Active streams", about: "heard in the last minute", text: count },
  lagMs: { title: "Lag", about: "of the slowest partition", text: duration },
  jitterMs: { title: "Tick jitter", about: "largest in the last minute", text: duration },
};

export function fleetPage(scope: Scope, place: HTMLElement, context: Context): void {
  document.title = "Fleet · Evenkeel";
  const { feed, session } = context;
  const hero = heroCard(scope, context);
  const memory = memoryBars();
  const dropped = droppedList(feed);
  const tiles = FIGURES.filter((name) => name !== "eventsPerS").map((name) => figureTile(context, name));
  const alerts = alertTile();
  const devices = deviceTable(session);
  const figures = h("div", { class: "tiles" }, ...tiles.map(({ element }) => element), alerts.element);
  const moving = [hero.element, figures, memory.element, dropped.element];
  const trust = mark(session, moving, { main: true, empty: "The gateway has not summed up the fleet yet." });
  place.append(
    h("div", { class: "title" }, heading("Fleet"), trust.element),
    h("p", { class: "lead" }, "What all devices send, and what becomes of it."),
    h("div", { class: "fleet-top" }, hero.element, memory.element),
    figures,
    h("div", { class: "fleet-low" }, devices.element, dropped.element),
  );
  const glances = scope.acquire(topics.fleetDevices(), { maxHz: 1 });
  paintWith(scope, session, [feed.lease], () => {
    const summary = feed.current();
    trust.show(feed.lease.current(), feed.lease.problem());
    hero.show(summary);
    for (const tile of tiles) tile.show(summary);
    alerts.show(summary?.alerts);
    memory.show(summary?.memory);
    dropped.show(summary?.dropped);
  });
  paintWith(scope, session, [glances], () => devices.show(glances.current(), glances.problem()));
}

function heroCard(
  scope: Scope,
  { feed, theme }: Context,
): { element: HTMLElement; show: (summary: Summary | undefined) => void } {
  const figure = h("p", { class: "figure" });
  const place = h("div", { class: "plot", role: "img" });
  const element = card(
    "Events per second",
    "hero",
    figure,
    place,
    h("p", { class: "about" }, "That came in, over the last five minutes or since this page was opened."),
  );
  const plot = (): Plot =>
    new Plot(scope, place, { height: 168, colour: "--line-1", area: true, floor: 0, value: perSecond });
  let drawn: Plot | undefined;
  scope.defer(theme.onChange(() => drawn?.repaint()));
  const ring = feed.rings.eventsPerS;
  return {
    element,
    show: (summary) => {
      setText(figure, perSecond(summary?.eventsPerS));
      setAttributes(place, {
        "aria-label": `Events per second over the last minutes; now ${perSecond(summary?.eventsPerS)}`,
      });
      const span = feed.span();
      if (span === undefined) return;
      // Made with the first figures: the page is laid out by then, and the canvas knows its width.
      drawn ??= plot();
      const { t, v, count: points } = ring.m4(span.from, span.to + 1, Math.max(60, place.clientWidth));
      drawn.draw(t, v, points, span.from, span.to);
    },
  };
}

function figureTile(
  { feed }: Context,
  name: FigureName,
): { element: HTMLElement; show: (summary: Summary | undefined) => void } {
  const { title, about, text } = TILES[name];
  const figure = h("p", { class: "figure" });
  const line = spark();
  const element = h(
    "section",
    { class: "card tile" },
    h("h2", {}, title),
    figure,
    h("p", { class: "about" }, about),
    line.element,
  );
  return {
    element,
    show: (summary) => {
      setText(figure, text(summary?.[name]));
      const span = feed.span();
      if (span !== undefined) line.draw(feed.rings[name], span.from, span.to);
    },
  };
}

function alertTile(): { element: HTMLElement; show: (alerts: number | undefined) => void } {
  const figure = h("p", { class: "figure" });
  const about = h("p", { class: "about" });
  const element = h("section", { class: "card tile" }, h("h2", {}, "Alerts"), figure, about);
  return {
    element,
    show: (alerts) => {
      setText(figure, count(alerts));
      setText(about, alerts === 0 ? "none is raised" : "raised now");
      setAttributes(element, { "data-alert": (alerts ?? 0) > 0 });
    },
  };
}
