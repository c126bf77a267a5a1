// Messages of schemas/ws/gateway.md: their types, the reader of what the server sends, what a close means.
// Never: state, a socket. What the reader lets through has the shape that the types promise.

/** Where a state topic stands. */
export interface StatePosition {
  readonly epoch: string;
  readonly seq: number;
}

/** Where an event topic stands. */
export interface EventPosition {
  readonly epoch: string;
  readonly offset: number;
}

export interface SubscribeEntry {
  readonly id: number;
  readonly topic: string;
  readonly max_hz?: number;
  readonly position?: StatePosition | EventPosition;
}

export type ClientMessage =
  | { readonly type: "connection_init"; readonly token?: string; readonly client?: string }
  | { readonly type: "subscribe"; readonly subscriptions: readonly SubscribeEntry[] }
  | { readonly type: "complete"; readonly ids: readonly number[] }
  | { readonly type: "rate"; readonly rates: readonly { readonly id: number; readonly max_hz: number }[] }
  | { readonly type: "refresh"; readonly token: string }
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/** A snapshot of a state topic. */
export interface Frame {
  readonly epoch: string;
  readonly seq: number;
  /** When the state was taken, ms since 1970, by the server's clock. */
  readonly ts: number;
  readonly source: string;
  /** Up to where the state is complete by event time, ms since 1970. */
  readonly watermark: number | null;
  readonly flags: readonly string[];
  readonly state: unknown;
}

export interface WireEvent {
  readonly offset: number;
  readonly ts: number;
  readonly data: unknown;
}

/** Events of an event topic that follow the offset `after`. */
export interface Events {
  readonly epoch: string;
  readonly after: number;
  readonly recovered?: boolean;
  readonly events: readonly WireEvent[];
}

export type Fragment =
  | { readonly id: number; readonly frame: Frame }
  | { readonly id: number; readonly events: Events };

export interface Ended {
  readonly id: number;
  readonly reason: string;
  readonly message: string;
  readonly retry_after_ms?: number;
}

export interface Ack {
  readonly type: "connection_ack";
  readonly session: string;
  readonly server_ms: number;
  readonly ping_ms: number;
  readonly batch_max: number;
  readonly subscriptions_max: number;
  readonly message_max: number;
  readonly expires_in_ms?: number;
}

export type ServerMessage =
  | Ack
  | { readonly type: "next"; readonly server_ms: number; readonly fragments: readonly Fragment[] }
  | { readonly type: "complete"; readonly ended: readonly Ended[] }
  | { readonly type: "rate"; readonly step: number; readonly max_hz: number; readonly reason: string }
  | { readonly type: "refresh"; readonly expires_in_ms: number; readonly wanted: boolean }
  | { readonly type: "drain"; readonly retry_after_ms: number }
  | { readonly type: "ping" }
  | { readonly type: "pong" };

/** What a text from the server is. `unknown`: a type that is passed over; `broken`: not of the protocol. */
export type Read =
  | { readonly is: "message"; readonly message: ServerMessage }
  | { readonly is: "unknown" }
  | { readonly is: "broken" };

export const SUBPROTOCOL = "evenkeel.v1.json";

/** Largest hint of a server that is believed, ms: a mistake must not keep a client away for days. */
const HINT_MAX_MS = 600_000;

type Members = { readonly [name: string]: unknown };
type Check = (value: unknown) => boolean;

const isMembers = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isWhole: Check = (value) => Number.isSafeInteger(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isPositive: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0;
const isFlag: Check = (value) => typeof value === "boolean";
const isMissing: Check = (value) => value === undefined;
const either = (a: Check, b: Check): Check => (value) => a(value) || b(value);
const listOf = (each: Check): Check => (value) => Array.isArray(value) && value.every(each);
const shape =
  (members: { readonly [name: string]: Check }): Check =>
  (value) =>
    isMembers(value) && Object.entries(members).every(([name, check]) => check(value[name]));

const isFrame = shape({
  epoch: isText,
  seq: isCount,
  ts: isWhole,
  source: isText,
  watermark: either(isWhole, (value) => value === null),
  flags: listOf(isText),
  state: (value) => value !== undefined,
});

const isEventList: Check = shape({
  epoch: isText,
  after: isWhole,
  recovered: either(isFlag, isMissing),
  events: listOf(shape({ offset: isCount, ts: isWhole, data: (value) => value !== undefined })),
});

/** Events whose offsets rise from `after` on. */
const isEvents: Check = (value) => {
  if (!isEventList(value)) return false;
  const { after, events } = value as Events;
  return events.every((event, i) => event.offset > (events[i - 1]?.offset ?? after));
};

const isFragment = either(
  shape({ id: isPositive, frame: isFrame, events: isMissing }),
  shape({ id: isPositive, events: isEvents, frame: isMissing }),
);

const CHECKS: { readonly [type: string]: Check } = {
  connection_ack: shape({
    session: isText,
    server_ms: isWhole,
    ping_ms: isPositive,
    batch_max: isPositive,
    subscriptions_max: isPositive,
    message_max: isPositive,
    expires_in_ms: either(isCount, isMissing),
  }),
  next: shape({ server_ms: isWhole, fragments: listOf(isFragment) }),
  complete: shape({
    ended: listOf(
      shape({ id: isPositive, reason: isText, message: isText, retry_after_ms: either(isCount, isMissing) }),
    ),
  }),
  rate: shape({ step: isCount, max_hz: isNumber, reason: isText }),
  refresh: shape({ expires_in_ms: isCount, wanted: isFlag }),
  drain: shape({ retry_after_ms: isCount }),
  ping: () => true,
  pong: () => true,
};

/** Reads a message of the server. Total: whatever the text is, it says what it is. */
export function readServerMessage(text: string): Read {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { is: "broken" };
  }
  if (!isMembers(value) || typeof value["type"] !== "string") return { is: "broken" };
  const check = Object.hasOwn(CHECKS, value["type"]) ? CHECKS[value["type"]] : undefined;
  if (check === undefined) return { is: "unknown" };
  // The checks above are what makes this cast true.
  return check(value) ? { is: "message", message: value as unknown as ServerMessage } : { is: "broken" };
}

/** Whether a client comes back after this close, and how much the server asks it to add to its back-off. */
export function closeMeaning(code: number, reason: string): { comesBack: boolean; hintMs: number } {
  const comesBack = code < 4500 || code > 4999;
  const hint = /^retry_after_ms=(\d{1,15})\b/.exec(reason)?.[1];
  return { comesBack, hintMs: comesBack && hint !== undefined ? Math.min(Number(hint), HINT_MAX_MS) : 0 };
}
