// @vitest-environment jsdom
// Hooks under StrictMode.
import { act, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { expect, it } from "vitest";
import { useFrame, useStatus } from "../src/react/index.js";
import { World } from "./world.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

it("a component mounted twice subscribes once, paints, and releases", () => {
  const world = new World();
  const session = world.session();
  world.settle(20);
  const Page = () => {
    const view = useFrame<number>(session, { kind: "state", name: "t/1" });
    return <p>{useStatus(session).state} {view?.state ?? "none"} {String(view?.flags.live)}</p>;
  };
  const place = document.createElement("div");
  const root = createRoot(place);
  act(() => root.render(<StrictMode><Page /></StrictMode>));
  expect(session.diagnostics().log.map(({ what }) => what)).toEqual(["acquire", "release", "acquire"]);
  world.gateway.publish("t/1", 7);
  act(() => world.settle());
  expect(world.gateway.received("subscribe").length).toBe(1);
  expect(world.gateway.received("complete").length).toBe(0);
  expect(place.textContent).toBe("connected 7 true");
  act(() => world.gateway.connection?.cut());
  act(() => world.settle(100));
  expect(place.textContent).toBe("backoff 7 false");
  act(() => root.unmount());
  session.assertBaseline();
});
