// What a connection badge shows. Owns: the shape. Never: decisions.
import type { LastClose, LinkState } from "./link.js";

export interface Status {
  readonly state: LinkState;
  /** The server's name of the connection, while there is one. */
  readonly session: string | undefined;
  /** Failures since a connection last held. */
  readonly failures: number;
  /** When the next attempt begins, ms of the client's clock; only in back-off. */
  readonly retryAt: number | undefined;
  readonly lastClose: LastClose | undefined;
  /** The server leaves soon; frames go on. */
  readonly draining: boolean;
  /** The server's ladder: 0 is full rate. */
  readonly rate: { readonly step: number; readonly maxHz: number } | undefined;
  /** The page is hidden: nothing is painted, the server sends no frames. */
  readonly hidden: boolean;
}
