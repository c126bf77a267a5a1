// What is said about a connection and about a value. Never: the DOM, a clock. Honest before friendly: nothing is
// called live that may not move.
import type { Flags, Status } from "@evenkeel/client";
import { duration } from "./format.js";

export type Tone = "good" | "busy" | "bad" | "idle";

export interface Said {
  readonly tone: Tone;
  readonly label: string;
  /** One sentence more. */
  readonly detail: string;
}

export interface Connection extends Said {
  /** What the user can do about it: nothing, try now, or begin again after a final close. */
  readonly action: "none" | "retry" | "connect" | "token";
  /** Whether what is shown can still change by itself. */
  readonly moving: boolean;
}

/** The close that says: this credential is refused (schemas/ws/gateway.md). */
export const CREDENTIAL_REFUSED = 4501;

/** `now` is of the clock of `retryAt`: the client's. */
export function connectionOf(status: Status, now: number): Connection {
  const { state, failures, lastClose, rate, draining, retryAt } = status;
  switch (state) {
    case "connected":
      if (draining) {
        return {
          tone: "busy",
          label: "Moving",
          detail: "This gateway leaves; another takes over.",
          action: "none",
          moving: true,
        };
      }
      if (rate !== undefined && rate.step > 0) {
        const detail = `The gateway sends at most ${rate.maxHz} updates a second for now.`;
        return { tone: "busy", label: "Slowed", detail, action: "none", moving: true };
      }
      return {
        tone: "good",
        label: "Connected",
        detail: "Updates arrive as they happen.",
        action: "none",
        moving: true,
      };
    case "connecting":
      if (lastClose === undefined)
        return { tone: "busy", label: "Connecting", detail: "Waiting for the gateway.", action: "none", moving: false };
      return { tone: "bad", label: "Reconnecting", detail: "Trying now.", action: "none", moving: false };
    case "backoff": {
      const wait =
        retryAt === undefined ? "soon" : `in ${duration(Math.max(1, Math.ceil((retryAt - now) / 1000)) * 1000)}`;
      const tries = failures > 1 ? ` ${failures} attempts failed.` : "";
      return {
        tone: "bad",
        label: "Reconnecting",
        detail: `Next attempt ${wait}.${tries}`,
        action: "retry",
        moving: false,
      };
    }
    case "disconnected":
      if (lastClose?.code === CREDENTIAL_REFUSED) {
        return {
          tone: "bad",
          label: "Token needed",
          detail: "The gateway did not accept the credential.",
          action: "token",
          moving: false,
        };
      }
      return {
        tone: "bad",
        label: "Disconnected",
        detail:
          lastClose === undefined
            ? "Not connected."
            : `The gateway closed for good: ${lastClose.reason || `code ${lastClose.code}`}.`,
        action: "connect",
        moving: false,
      };
  }
}

/** What a page says of a topic: `flags` of its view, or undefined before the first frame. */
export function valueOf(flags: Flags | undefined, problem: string | undefined, moving: boolean): Said {
  if (problem !== undefined)
    return { tone: "bad", label: "Refused", detail: `The gateway does not send this: ${problem}.` };
  if (flags === undefined) {
    return moving
      ? { tone: "idle", label: "No data", detail: "Nothing has come yet." }
      : { tone: "idle", label: "No data", detail: "Nothing can come before the connection is there." };
  }
  const partial = flags.partial ? " A part of it is missing." : "";
  if (flags.stale) {
    const why = moving
      ? "The source has fallen silent; these are the last known values."
      : "These values do not move until the connection is back.";
    return { tone: "bad", label: "Stale", detail: why + partial };
  }
  if (flags.paused) return { tone: "idle", label: "Paused", detail: `Updates are paused.${partial}` };
  if (!flags.live) return { tone: "idle", label: "Not running", detail: `Nothing produces this just now.${partial}` };
  if (!flags.recent)
    return { tone: "idle", label: "Quiet", detail: `Its source runs, but nothing new has arrived lately.${partial}` };
  return { tone: "good", label: "Live", detail: `New data arrives.${partial}` };
}

/** What a reason of setting events aside means. */
const REASONS: { readonly [reason: string]: string } = {
  malformed: "could not be read, or broke a limit",
  misrouted: "came by the wrong partition",
  future: "its clock is too far ahead",
  too_old: "older than the horizon",
  duplicate: "counted already",
  late: "merged into the stored row later",
  overflow: "a bound was reached",
};

export const reasonMeans = (reason: string): string => (Object.hasOwn(REASONS, reason) ? (REASONS[reason] ?? "") : "");

const CLOSED_BY: { readonly [by: string]: string } = {
  watermark: "a later event",
  crowded: "too many open",
  idle: "silence",
  age: "its age",
  evicted: "the budget",
  end: "the end of input",
  late: "late events only",
};

export const closedByMeans = (by: string | undefined): string =>
  by === undefined ? "" : Object.hasOwn(CLOSED_BY, by) ? (CLOSED_BY[by] ?? by) : by;
