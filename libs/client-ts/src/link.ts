// The one connection: when to open, greet, ping, give up, wait and come back.
// A state machine: inputs and times in, actions out. Owns: the connection's state, back-off, drain, silence.
// Never: a socket, a timer, topics. Every socket has a number, so that what an old one still says changes nothing.
//
//   disconnected --connect--> connecting --ack--> connected --drain is over--> connecting
//        ^ final close, disconnect   |                | close, silence
//        +---------------------------+-- backoff <----+   (backoff --time is over--> connecting)
import { closeMeaning, type Ack, type ClientMessage, type ServerMessage } from "./protocol.js";

export type LinkState = "disconnected" | "connecting" | "connected" | "backoff";

export type LinkInput =
  | { readonly is: "connect" }
  | { readonly is: "disconnect" }
  | { readonly is: "opened"; readonly socket: number }
  | { readonly is: "token"; readonly socket: number; readonly token: string | undefined }
  | { readonly is: "token_failed"; readonly socket: number; readonly why: string }
  | { readonly is: "message"; readonly socket: number; readonly message: ServerMessage | undefined }
  | { readonly is: "closed"; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly is: "tick" };

export type LinkAction =
  | { readonly do: "open"; readonly socket: number }
  | { readonly do: "close"; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly do: "ask_token"; readonly socket: number }
  | { readonly do: "send"; readonly message: ClientMessage }
  | { readonly do: "ready" }
  | { readonly do: "changed" };

/** Times of the connection, ms. */
export interface LinkSettings {
  /** Upper end of the first random back-off. */
  readonly backoffFirstMs: number;
  /** Upper end of any. */
  readonly backoffMaxMs: number;
  /** From opening to `connection_ack`. */
  readonly connectTimeoutMs: number;
  /** A connection that held so long wipes out earlier failures. */
  readonly stableMs: number;
}

export const LINK_SETTINGS: LinkSettings = {
  backoffFirstMs: 500,
  backoffMaxMs: 20_000,
  connectTimeoutMs: 10_000,
  stableMs: 5_000,
};

/** How the last connection ended. */
export interface LastClose {
  readonly code: number;
  readonly reason: string;
}

/** Full jitter: a random time below the bound, which doubles with each failure. `random` is in [0, 1). */
export function backoffMs(failures: number, random: number, settings: LinkSettings): number {
  return random * Math.min(settings.backoffMaxMs, settings.backoffFirstMs * 2 ** Math.min(failures, 30));
}

export class Link {
  readonly #settings: LinkSettings;
  readonly #random: () => number;
  readonly #client: string;
  #state: LinkState = "disconnected";
  #socket = 0;
  #failures = 0;
  #greeted = false;
  #connectedAt = 0;
  #heardAt = 0;
  #pinged = false;
  #connectBy = Infinity;
  #retryAt = Infinity;
  #drainAt = Infinity;
  #ack: Ack | undefined;
  #lastClose: LastClose | undefined;

  constructor(settings: LinkSettings, random: () => number, client: string) {
    this.#settings = settings;
    this.#random = random;
    this.#client = client;
  }

  get state(): LinkState {
    return this.#state;
  }

  /** What the server said when it opened; only while connected. */
  get ack(): Ack | undefined {
    return this.#state === "connected" ? this.#ack : undefined;
  }

  get failures(): number {
    return this.#failures;
  }

  get lastClose(): LastClose | undefined {
    return this.#lastClose;
  }

  /** When the next attempt begins; Infinity unless in back-off. */
  get retryAt(): number {
    return this.#state === "backoff" ? this.#retryAt : Infinity;
  }

  get draining(): boolean {
    return this.#drainAt !== Infinity;
  }

  /** Whether this socket is the connection now. */
  isCurrent(socket: number): boolean {
    return socket === this.#socket && this.#state === "connected";
  }

  /** When to send a tick at the latest. */
  get wakeAt(): number {
    if (this.#state === "connecting") return this.#connectBy;
    if (this.#state === "backoff") return this.#retryAt;
    if (this.#state === "disconnected" || this.#ack === undefined) return Infinity;
    const pings = this.#pinged ? 2 : 1;
    return Math.min(this.#heardAt + pings * this.#ack.ping_ms, this.#drainAt);
  }

  handle(input: LinkInput, now: number): LinkAction[] {
    if ("socket" in input && (input.socket !== this.#socket || !this.#isUp())) return [];
    switch (input.is) {
      case "connect":
        if (this.#state !== "disconnected") return [];
        this.#failures = 0;
        return this.#open(now);
      case "disconnect":
        return this.#disconnect();
      case "opened":
        return [{ do: "ask_token", socket: this.#socket }];
      case "token":
        return this.#token(input.token);
      case "token_failed":
        return this.#giveUp(input.why, now);
      case "message":
        return this.#message(input.message, now);
      case "closed":
        return this.#closed(input, now);
      case "tick":
        return this.#tick(now);
    }
  }

  #isUp(): boolean {
    return this.#state === "connecting" || this.#state === "connected";
  }

  #open(now: number): LinkAction[] {
    this.#socket += 1;
    this.#state = "connecting";
    this.#greeted = false;
    this.#connectBy = now + this.#settings.connectTimeoutMs;
    this.#drainAt = Infinity;
    return [{ do: "open", socket: this.#socket }, { do: "changed" }];
  }

  #disconnect(): LinkAction[] {
    if (this.#state === "disconnected") return [];
    const up = this.#isUp();
    this.#state = "disconnected";
    this.#drainAt = Infinity;
    const close: LinkAction = { do: "close", socket: this.#socket, code: 1000, reason: "" };
    return up ? [close, { do: "changed" }] : [{ do: "changed" }];
  }

  #token(token: string | undefined): LinkAction[] {
    if (this.#state === "connected") return token === undefined ? [] : [send({ type: "refresh", token })];
    if (this.#greeted) return [];
    this.#greeted = true;
    const credential = token === undefined ? {} : { token };
    return [send({ type: "connection_init", ...credential, client: this.#client })];
  }

  #message(message: ServerMessage | undefined, now: number): LinkAction[] {
    this.#heardAt = now;
    this.#pinged = false;
    switch (message?.type) {
      case "connection_ack":
        if (this.#state === "connected") return [];
        this.#state = "connected";
        this.#ack = message;
        this.#connectedAt = now;
        return [{ do: "changed" }, { do: "ready" }];
      case "ping":
        return [send({ type: "pong" })];
      case "refresh":
        return message.wanted ? [{ do: "ask_token", socket: this.#socket }] : [];
      case "drain":
        if (this.#state !== "connected") return [];
        this.#drainAt = now + message.retry_after_ms;
        return [{ do: "changed" }];
      default:
        return [];
    }
  }

  #closed(close: LastClose, now: number): LinkAction[] {
    const { comesBack, hintMs } = closeMeaning(close.code, close.reason);
    const held = this.#state === "connected" && now - this.#connectedAt >= this.#settings.stableMs;
    if (held) this.#failures = 0;
    this.#lastClose = { code: close.code, reason: close.reason };
    if (!comesBack) {
      this.#state = "disconnected";
    } else if (this.draining) {
      // The server spreads the times of a drain: a random time on top would only make its curve wrong.
      this.#state = "backoff";
      this.#retryAt = Math.max(this.#drainAt, now + hintMs);
    } else {
      this.#state = "backoff";
      this.#retryAt = now + hintMs + backoffMs(this.#failures, this.#random(), this.#settings);
      this.#failures += 1;
    }
    this.#drainAt = Infinity;
    return [{ do: "changed" }];
  }

  /** Ends a socket that does not answer. Its own close may take minutes, so nobody waits for it. */
  #giveUp(why: string, now: number): LinkAction[] {
    const close: LinkAction = { do: "close", socket: this.#socket, code: 1000, reason: why };
    return [close, ...this.#closed({ code: 1006, reason: why }, now)];
  }

  #tick(now: number): LinkAction[] {
    if (now < this.wakeAt) return [];
    if (this.#state === "connecting") return this.#giveUp("no connection_ack in time", now);
    if (this.#state === "backoff") return this.#open(now);
    if (this.#state === "disconnected" || this.#ack === undefined) return [];
    if (now >= this.#drainAt) {
      this.#failures = 0;
      return [{ do: "close", socket: this.#socket, code: 1000, reason: "drained" }, ...this.#open(now)];
    }
    if (this.#pinged || now >= this.#heardAt + 2 * this.#ack.ping_ms) return this.#giveUp("silent", now);
    this.#pinged = true;
    return [send({ type: "ping" })];
  }
}

const send = (message: ClientMessage): LinkAction => ({ do: "send", message });
