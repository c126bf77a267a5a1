// The real world behind the ports: WebSocket, timers, the page's visibility. Never: decisions.
import type { Ports, SocketEvents } from "./ports.js";

const openSocket = (url: string, protocols: readonly string[], events: SocketEvents) => {
  const socket = new WebSocket(url, [...protocols]);
  socket.onopen = () => events.opened();
  socket.onmessage = (message: MessageEvent<unknown>) => {
    if (typeof message.data === "string") events.received(message.data);
  };
  socket.onclose = (close) => events.closed(close.code, close.reason);
  return {
    send: (text: string) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close: (code: number, reason: string) => socket.close(code, reason),
  };
};

const visibility = {
  hidden: () => typeof document !== "undefined" && document.visibilityState === "hidden",
  onChange: (listener: () => void) => {
    if (typeof document === "undefined") return () => undefined;
    document.addEventListener("visibilitychange", listener);
    return () => document.removeEventListener("visibilitychange", listener);
  },
};

/** The ports of a browser. Works where WebSocket is global; without a document nothing is ever hidden. */
export const browserPorts = (): Ports => ({
  clock: {
    // Not Date.now(): a clock that is set must not fire or starve timers.
    now: () => performance.now(),
    timer: (delayMs, call) => {
      const timer = setTimeout(call, delayMs);
      return () => clearTimeout(timer);
    },
  },
  random: Math.random,
  openSocket,
  visibility,
  report: (error) => {
    // As if the listener had run on its own: it reaches window.onerror and the console.
    queueMicrotask(() => {
      throw error;
    });
  },
});
