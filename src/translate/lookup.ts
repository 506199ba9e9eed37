// What a translation may ask beside its own object. Whoever implements it records each question, so that a change
// runs again only what has asked for the changed object (see mesh-index.ts).
import type { AuthorizationPolicyFacts } from './authorization-policy.ts';
import type { EndpointSliceFacts } from './endpoint-slice.ts';
import type { GatewayClassFacts, GatewayFacts } from './gateway.ts';
import type { DataFacts, DestinationRuleFacts, RouteFacts, VirtualServiceFacts } from './http/spec-facts.ts';
import type { NamespaceFacts, NodeFacts } from './namespace.ts';
import type { PeerAuthenticationFacts } from './peer-authentication.ts';
import type { PodFacts } from './pod.ts';
import type { Labels } from './read.ts';
import type { ServiceEntryFacts } from './service-entry.ts';
import type { ServiceFacts } from './service.ts';
import type { MeshSettings } from './settings.ts';
import type { WorkloadEntryFacts } from './workload-entry.ts';

export interface Lookup {
  readonly mesh: MeshSettings;
  namespace(name: string): NamespaceFacts | undefined;
  node(name: string): NodeFacts | undefined;
  gateway(namespace: string, name: string): GatewayFacts | undefined;
  gatewayClass(name: string): GatewayClassFacts | undefined;
  service(namespace: string, name: string): ServiceFacts | undefined;
  serviceEntry(namespace: string, name: string): ServiceEntryFacts | undefined;
  /** Services of the namespace with a selector that matches, in no order. */
  servicesSelecting(namespace: string, labels: Labels): readonly ServiceFacts[];
  serviceEntriesSelecting(namespace: string, labels: Labels): readonly ServiceEntryFacts[];
  /** Policies with a selector that matches, of the namespace and of the root namespace, in no order. */
  policiesSelecting(namespace: string, labels: Labels): readonly AuthorizationPolicyFacts[];
  peerAuthentications(namespace: string): readonly PeerAuthenticationFacts[];
  anyPeerAuthentication(): boolean;
  /** Slices with an endpoint that refers to this pod. */
  slicesOfPod(namespace: string, pod: string): readonly EndpointSliceFacts[];
  servicesByHostname(hostname: string): readonly ServiceFacts[];
  serviceEntriesByHostname(hostname: string): readonly ServiceEntryFacts[];
  /** Pods that are labelled as instances of a Gateway. */
  gatewayPods(namespace: string, gateway: string): readonly PodFacts[];
  /** Gateways that lead to a network. */
  networkGateways(network: string): readonly GatewayFacts[];
  gateways(): readonly GatewayFacts[];
  /** All of a namespace, or without one of the mesh, in no order. */
  servicesIn(namespace?: string): readonly ServiceFacts[];
  serviceEntriesIn(namespace?: string): readonly ServiceEntryFacts[];
  virtualService(namespace: string, name: string): VirtualServiceFacts | undefined;
  /** Routes of all kinds that send or mirror requests to the host. */
  routesTo(hostname: string): readonly RouteFacts[];
  virtualServicesTo(hostname: string): readonly VirtualServiceFacts[];
  /** Those that name the host, without wildcards. */
  virtualServicesOf(hostname: string): readonly VirtualServiceFacts[];
  /** DestinationRules of the host: by its own name, and by wildcards. */
  destinationRules(hostname: string): readonly DestinationRuleFacts[];
  /** Pods and WorkloadEntries with all these labels; none for an empty selector. */
  podsWith(namespace: string, labels: Labels): readonly PodFacts[];
  workloadEntriesWith(namespace: string, labels: Labels): readonly WorkloadEntryFacts[];
  secret(namespace: string, name: string): DataFacts | undefined;
  configMap(namespace: string, name: string): DataFacts | undefined;
}

/** The network of this cluster: the label of the system namespace. Empty if there is none. */
export function clusterNetwork(lookup: Lookup): string {
  return lookup.namespace(lookup.mesh.systemNamespace)?.labels['topology.istio.io/network'] ?? '';
}
