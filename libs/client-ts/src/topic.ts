// A topic: its name on the wire, its kind, and the type of its values. The generated builders make them.
// Never: a connection, a value.

declare const VALUE: unique symbol;

/** A topic with one newest value of type `S`. */
export interface StateTopic<S> {
  readonly kind: "state";
  readonly name: string;
  /** Never there: carries the type. */
  readonly [VALUE]?: S;
}

/** A topic with a log of events of type `E`. */
export interface EventTopic<E> {
  readonly kind: "event";
  readonly name: string;
  /** Never there: carries the type. */
  readonly [VALUE]?: E;
}

/** A topic of either kind, whatever its values. */
export type AnyTopic = StateTopic<unknown> | EventTopic<unknown>;
