// A service: names and virtual addresses that stand for workloads.
// Field by field the `istio.workload.Service` of the wire.
import { isV6, type Ip } from '#/kit/index.ts';
import type { GatewayAddress, NetworkAddress, PortMapping, ServiceKey } from './workload.ts';

export type AppProtocol = 'UNKNOWN' | 'HTTP11' | 'HTTP2' | 'GRPC' | 'TCP' | 'TLS';

export interface ServicePort extends PortMapping {
  readonly appProtocol: AppProtocol;
}

export type RoutingScope = 'REGION' | 'ZONE' | 'SUBZONE' | 'NODE' | 'CLUSTER' | 'NETWORK';

export interface LoadBalancing {
  readonly mode: 'UNSPECIFIED' | 'STRICT' | 'FAILOVER' | 'PASSTHROUGH';
  readonly routingPreference: readonly RoutingScope[];
  readonly healthPolicy: 'ONLY_HEALTHY' | 'ALLOW_ALL';
}

export interface CidrAddress {
  readonly network: string;
  readonly base: Ip;
  readonly length: number;
}

export interface WeightedWaypoint {
  readonly destination: GatewayAddress;
  readonly weight: number;
}

export interface Service {
  readonly kind: 'service';
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  readonly addresses: readonly NetworkAddress[];
  readonly cidrAddresses: readonly CidrAddress[];
  readonly ports: readonly ServicePort[];
  readonly subjectAltNames: readonly string[];
  readonly ipFamilies: 'AUTOMATIC' | 'IPV4_ONLY' | 'IPV6_ONLY' | 'DUAL';
  readonly loadBalancing: LoadBalancing;
  readonly canonical: boolean;
  readonly visibility: 'PUBLIC' | 'NAMESPACE';
  readonly ingressUseWaypoint: boolean;
  readonly weightedWaypoints: readonly WeightedWaypoint[];
  readonly waypoint?: GatewayAddress;
}

export function serviceKey(service: Pick<Service, 'namespace' | 'hostname'>): ServiceKey {
  return `${service.namespace}/${service.hostname}`;
}

// A range of one address is an exact address, as upstream has it.
export const isSingleAddress = ({ base, length }: CidrAddress): boolean => length === (isV6(base) ? 128 : 32);

/** The addresses that are the service's own, whether they are written as such or as ranges of one. */
export function virtualAddresses({ addresses, cidrAddresses }: Service): readonly NetworkAddress[] {
  if (!cidrAddresses.some(isSingleAddress)) return addresses;
  return [
    ...addresses,
    ...cidrAddresses.filter(isSingleAddress).map(({ network, base }) => ({ network, ip: base })),
  ];
}

export const defaultLoadBalancing: LoadBalancing = {
  mode: 'UNSPECIFIED',
  routingPreference: [],
  healthPolicy: 'ONLY_HEALTHY',
};
