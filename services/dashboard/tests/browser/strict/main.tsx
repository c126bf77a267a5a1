// A page with React around the client, mounted twice in a row as StrictMode does.
import { createSession, topics, type Session } from "@evenkeel/client";
import { useFrame, useStatus } from "@evenkeel/client/react";
import { StrictMode, type ReactElement } from "react";
import { createRoot } from "react-dom/client";

const session = createSession({ url: `ws://${location.host}/v1/live` });

function Page({ session }: { readonly session: Session }): ReactElement {
  const view = useFrame(session, topics.fleetSummary(), { maxHz: 2 });
  return (
    <p>
      {useStatus(session).state}: {view === undefined ? "no frame" : "a frame"}
    </p>
  );
}

// Connected first: what is acquired then must leave as one message, not as one per mount.
const stop = session.onStatus(({ state }) => {
  if (state !== "connected") return;
  stop();
  createRoot(document.getElementById("app") as HTMLElement).render(
    <StrictMode>
      <Page session={session} />
    </StrictMode>,
  );
});
Object.assign(globalThis, { evenkeel: { session } });
