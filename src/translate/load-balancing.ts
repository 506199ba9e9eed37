// Load balancing of a service: internalTrafficPolicy, trafficDistribution, and the annotation of both spellings.
import { defaultLoadBalancing, type LoadBalancing } from '#/model/index.ts';

const close: LoadBalancing = {
  mode: 'FAILOVER',
  routingPreference: ['NETWORK', 'REGION', 'ZONE'],
  healthPolicy: 'ONLY_HEALTHY',
};

const node: LoadBalancing = {
  mode: 'FAILOVER',
  routingPreference: ['NETWORK', 'REGION', 'ZONE', 'SUBZONE', 'NODE'],
  healthPolicy: 'ONLY_HEALTHY',
};

const local: LoadBalancing = { mode: 'STRICT', routingPreference: ['NODE'], healthPolicy: 'ONLY_HEALTHY' };

function byName(value: string): LoadBalancing | undefined {
  switch (value.toLowerCase()) {
    case 'preferclose':
    case 'prefersamezone':
      return close;
    case 'prefersamenode':
      return node;
    default:
      return undefined;
  }
}

export interface Distribution {
  readonly internalLocal?: boolean;
  /** `spec.trafficDistribution`, case-sensitive as in the Kubernetes API. */
  readonly field?: string | undefined;
  readonly annotation?: string | undefined;
  readonly namespaceAnnotation?: string | undefined;
}

/** The first that applies; an unknown annotation means any endpoint, and hides the namespace's. */
export function distribute(wish: Distribution): LoadBalancing {
  if (wish.internalLocal === true) return local;
  if (wish.field === 'PreferClose' || wish.field === 'PreferSameZone') return close;
  if (wish.field === 'PreferSameNode') return node;
  const annotation =
    wish.annotation === undefined || wish.annotation === '' ? wish.namespaceAnnotation : wish.annotation;
  return byName(annotation ?? '') ?? defaultLoadBalancing;
}

/** For a ServiceEntry of resolution NONE: connections go where they were going. */
export const passthrough: LoadBalancing = {
  mode: 'PASSTHROUGH',
  routingPreference: [],
  healthPolicy: 'ALLOW_ALL',
};
