// The outside world as arguments. browser.ts has the real one, tests have their own. Never: behaviour.

/** Time, ms. It may be any clock that does not run backwards. */
export interface Clock {
  now(): number;
  /** Calls once after so many ms; the answer cancels. */
  timer(delayMs: number, call: () => void): () => void;
}

/** What a socket says. */
export interface SocketEvents {
  opened(): void;
  received(text: string): void;
  closed(code: number, reason: string): void;
}

export interface Socket {
  send(text: string): void;
  close(code: number, reason: string): void;
}

export interface Visibility {
  hidden(): boolean;
  onChange(listener: () => void): () => void;
}

export interface Ports {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** Opens a socket. It may throw; it never calls the events before it returns. */
  readonly openSocket: (url: string, protocols: readonly string[], events: SocketEvents) => Socket;
  readonly visibility: Visibility;
  /** Takes what listeners throw. */
  readonly report: (error: unknown) => void;
}
