// What every page is given, and the mark that says how far a value is to be trusted.
import type { Flags, Scope, Session } from "@evenkeel/client";
import { every, h, setAttributes, setText } from "./dom.js";
import { ago } from "./format.js";
import type { FleetFeed } from "./fleet/feed.js";
import type { ThemeChoice } from "./theme.js";
import { valueOf } from "./words.js";

export interface Context {
  readonly session: Session;
  readonly theme: ThemeChoice;
  readonly feed: FleetFeed;
  /** Says something to screen readers. */
  readonly announce: (text: string) => void;
}

/** A view of a topic, as far as trust goes. */
export interface Trusted {
  readonly flags: Flags;
  readonly ts?: number;
}

/** A frame older than this says so, even if nothing else is wrong, ms. */
const OLD_MS = 10_000;

export interface Mark {
  readonly element: HTMLElement;
  /** Shows how far the value is to be trusted, and dims `parts` if it does not move. */
  show(view: Trusted | undefined, problem: string | undefined): void;
}

export interface MarkOptions {
  /** Said before the first frame. */
  readonly empty?: string;
  /** The page's own mark: shown even when all is well, and explains itself even when the whole page stands still. */
  readonly main?: boolean;
  /** Whether it matters that data arrived a short while ago. */
  readonly recency?: boolean;
}

/** A small mark: Live, Quiet, Stale, No data; with one sentence beside it where all is not well. */
export function mark(session: Session, parts: readonly HTMLElement[], options: MarkOptions = {}): Mark {
  const label = h("span", { class: "label" });
  const detail = h("span", { class: "detail" });
  const element = h(
    "div",
    { class: options.main === true ? "trust main" : "trust" },
    h("span", { class: "dot" }),
    label,
    detail,
  );
  return {
    element,
    show: (view, problem) => {
      const moving = session.status().state === "connected";
      const flags = view === undefined || options.recency === true ? view?.flags : { ...view.flags, recent: true };
      const said = valueOf(flags, problem, moving);
      const now = session.serverNow();
      const age =
        view?.ts !== undefined && now !== undefined && now - view.ts > OLD_MS ? ` As of ${ago(view.ts, now)}.` : "";
      const empty = view === undefined && problem === undefined && moving ? options.empty : undefined;
      // Why the page stands still is said once, by its own mark.
      const why = options.main === true || problem !== undefined || view === undefined ? (empty ?? said.detail) : "";
      const explains = said.tone !== "good" && (options.main === true || moving || problem !== undefined);
      setAttributes(element, { "data-tone": said.tone });
      setText(label, said.label);
      setText(detail, explains ? (why + age).trim() : "");
      for (const part of parts) setAttributes(part, { "data-old": said.tone === "bad" });
    },
  };
}

/** The heading of a page: takes the focus when the page is opened. */
export const heading = (text: string): HTMLElement => h("h1", { tabindex: "-1" }, text);

/** Paints now, at each paint of the leases, and when the connection or the second changes: ages move by themselves. */
export function paintWith(
  scope: Scope,
  session: Session,
  leases: readonly { onPaint(call: () => void): () => void }[],
  paint: () => void,
): void {
  // A lease may live longer than the page: the listener must not.
  for (const lease of leases) scope.defer(lease.onPaint(paint));
  scope.defer(session.onStatus(paint));
  every(scope, 1_000, paint);
  paint();
}
