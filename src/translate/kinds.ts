// The kinds of object that the mesh is made from: how each is read, and under which questions it is found.
import { readAuthorizationPolicy, type AuthorizationPolicyFacts } from './authorization-policy.ts';
import { readEndpointSlice, type EndpointSliceFacts } from './endpoint-slice.ts';
import { readGateway, readGatewayClass, type GatewayClassFacts, type GatewayFacts } from './gateway.ts';
import { readNamespace, readNode, type NamespaceFacts, type NodeFacts } from './namespace.ts';
import {
  fullHost,
  readData,
  readDestinationRule,
  readRoute,
  readSpec,
  readVirtualService,
  routeBackendHosts,
  virtualBackendHosts,
  type DataFacts,
  type DestinationRuleFacts,
  type RouteFacts,
  type SpecFacts,
  type VirtualServiceFacts,
} from './http/spec-facts.ts';
import type { SourceObject } from './object.ts';
import { readPeerAuthentication, type PeerAuthenticationFacts } from './peer-authentication.ts';
import { readPod, type PodFacts } from './pod.ts';
import type { Labels } from './read.ts';
import { indexPair } from './selector.ts';
import { readService, serviceHostname, type ServiceFacts } from './service.ts';
import { readServiceEntry, type ServiceEntryFacts } from './service-entry.ts';
import { readWorkloadEntry, type WorkloadEntryFacts } from './workload-entry.ts';

export interface FactsByKind {
  Namespace: NamespaceFacts;
  Node: NodeFacts;
  GatewayClass: GatewayClassFacts;
  Gateway: GatewayFacts;
  Service: ServiceFacts;
  ServiceEntry: ServiceEntryFacts;
  EndpointSlice: EndpointSliceFacts;
  Pod: PodFacts;
  WorkloadEntry: WorkloadEntryFacts;
  AuthorizationPolicy: AuthorizationPolicyFacts;
  PeerAuthentication: PeerAuthenticationFacts;
  HTTPRoute: RouteFacts;
  GRPCRoute: RouteFacts;
  TCPRoute: RouteFacts;
  TLSRoute: RouteFacts;
  VirtualService: VirtualServiceFacts;
  DestinationRule: DestinationRuleFacts;
  RequestAuthentication: SpecFacts;
  Telemetry: SpecFacts;
  TrafficPolicy: SpecFacts;
  Extension: SpecFacts;
  Secret: DataFacts;
  ConfigMap: DataFacts;
}

export type Kind = keyof FactsByKind;

/** Kinds of which only the objects are needed that others refer to (see MeshOutput.needs). */
export const kindsOnDemand = ['Secret', 'ConfigMap'] as const satisfies readonly Kind[];
export type KindOnDemand = (typeof kindsOnDemand)[number];

export const readers: { readonly [K in Kind]: (object: SourceObject) => FactsByKind[K] } = {
  Namespace: readNamespace,
  Node: readNode,
  GatewayClass: readGatewayClass,
  Gateway: readGateway,
  Service: readService,
  ServiceEntry: readServiceEntry,
  EndpointSlice: readEndpointSlice,
  Pod: readPod,
  WorkloadEntry: readWorkloadEntry,
  AuthorizationPolicy: readAuthorizationPolicy,
  PeerAuthentication: readPeerAuthentication,
  HTTPRoute: readRoute('HTTPRoute'),
  GRPCRoute: readRoute('GRPCRoute'),
  TCPRoute: readRoute('TCPRoute'),
  TLSRoute: readRoute('TLSRoute'),
  VirtualService: readVirtualService,
  DestinationRule: readDestinationRule,
  RequestAuthentication: readSpec,
  Telemetry: readSpec,
  TrafficPolicy: readSpec,
  Extension: readSpec,
  Secret: readData,
  ConfigMap: readData,
};

export const kinds = Object.keys(readers) as readonly Kind[];

/** The facts of an object: all that any translation reads of it. May stand in for the object in a cache. */
export function readFacts<K extends Kind>(kind: K, object: SourceObject): FactsByKind[K] {
  return readers[kind](object);
}

/** Questions, as texts. */
export const mark = {
  object: (kind: Kind, key: string): string => `${kind}/${key}`,
  /** Objects of a namespace whose selector is indexed under this label. */
  selector: (namespace: string, pair: string): string => `selector/${namespace}/${pair}`,
  host: (hostname: string): string => `host/${hostname}`,
  slicesOfPod: (namespace: string, pod: string): string => `slices/${namespace}/${pod}`,
  gatewayPods: (namespace: string, gateway: string): string => `gateway-pods/${namespace}/${gateway}`,
  networkGateways: (network: string): string => `network-gateways/${network}`,
  peerAuthentications: (namespace: string): string => `peer-authentications/${namespace}`,
  anyPeerAuthentication: 'peer-authentications',
  gateways: 'gateways',
  /** Services and ServiceEntries of a namespace, and all. */
  services: (namespace: string): string => `services/${namespace}`,
  allServices: 'services',
  /** Routes that send requests to a host. */
  backend: (hostname: string): string => `backend/${hostname}`,
  /** VirtualServices that name a host. */
  virtualServices: (hostname: string): string => `virtual-services/${hostname}`,
  /** DestinationRules of a host, and those of wildcards. */
  destinationRules: (hostname: string): string => `destination-rules/${hostname}`,
  wildcardRules: 'destination-rules',
  /** Workloads with a label. */
  labelled: (namespace: string, pair: string): string => `labelled/${namespace}/${pair}`,
} as const;

function selectorMarks(namespace: string, selector: Labels | undefined): readonly string[] {
  const pair = selector === undefined ? undefined : indexPair(selector);
  return pair === undefined ? [] : [mark.selector(namespace, pair)];
}

/** The groups that an object belongs to. `domain` is the cluster's. */
export function marksOf(domain: string): {
  readonly [K in Kind]: (facts: FactsByKind[K]) => readonly string[];
} {
  const backends = (route: RouteFacts) => routeBackendHosts(route, domain).map(mark.backend);
  return {
    Namespace: () => [],
    Node: () => [],
    GatewayClass: () => [],
    Gateway: (gateway) => [
      mark.gateways,
      ...(gateway.network === undefined ? [] : [mark.networkGateways(gateway.network)]),
    ],
    Service: (service) => [
      mark.host(serviceHostname(service, domain)),
      ...selectorMarks(service.namespace, service.selector),
    ],
    ServiceEntry: (entry) => [
      ...new Set(entry.hosts.map(mark.host)),
      ...selectorMarks(entry.namespace, entry.selector),
    ],
    EndpointSlice: (slice) => [
      ...new Set(
        slice.endpoints
          .filter((endpoint) => endpoint.pod !== '')
          .map((endpoint) => mark.slicesOfPod(slice.namespace, endpoint.pod)),
      ),
    ],
    Pod: (pod) =>
      pod.waypoint.instanceOf === undefined ? [] : [mark.gatewayPods(pod.namespace, pod.waypoint.instanceOf)],
    WorkloadEntry: () => [],
    AuthorizationPolicy: (policy) => selectorMarks(policy.namespace, policy.selector),
    PeerAuthentication: (policy) => [mark.peerAuthentications(policy.namespace), mark.anyPeerAuthentication],
    HTTPRoute: backends,
    GRPCRoute: backends,
    TCPRoute: backends,
    TLSRoute: backends,
    VirtualService: (service) => [
      ...virtualBackendHosts(service, domain).map(mark.backend),
      ...service.hosts.map((host) => mark.virtualServices(fullHost(host, service.namespace, domain))),
    ],
    DestinationRule: (rule) => {
      const host = fullHost(rule.host, rule.namespace, domain);
      return [host.includes('*') ? mark.wildcardRules : mark.destinationRules(host)];
    },
    RequestAuthentication: () => [],
    Telemetry: () => [],
    TrafficPolicy: () => [],
    Extension: () => [],
    Secret: () => [],
    ConfigMap: () => [],
  };
}
