// What balancing knows of an endpoint. The engine owns these objects and keeps the counts; the balancer only reads them.
import type { Locality } from '#/model/index.ts';

export interface Place {
  readonly locality: Locality;
  readonly network?: string;
  readonly clusterId?: string;
  readonly node?: string;
}

export interface Candidate extends Place {
  readonly uid: string;
  /** Capacity: its share against the others; not positive: gets nothing while others have some. */
  readonly weight: number;
  /** False: ejected, or failed its health check. Changed through `Balancer.setHealthy` only. */
  healthy: boolean;
  /** Requests that are under way. */
  activeRequests: number;
  /** When it came, on the clock of `now`; for warm-up. Absent: long ago. */
  readonly since?: number;
}

/** Which level it is in (0 first), and which share of the level, if shares are given by locality. Undefined: none. */
export interface Placement {
  readonly level: number;
  readonly share: number;
}
