// What a peer says about itself in the baggage header. Never proof of anything: only labels come of it.

export interface Baggage {
  readonly clusterId?: string;
  readonly namespace?: string;
  /** The name of the deployment, job … that owns the pod. */
  readonly workloadName?: string;
  /** The canonical service. */
  readonly serviceName?: string;
  /** The canonical revision. */
  readonly revision?: string;
  readonly region?: string;
  readonly zone?: string;
}
