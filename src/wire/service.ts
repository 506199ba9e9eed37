// istio.workload.Service to and from the model.
import { create } from '@bufbuild/protobuf';
import { formatIp } from '#/kit/index.ts';
import type {
  AppProtocol,
  CidrAddress,
  LoadBalancing,
  NetworkAddress,
  RoutingScope,
  Service,
} from '#/model/index.ts';
import {
  decodeCidr,
  decodeGatewayAddress,
  decodeNetworkAddress,
  encodeGatewayAddress,
  encodeIp,
  encodeNetworkAddress,
} from './gateway-address.ts';
import * as pb from './gen/istio/workload/workload_pb.ts';
import { decodePortMapping } from './workload.ts';
import { enumTable } from './enum-table.ts';
import { at, each, fault } from './wire-error.ts';

const appProtocols = enumTable<AppProtocol, pb.AppProtocol>(pb.AppProtocol);
const families = enumTable<Service['ipFamilies'], pb.IPFamilies>(pb.IPFamilies);
const modes = enumTable<LoadBalancing['mode'], pb.LoadBalancing_Mode>({
  UNSPECIFIED: pb.LoadBalancing_Mode.UNSPECIFIED_MODE,
  STRICT: pb.LoadBalancing_Mode.STRICT,
  FAILOVER: pb.LoadBalancing_Mode.FAILOVER,
  PASSTHROUGH: pb.LoadBalancing_Mode.PASSTHROUGH,
});
const healthPolicies = enumTable<LoadBalancing['healthPolicy'], pb.LoadBalancing_HealthPolicy>(
  pb.LoadBalancing_HealthPolicy,
);
// A preference without a scope says nothing: 0 has no name here.
const scopes = enumTable<RoutingScope, pb.LoadBalancing_Scope>({
  REGION: pb.LoadBalancing_Scope.REGION,
  ZONE: pb.LoadBalancing_Scope.ZONE,
  SUBZONE: pb.LoadBalancing_Scope.SUBZONE,
  NODE: pb.LoadBalancing_Scope.NODE,
  CLUSTER: pb.LoadBalancing_Scope.CLUSTER,
  NETWORK: pb.LoadBalancing_Scope.NETWORK,
});

function decodeLoadBalancing(message: pb.LoadBalancing | undefined): LoadBalancing {
  return {
    mode: modes.name('mode', message?.mode ?? 0),
    routingPreference: each('routingPreference', message?.routingPreference ?? [], (scope) =>
      scopes.name('', scope),
    ),
    healthPolicy: healthPolicies.name('healthPolicy', message?.healthPolicy ?? 0),
  };
}

/** An entry with a length is a range, also when the length is that of one address. */
function decodeAddresses(list: readonly pb.NetworkAddress[]): Pick<Service, 'addresses' | 'cidrAddresses'> {
  const addresses: NetworkAddress[] = [];
  const cidrAddresses: CidrAddress[] = [];
  each('addresses', list, (message) => {
    if (message.length === undefined) {
      addresses.push(decodeNetworkAddress(message));
    } else {
      const { base, length } = decodeCidr(message.address, message.length);
      cidrAddresses.push({ network: message.network, base: formatIp(base), length });
    }
  });
  return { addresses, cidrAddresses };
}

/** Throws WireError without the resource's name; decodeAddress adds it. */
export function decodeService(message: pb.Service): Service {
  if (message.hostname === '') throw fault('hostname', 'is empty');
  const { waypoint } = message;
  return {
    kind: 'service',
    name: message.name,
    namespace: message.namespace,
    hostname: message.hostname,
    ...decodeAddresses(message.addresses),
    ports: each('ports', message.ports, (item) => ({
      ...decodePortMapping(item),
      appProtocol: appProtocols.name('appProtocol', item.appProtocol),
    })),
    subjectAltNames: message.subjectAltNames,
    ipFamilies: families.name('ipFamilies', message.ipFamilies),
    loadBalancing: at('loadBalancing', () => decodeLoadBalancing(message.loadBalancing)),
    canonical: message.canonical,
    // The one enum where an unknown value has a meaning upstream: visible to all.
    visibility: message.visibility === pb.Service_Visibility.NAMESPACE ? 'NAMESPACE' : 'PUBLIC',
    ingressUseWaypoint: message.ingressUseWaypoint,
    weightedWaypoints: each('weightedWaypoints', message.weightedWaypoints, (item) => {
      const { destination } = item;
      if (destination === undefined) throw fault('destination', 'is not set');
      return { destination: at('destination', () => decodeGatewayAddress(destination)), weight: item.weight };
    }),
    ...(waypoint && { waypoint: at('waypoint', () => decodeGatewayAddress(waypoint)) }),
  };
}

export function encodeService(service: Service): pb.Service {
  const { loadBalancing, waypoint } = service;
  const message = create(pb.ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: [
      ...each('addresses', service.addresses, encodeNetworkAddress),
      ...each('cidrAddresses', service.cidrAddresses, (range) => ({
        network: range.network,
        address: encodeIp('base', range.base),
        length: range.length,
      })),
    ],
    ports: each('ports', service.ports, (item) => ({
      servicePort: item.servicePort,
      targetPort: item.targetPort,
      appProtocol: appProtocols.number('appProtocol', item.appProtocol),
    })),
    subjectAltNames: [...service.subjectAltNames],
    ipFamilies: families.number('ipFamilies', service.ipFamilies),
    canonical: service.canonical,
    ingressUseWaypoint: service.ingressUseWaypoint,
    weightedWaypoints: each('weightedWaypoints', service.weightedWaypoints, (item) => ({
      destination: encodeGatewayAddress(item.destination),
      weight: item.weight,
    })),
    visibility:
      service.visibility === 'NAMESPACE' ? pb.Service_Visibility.NAMESPACE : pb.Service_Visibility.PUBLIC,
  });
  const { mode, healthPolicy, routingPreference } = loadBalancing;
  if (mode !== 'UNSPECIFIED' || healthPolicy !== 'ONLY_HEALTHY' || routingPreference.length > 0)
    message.loadBalancing = create(pb.LoadBalancingSchema, {
      mode: modes.number('mode', mode),
      healthPolicy: healthPolicies.number('healthPolicy', healthPolicy),
      routingPreference: routingPreference.map((scope) => scopes.number('routingPreference', scope)),
    });
  if (waypoint) message.waypoint = encodeGatewayAddress(waypoint);
  return message;
}
