// The network between browser and gateway: a TCP relay that can be cut. Owns: its sockets. Never: what they carry.
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

export class Line {
  readonly port: number;
  readonly #sockets: Set<Socket>;
  readonly #close: () => Promise<void>;
  #cut = false;

  private constructor(port: number, sockets: Set<Socket>, close: () => Promise<void>) {
    this.port = port;
    this.#sockets = sockets;
    this.#close = close;
  }

  static async to(host: string, port: number): Promise<Line> {
    const sockets = new Set<Socket>();
    const own: { line?: Line } = {};
    const server = createServer((near) => {
      if (own.line !== undefined && own.line.#cut) return void near.destroy();
      const far = connect(port, host);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const close = (): Promise<void> =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      });
    own.line = new Line((server.address() as AddressInfo).port, sockets, close);
    return own.line;
  }

  /** Ends what is open, and lets nothing through until `mend`. */
  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#cut = false;
  }

  close(): Promise<void> {
    return this.#close();
  }
}
