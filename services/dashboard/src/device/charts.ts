// The live chart: a small plot per chosen field, one time axis. Points are taken as they come, drawn as painted.
// Owns: the rings, the plots, the choice of fields and span. Never: more than SHOWN_MAX plots at once.
import type { Scope, StateLease, StateView, Telemetry } from "@evenkeel/client";
import { card, h, listen, setAttributes, setText } from "../dom.js";
import { clock, duration, measured, plural } from "../format.js";
import type { Context } from "../page.js";
import { Plot } from "../plot.js";
import { readTelemetry } from "../read.js";
import { extent, FIELDS_MAX, Lines, SPAN_MAX_MS } from "./lines.js";

const SHOWN_FIRST = 3;
const SHOWN_MAX = 6;
const COLOURS = 6;
const SPANS_MS = [30_000, 60_000, SPAN_MAX_MS] as const;
const HEIGHT = 132;

interface Panel {
  readonly scope: Scope;
  readonly element: HTMLElement;
  readonly canvas: HTMLElement;
  readonly reading: HTMLElement;
  readonly plot: Plot;
  pointed: string | undefined;
}

export function chartCard(
  scope: Scope,
  context: Context,
  lease: StateLease<Telemetry>,
): { element: HTMLElement; paint: (view: StateView<Telemetry> | undefined) => void } {
  const chart = new Chart(scope, context);
  lease.onFrame((frame) => {
    const points = readTelemetry(frame.state);
    if (points !== undefined) chart.lines.take(frame.epoch, points);
  });
  return { element: chart.element, paint: () => chart.paint() };
}

class Chart {
  readonly lines = new Lines();
  readonly element: HTMLElement;
  readonly #scope: Scope;
  readonly #controls: HTMLElement;
  readonly #panels = new Map<string, Panel>();
  readonly #chips = new Map<string, HTMLButtonElement>();
  readonly #chosen = new Set<string>();
  readonly #chipPlace = h("div", { class: "chips", role: "group", "aria-label": "Fields to draw" });
  readonly #place = h("div", { class: "panels" });
  readonly #note = h("p", { class: "about" });
  #spanMs: number = SPANS_MS[1];
  #describedAt = -Infinity;

  constructor(scope: Scope, { theme }: Context) {
    this.#scope = scope;
    this.#controls = h("div", { class: "controls", hidden: true }, this.#chipPlace, this.#spanControl());
    this.element = card("Fields over time", "chart", this.#controls, this.#place, this.#note);
    setText(this.#note, "No points yet.");
    scope.defer(
      theme.onChange(() => {
        for (const { plot } of this.#panels.values()) plot.repaint();
      }),
    );
  }

  paint(): void {
    this.#meetFields();
    const { toMs } = this.lines;
    if (toMs === undefined) return;
    const describe = performance.now() - this.#describedAt >= 1_000;
    if (describe) this.#describedAt = performance.now();
    for (const [field, panel] of this.#panels) this.#draw(field, panel, toMs, describe);
  }

  #draw(field: string, panel: Panel, toMs: number, describe: boolean): void {
    const ring = this.lines.ring(field);
    if (ring === undefined) return;
    const from = toMs - this.#spanMs;
    const { t, v, count } = ring.m4(from, toMs + 1, Math.max(60, Math.min(800, panel.canvas.clientWidth)));
    panel.plot.draw(t, v, count, from, toMs);
    const seen = extent(v, count);
    setText(panel.reading, panel.pointed ?? (seen === undefined ? "no points in this span" : measured(seen.last)));
    // Words for the picture, once a second: a screen reader that stands on it must not be chased.
    if (!describe) return;
    const words =
      seen === undefined
        ? "no points"
        : `now ${measured(seen.last)}, lowest ${measured(seen.min)}, highest ${measured(seen.max)}`;
    setAttributes(panel.canvas, { "aria-label": `${field} over the last ${duration(this.#spanMs)}: ${words}` });
  }

  /** Fields appear when they are first seen; the first few are drawn without asking. */
  #meetFields(): void {
    for (const field of this.lines.fields) {
      if (this.#chips.has(field)) continue;
      const chip = h(
        "button",
        { type: "button", class: "chip", "data-line": (this.#chips.size % COLOURS) + 1, "aria-pressed": "false" },
        field,
      );
      this.#chips.set(field, chip);
      this.#chipPlace.append(chip);
      listen(this.#scope, chip, "click", () => this.#toggle(field));
      if (this.#chosen.size < SHOWN_FIRST) this.#toggle(field);
    }
    setText(this.#note, this.#noteText());
    this.#controls.hidden = this.#chips.size === 0;
  }

  #noteText(): string {
    if (this.#chips.size === 0) return "No points yet.";
    const left = this.lines.leftOut;
    if (left > 0) return `The first ${FIELDS_MAX} fields can be drawn; ${plural(left, "more is", "more are")} not.`;
    return this.#chosen.size === 0
      ? "Choose a field to draw."
      : "Times are the device's own. A break in a line is a break in the data.";
  }

  #toggle(field: string): void {
    const panel = this.#panels.get(field);
    if (panel !== undefined) {
      panel.scope.dispose();
      this.#chosen.delete(field);
    } else {
      // At the bound the one chosen first makes room.
      if (this.#chosen.size >= SHOWN_MAX) this.#toggle([...this.#chosen][0] as string);
      this.#chosen.add(field);
      this.#panels.set(field, this.#open(field));
    }
    setAttributes(this.#chips.get(field) as Element, { "aria-pressed": String(this.#chosen.has(field)) });
  }

  #open(field: string): Panel {
    const scope = this.#scope.child(`chart of ${field}`);
    const line = this.#chips.get(field)?.dataset["line"] ?? "1";
    const reading = h("span", { class: "reading" });
    const canvas = h("div", { class: "plot", role: "img", "aria-label": field });
    const title = h("h3", {}, h("span", { class: "swatch", "data-line": line }), field);
    const element = h("div", { class: "panel" }, h("div", { class: "panel-head" }, title, reading), canvas);
    this.#place.append(element);
    const plot = new Plot(scope, canvas, {
      height: HEIGHT,
      colour: `--line-${line}`,
      together: "device",
      value: measured,
      onPoint: (t, v) => {
        panel.pointed = t === undefined || v === undefined ? undefined : `${measured(v)} at ${clock(t)}`;
      },
    });
    const panel: Panel = { scope, element, canvas, reading, plot, pointed: undefined };
    scope.defer(() => {
      element.remove();
      this.#panels.delete(field);
    });
    return panel;
  }

  #spanControl(): HTMLElement {
    const buttons = SPANS_MS.map((span) => {
      const button = h("button", { type: "button", "aria-pressed": String(span === this.#spanMs) }, duration(span));
      listen(this.#scope, button, "click", () => {
        this.#spanMs = span;
        for (const each of buttons) setAttributes(each, { "aria-pressed": String(each === button) });
        this.paint();
      });
      return button;
    });
    return h("div", { class: "segments", role: "group", "aria-label": "Time span" }, ...buttons);
  }
}
