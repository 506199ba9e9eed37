// The stores of all kinds, each with the marks under which its objects are found.
import { FactsStore } from './facts-store.ts';
import { marksOf, type FactsByKind, type Kind } from './kinds.ts';

export type Stores = { readonly [K in Kind]: FactsStore<FactsByKind[K]> };

/** `domain` is the cluster's. */
export function makeStores(domain: string): Stores {
  const marks = marksOf(domain);
  const store = <K extends Kind>(kind: K) => new FactsStore<FactsByKind[K]>(marks[kind]);
  return {
    Namespace: store('Namespace'),
    Node: store('Node'),
    GatewayClass: store('GatewayClass'),
    Gateway: store('Gateway'),
    Service: store('Service'),
    ServiceEntry: store('ServiceEntry'),
    EndpointSlice: store('EndpointSlice'),
    Pod: store('Pod'),
    WorkloadEntry: store('WorkloadEntry'),
    AuthorizationPolicy: store('AuthorizationPolicy'),
    PeerAuthentication: store('PeerAuthentication'),
    HTTPRoute: store('HTTPRoute'),
    GRPCRoute: store('GRPCRoute'),
    TCPRoute: store('TCPRoute'),
    TLSRoute: store('TLSRoute'),
    VirtualService: store('VirtualService'),
    DestinationRule: store('DestinationRule'),
    RequestAuthentication: store('RequestAuthentication'),
    Telemetry: store('Telemetry'),
    TrafficPolicy: store('TrafficPolicy'),
    Extension: store('Extension'),
    Secret: store('Secret'),
    ConfigMap: store('ConfigMap'),
  };
}
