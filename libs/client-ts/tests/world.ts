// The world of the tests: a clock that is moved by hand, sockets that are queues, and a gateway that keeps
// schemas/ws/gateway.md strictly, so that a client that breaks it fails the test.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Ports, SocketEvents } from "../src/ports.js";
import { Session, type SessionOptions } from "../src/session.js";
import { Gateway } from "./gateway.js";

export class Clock {
  #now = 1_000_000;
  #next = 0;
  readonly #timers = new Map<number, { at: number; call: () => void }>();

  now(): number {
    return this.#now;
  }

  get pending(): number {
    return this.#timers.size;
  }

  timer(delayMs: number, call: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + delayMs, call });
    return () => void this.#timers.delete(id);
  }

  /** Moves on, calling every timer at its own time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let calls = 0; ; calls += 1) {
      if (calls > 100_000) throw new Error("timers call timers without end");
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].call();
    }
    this.#now = end;
  }
}

export class World {
  readonly clock = new Clock();
  readonly gateway = new Gateway(this.clock);
  readonly errors: unknown[] = [];
  hidden = false;
  random = 0.5;
  #watchers = new Set<() => void>();

  get watchers(): number {
    return this.#watchers.size;
  }

  readonly ports: Ports = {
    clock: this.clock,
    random: () => this.random,
    openSocket: (_url: string, protocols: readonly string[], events: SocketEvents) => this.gateway.accept(protocols, events),
    visibility: {
      hidden: () => this.hidden,
      onChange: (listener) => {
        this.#watchers.add(listener);
        return () => void this.#watchers.delete(listener);
      },
    },
    report: (error) => void this.errors.push(error),
  };

  /** A session on the way to be connected. */
  session(options: Partial<SessionOptions> = {}): Session {
    const session = new Session({ url: "ws://gateway/v1/live", ...options }, this.ports);
    session.connect();
    return session;
  }

  hide(hidden: boolean): void {
    this.hidden = hidden;
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** Lets everything that is on the way arrive, and a few paint ticks go by. */
  settle(ms = 300, stepMs = 10): void {
    for (let spent = 0; spent < ms; spent += stepMs) {
      this.gateway.deliverAll();
      this.gateway.tick();
      this.gateway.deliverAll();
      this.clock.advance(Math.min(stepMs, ms - spent));
    }
    this.gateway.deliverAll();
  }
}

/** Golden vectors. Each test that reads them says what shape it expects. */
export function vectors<T>(file: string): T {
  return JSON.parse(readFileSync(join(import.meta.dirname, "../../../schemas/ws/vectors", file), "utf8")) as T;
}
