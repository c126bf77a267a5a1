// Observables. Subscribing acquires a topic, unsubscribing releases it.
import { Observable } from "rxjs";
import type { AcquireOptions, EventTopic, Session, StateTopic, StateView, Status, TopicEvent } from "../index.js";

/** Painted states, the last one at once. */
export const frames = <S>(session: Session, topic: StateTopic<S>, options?: AcquireOptions): Observable<StateView<S>> =>
  new Observable((subscriber) => {
    const lease = session.acquire(topic, options);
    const tell = (): void => {
      const view = lease.current();
      if (view !== undefined) subscriber.next(view);
    };
    lease.onPaint(tell);
    tell();
    return () => lease.release();
  });

/** Each event as it comes, the last ones at once. */
export const events = <E>(session: Session, topic: EventTopic<E>, options?: AcquireOptions): Observable<TopicEvent<E>> =>
  new Observable((subscriber) => {
    const lease = session.acquire(topic, options);
    lease.onEvent((event) => subscriber.next(event));
    return () => lease.release();
  });

/** The connection's status, the present one at once. */
export const statuses = (session: Session): Observable<Status> =>
  new Observable((subscriber) => {
    subscriber.next(session.status());
    return session.onStatus((status) => subscriber.next(status));
  });
