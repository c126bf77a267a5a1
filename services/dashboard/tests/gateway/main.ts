// `npm run sample`: the dashboard over a simulated fleet in real time, to look at. PORT chooses the port.
import { fileURLToPath } from "node:url";
import { Fleet } from "./fleet.js";
import { Gateway } from "./gateway.js";
import { serve } from "./server.js";

const TICK_MS = 100;

export async function main(): Promise<void> {
  const gateway = new Gateway(new Fleet());
  gateway.fleet.now = Date.now();
  const dist = fileURLToPath(new URL("../../dist", import.meta.url));
  const { port } = await serve(gateway, dist, Number(process.env["PORT"] ?? 0));
  setInterval(() => {
    gateway.fleet.now = Date.now();
    gateway.tick();
  }, TICK_MS);
  console.log(`the dashboard over a simulated fleet: http://127.0.0.1:${port}/`);
}
