// What is said about a connection and a value: honest in every state.
import type { Flags, Status } from "@evenkeel/client";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { closedByMeans, connectionOf, reasonMeans, valueOf } from "../../src/words.js";

const STATUS: Status = {
  state: "connected",
  session: "s",
  failures: 0,
  retryAt: undefined,
  lastClose: undefined,
  draining: false,
  rate: undefined,
  hidden: false,
};
const FLAGS: Flags = { live: true, stale: false, paused: false, alerting: false, recent: true, partial: false };
const said = (change: Partial<Status>, now = 0): [string, string] => {
  const { label, action } = connectionOf({ ...STATUS, ...change }, now);
  return [label, action];
};

describe("a connection", () => {
  const close = { code: 1006, reason: "" };
  it.each([
    [{}, "Connected", "none"],
    [{ draining: true }, "Moving", "none"],
    [{ rate: { step: 1, maxHz: 5 } }, "Slowed", "none"],
    [{ rate: { step: 0, maxHz: 10 } }, "Connected", "none"],
    [{ state: "connecting" }, "Connecting", "none"],
    [{ state: "connecting", lastClose: close }, "Reconnecting", "none"],
    [{ state: "backoff", retryAt: 3_000, lastClose: close }, "Reconnecting", "retry"],
    [{ state: "disconnected" }, "Disconnected", "connect"],
    [{ state: "disconnected", lastClose: { code: 4599, reason: "by an operator" } }, "Disconnected", "connect"],
    [{ state: "disconnected", lastClose: { code: 4501, reason: "" } }, "Token needed", "token"],
  ] as const)("%j is %s", (change, label, action) => expect(said(change)).toEqual([label, action]));

  it("counts down, and never to nothing", () => {
    const detail = (now: number): string =>
      connectionOf({ ...STATUS, state: "backoff", retryAt: 3_000, failures: 4 }, now).detail;
    expect(detail(0)).toBe("Next attempt in 3 s. 4 attempts failed.");
    expect(detail(2_999)).toContain("in 1 s");
    expect(detail(9_000)).toContain("in 1 s");
  });

  it("moves only while it is there", () => {
    const states = ["disconnected", "connecting", "connected", "backoff"] as const;
    expect(states.filter((state) => connectionOf({ ...STATUS, state }, 0).moving)).toEqual(["connected"]);
  });

  it("says why the gateway closed for good", () => {
    expect(
      connectionOf({ ...STATUS, state: "disconnected", lastClose: { code: 4503, reason: "not from this origin" } }, 0)
        .detail,
    ).toContain("not from this origin");
    expect(
      connectionOf({ ...STATUS, state: "disconnected", lastClose: { code: 4505, reason: "" } }, 0).detail,
    ).toContain("4505");
  });
});

describe("a value", () => {
  it.each([
    [FLAGS, undefined, true, "Live"],
    [{ ...FLAGS, recent: false }, undefined, true, "Quiet"],
    [{ ...FLAGS, live: false }, undefined, true, "Not running"],
    [{ ...FLAGS, live: false, paused: true }, undefined, true, "Paused"],
    [{ ...FLAGS, stale: true }, undefined, true, "Stale"],
    [undefined, undefined, true, "No data"],
    [undefined, undefined, false, "No data"],
    [FLAGS, "forbidden: not yours", true, "Refused"],
  ] as const)("%j, %s, %s is %s", (flags, problem, moving, label) =>
    expect(valueOf(flags, problem, moving).label).toBe(label),
  );

  it("is live only if its flags say so and nothing speaks against it", () => {
    const names = ["live", "stale", "paused", "recent", "partial", "alerting"] as const;
    for (let bits = 0; bits < 64; bits += 1) {
      const flags = Object.fromEntries(names.map((name, i) => [name, (bits & (1 << i)) !== 0])) as unknown as Flags;
      const { label, detail } = valueOf(flags, undefined, true);
      expect(label === "Live").toBe(flags.live && !flags.stale && !flags.paused && flags.recent);
      expect(detail.includes("A part of it is missing.")).toBe(flags.partial);
    }
  });
});

it("every reason and every closing of the contract has words", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../../libs/model/src/reason.rs"), "utf8");
  const names = (type: string): string[] =>
    [...(new RegExp(`\\b${type} \\{([^]*?)\\n    \\}`).exec(text)?.[1] ?? "").matchAll(/= "(\w+)"/g)].map(
      (match) => match[1] as string,
    );
  const [reasons, closings] = [names("DropReason"), names("ClosedBy")];
  expect(reasons.length).toBeGreaterThan(5);
  expect(closings.length).toBeGreaterThan(5);
  expect(reasons.filter((reason) => reasonMeans(reason) === "")).toEqual([]);
  expect(closings.filter((by) => closedByMeans(by) === by)).toEqual([]);
  expect(reasonMeans("toString")).toBe("");
  expect(closedByMeans("constructor")).toBe("constructor");
});
