// What a policy, a telemetry setting or an extension is attached to, as a waypoint sees it.
import type { ServiceKey } from '../workload.ts';

export type Target =
  | { readonly kind: 'service'; readonly service: ServiceKey }
  | { readonly kind: 'workload'; readonly uid: string }
  /** Everything that goes through the waypoint: `ns/name` of the Gateway. */
  | { readonly kind: 'waypoint'; readonly gateway: string }
  /** Every waypoint of the class (a policy of the root namespace). */
  | { readonly kind: 'all-waypoints' }
  /** Services and workloads of the namespace (Telemetry). */
  | { readonly kind: 'namespace'; readonly namespace: string }
  /** The whole mesh (Telemetry of the root namespace). */
  | { readonly kind: 'mesh' };

export interface Attachment {
  readonly targets: readonly Target[];
}
