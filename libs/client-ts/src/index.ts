// @evenkeel/client: one connection to the gateway, many topics, frames. The protocol is schemas/ws/gateway.md.
import { browserPorts } from "./browser.js";
import type { Ports } from "./ports.js";
import { Session, type SessionOptions } from "./session.js";

/** Opens a session and connects. `ports` replaces parts of the browser, for tests and other surroundings. */
export function createSession(options: SessionOptions, ports: Partial<Ports> = {}): Session {
  const session = new Session(options, { ...browserPorts(), ...ports });
  session.connect();
  return session;
}

export { ChartWindow, type Points } from "./chart.js";
export type { Baseline, Counts, Diagnostics, TopicDiagnostics } from "./diagnostics.js";
export { EventLease, StateLease } from "./lease.js";
export type { LastClose, LinkState } from "./link.js";
export type { Clock, Ports, Socket, SocketEvents, Visibility } from "./ports.js";
export type { Frame } from "./protocol.js";
export { Scope, type AcquireOptions } from "./scope.js";
export { Session, type SessionOptions } from "./session.js";
export type { Status } from "./status.js";
export type { EventView, Flags, StateView, TopicEvent } from "./subject.js";
export { tile, type Tile } from "./tile.js";
export type { EventTopic, StateTopic } from "./topic.js";
export * from "./topics.generated.js";
