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

/** What a waypoint looks attachments up by. */
export interface AttachmentTarget {
  readonly service: ServiceKey | undefined;
  /** uid */
  readonly workload: string | undefined;
  /** `ns/name` of the Gateway. */
  readonly gateway: string;
}

const namespaceOf = (key: string): string => key.slice(0, Math.max(0, key.indexOf('/')));

/** Whether something that is attached so applies to what goes to the target through the waypoint. */
export function appliesTo(
  { targets }: Attachment,
  { service, workload, gateway }: AttachmentTarget,
): boolean {
  return targets.some((one) => {
    switch (one.kind) {
      case 'service':
        return one.service === service;
      case 'workload':
        return one.uid === workload;
      case 'waypoint':
        return one.gateway === gateway;
      case 'namespace':
        return one.namespace === namespaceOf(service ?? gateway);
      case 'all-waypoints':
      case 'mesh':
        return true;
    }
  });
}
