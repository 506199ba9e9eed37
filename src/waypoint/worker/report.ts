// What a data worker tells when it is asked: numbers since the last time, and what is open now.
import type { HttpMetricsReport } from '#/telemetry/index.ts';
import type { ExtensionReport } from '../extensions/index.ts';

export interface WorkerReport {
  readonly traffic: HttpMetricsReport;
  /** Client connections, and flows that are not HTTP, that are open. */
  readonly connections: number;
  readonly tcp: number;
  /** Requests that are open. */
  readonly requests: number;
  readonly clusters: number;
  readonly tunnels: number;
  /** Since the worker started. */
  readonly refused: {
    readonly overLimit: number;
    readonly tls: number;
    /** Requests that the codecs refused as malformed. */
    readonly malformed: number;
    readonly mirrorsDropped: number;
  };
  readonly extensions: readonly ExtensionReport[];
  /** Configuration that could not be used: resource and reasons. */
  readonly problems: readonly (readonly [string, readonly string[]])[];
}
