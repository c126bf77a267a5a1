// The sample gateway on a port: the dashboard's built files at `/`, the socket at `/v1/live`.
// Owns: an HTTP server, sockets. Never: the fleet's time.
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { WebSocketServer, type WebSocket } from "ws";
import { SUBPROTOCOL } from "../../../../libs/client-ts/src/protocol.js";
import type { Gateway } from "./gateway.js";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  css: "text/css",
  txt: "text/plain; charset=utf-8",
};

/** As strict as a gateway may be: the page must do with it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** Serves until `close`. Port 0: any. */
export async function serve(
  gateway: Gateway,
  dist: string,
  port = 0,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => file(dist, request, response));
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });
  server.on("upgrade", (request, socket, head) => {
    if (request.url !== "/v1/live") return socket.destroy();
    sockets.handleUpgrade(request, socket, head, (opened) => attach(gateway, opened));
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets.clients) socket.terminate();
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function attach(gateway: Gateway, socket: WebSocket): void {
  const connection = gateway.connect({
    send: (text) => socket.send(text),
    close: (code, reason) => socket.close(code, reason),
    get busy() {
      return socket.bufferedAmount > 0;
    },
  });
  socket.on("message", (data, binary) => connection.receive(binary ? "" : String(data)));
  socket.on("close", () => connection.closed());
  socket.on("error", () => connection.closed());
}

function file(dist: string, request: IncomingMessage, response: ServerResponse): void {
  const name = request.url === "/" ? "index.html" : (request.url ?? "").slice(1);
  const type = TYPES[name.split(".").at(-1) ?? ""];
  const body = type === undefined || name.includes("/") || name.includes("..") ? undefined : read(join(dist, name));
  if (type === undefined || body === undefined) {
    response.writeHead(404).end();
    return;
  }
  response
    .writeHead(200, { "content-type": type, "content-security-policy": POLICY, "x-content-type-options": "nosniff" })
    .end(body);
}

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
