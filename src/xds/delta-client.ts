// The client of delta xDS.
import type { Clock, Logger } from '#/kit/index.ts';

export interface PushedResource {
  readonly name: string;
  readonly version: string;
  /** The encoded message; a view on the response's buffer, so decode it, do not keep it. */
  readonly resource: Uint8Array;
}

export interface Push {
  readonly typeUrl: string;
  readonly upserts: readonly PushedResource[];
  readonly removed: readonly string[];
  /** The first push of this type since the client was made. */
  readonly first: boolean;
}

export interface Rejection {
  readonly name: string;
  readonly reason: string;
}

export interface Subscription {
  readonly typeUrl: string;
  /** Nothing is sent until it is asked for by `subscribe`. Default: everything is. */
  readonly onDemand?: boolean;
}

export interface DeltaClientOptions {
  /** `https://host:port`, or `http://host:port` for plain text. */
  readonly address: string;
  /** PEM of the roots, read again at each connect; undefined: those of the system. */
  rootCert(): Uint8Array | undefined;
  /** Read again for each stream. */
  token(): Promise<string | undefined> | string | undefined;
  /** More request headers. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** An extra name that the server's certificate may have. */
  readonly altHostname?: string;
  readonly node: { readonly id: string; readonly metadata: Readonly<Record<string, unknown>> };
  /** In the order in which they are to be subscribed. */
  readonly types: readonly (string | Subscription)[];
  readonly log: Logger;
  readonly clock?: Clock;
  /**
   * Takes a push and returns what it refuses: those keep their last good form and are answered with a NACK, the
   * others count as accepted. A throw refuses the whole push.
   */
  onPush(push: Push): readonly Rejection[];
  onState?(state: ClientState, reason?: string): void;
}

export type ClientState = 'connecting' | 'connected' | 'disconnected';

/** Why connections ended: the label `reason` of istio_xds_connection_terminations_total. */
export type TerminationReason = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete';

export interface ClientStats {
  readonly terminations: Readonly<Record<TerminationReason, number>>;
  /** By type URL. */
  readonly messages: ReadonlyMap<string, { readonly count: number; readonly bytes: number }>;
}

export class DeltaClient {
  readonly options: DeltaClientOptions;
  constructor(options: DeltaClientOptions) {
    this.options = options;
  }
  /** Connects, and again after every loss, until the signal is aborted. */
  start(_signal: AbortSignal): void {
    throw new Error('not implemented');
  }
  /** Resolves when a push of every type has been accepted in full (on-demand types count at once). */
  get synced(): Promise<void> {
    throw new Error('not implemented');
  }
  get state(): ClientState {
    throw new Error('not implemented');
  }
  get stats(): ClientStats {
    throw new Error('not implemented');
  }
  /** On-demand types only: asks for names, on this stream and after each reconnect. */
  subscribe(_typeUrl: string, _names: Iterable<string>): void {
    throw new Error('not implemented');
  }
  unsubscribe(_typeUrl: string, _names: Iterable<string>): void {
    throw new Error('not implemented');
  }
}
