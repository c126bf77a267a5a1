// The protocol against the golden vectors that the gateway reads too.
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { closeMeaning, readServerMessage } from "../src/protocol.js";
import { topics } from "../src/topics.generated.js";
import { readClientMessage } from "./gateway.js";
import { vectors, World } from "./world.js";

const messages = vectors<{ name: string; from: "client" | "server"; means: string; message: { type: string } }[]>("messages.json");

describe("messages", () => {
  test.each(messages)("$name", ({ from, message }) => {
    const text = JSON.stringify(message);
    if (from === "client") expect(readClientMessage(text)).toEqual(message);
    else expect(readServerMessage(text)).toEqual({ is: "message", message });
  });

  it("has every type of both sides", () => {
    const types = (side: string) => [...new Set(messages.filter(({ from }) => from === side).map(({ message }) => message.type))].sort();
    expect(types("client")).toEqual(["complete", "connection_init", "ping", "pong", "rate", "refresh", "subscribe"]);
    expect(types("server")).toEqual(["complete", "connection_ack", "drain", "next", "ping", "pong", "rate", "refresh"]);
  });

  test.each(vectors<{ name: string; to: string; text: string; reads: string }[]>("refused.json"))("refused: $name", ({ to, text, reads }) => {
    if (to === "client") expect(readServerMessage(text)).toEqual({ is: reads });
    else expect(() => readClientMessage(text)).toThrow();
  });

  it("reads any text", () => {
    const near = fc.tuple(fc.constantFrom(...messages), fc.string(), fc.jsonValue()).map(([{ message }, key, value]) => JSON.stringify({ ...message, [key]: value }));
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), near), (text) => {
      expect(["message", "unknown", "broken"]).toContain(readServerMessage(text).is);
    }));
    expect(readServerMessage('{"type":"constructor"}')).toEqual({ is: "unknown" });
  });
});

test.each(vectors<{ code: number; reason: string; comes_back: boolean; hint_ms: number }[]>("closes.json"))(
  "close $code $reason",
  ({ code, reason, comes_back, hint_ms }) => {
    expect(closeMeaning(code, reason)).toEqual({ comesBack: comes_back, hintMs: hint_ms });
  },
);

test.each(vectors<{ topic: keyof typeof topics; params: { id: string; size: string }; name: string }[]>("names.json"))(
  "topic $name",
  ({ topic, params, name }) => expect(topics[topic](params).name).toBe(name),
);

describe("what the client sends is what the vectors say", () => {
  const vector = (name: string) => messages.find((message) => message.name === name)?.message;

  it("init, batch, batch with positions", async () => {
    const world = new World();
    const session = world.session({ token: () => "t-1", client: "evenkeel-ts/0.1.0" });
    session.acquire(topics.deviceTelemetry({ id: "bowl/7" }));
    session.acquire(topics.deviceAlerts({ id: "bowl/7" }));
    world.gateway.deliverAll();
    await Promise.resolve();
    world.settle(20);
    expect(world.gateway.received("connection_init")).toEqual([vector("init with a token")]);
    expect(world.gateway.received("subscribe")).toEqual([vector("subscribe a batch")]);
    expect(world.gateway.protocols).toEqual([["evenkeel.v1.json"]]);

    const connection = world.gateway.connection;
    connection?.send({ type: "next", server_ms: 1, fragments: [
      { id: 1, frame: { epoch: "a", seq: 41, ts: 1, source: "s", watermark: null, flags: [], state: {} } },
      { id: 2, events: { epoch: "k", after: 117, events: [] } } ] });
    world.gateway.deliverAll();
    connection?.cut();
    world.clock.advance(1000);
    world.gateway.deliverAll();
    await Promise.resolve();
    world.settle(20);
    expect(world.gateway.received("subscribe").at(-1)).toEqual(vector("subscribe with positions"));
  });
});
