// Hooks. A component holds a topic while it is mounted; mounting twice in a row (StrictMode) subscribes once, because
// what is acquired and released in one turn leaves as one message, and a released topic lingers.
import { useCallback, useSyncExternalStore } from "react";
import type { AcquireOptions, EventTopic, EventView, Session, StateTopic, StateView, Status } from "../index.js";

/** The newest painted state of a topic; undefined until the first. */
export function useFrame<S>(session: Session, topic: StateTopic<S>, options: AcquireOptions = {}): StateView<S> | undefined {
  const { name } = topic;
  const { maxHz, holder } = options;
  const subscribe = useCallback(
    (changed: () => void) => {
      const lease = session.acquire<S>({ kind: "state", name }, optionsOf(maxHz, holder));
      lease.onPaint(changed);
      return () => lease.release();
    },
    [session, name, maxHz, holder],
  );
  const snapshot = useCallback(() => session.peek<S>({ kind: "state", name }), [session, name]);
  return useSyncExternalStore(subscribe, snapshot, nothing);
}

/** The last events of a topic; undefined until the server has answered. */
export function useEvents<E>(session: Session, topic: EventTopic<E>, options: AcquireOptions = {}): EventView<E> | undefined {
  const { name } = topic;
  const { holder } = options;
  const subscribe = useCallback(
    (changed: () => void) => {
      const lease = session.acquire<E>({ kind: "event", name }, optionsOf(undefined, holder));
      lease.onPaint(changed);
      return () => lease.release();
    },
    [session, name, holder],
  );
  const snapshot = useCallback(() => session.peek<E>({ kind: "event", name }), [session, name]);
  return useSyncExternalStore(subscribe, snapshot, nothing);
}

/** The connection's status. */
export function useStatus(session: Session): Status {
  const subscribe = useCallback((changed: () => void) => session.onStatus(changed), [session]);
  const snapshot = useCallback(() => session.status(), [session]);
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

const nothing = (): undefined => undefined;

const optionsOf = (maxHz: number | undefined, holder: string | undefined): AcquireOptions => ({
  ...(maxHz === undefined ? {} : { maxHz }),
  holder: holder ?? "react",
});
