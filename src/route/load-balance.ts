// Which endpoint of a service takes a connection: by chance, weighted by capacity, among those that can serve the
// port and are as near as the service wants.
import {
  serviceKey,
  type LoadBalancing,
  type MeshView,
  type RoutingScope,
  type Service,
  type ServiceKey,
  type Workload,
} from '#/model/index.ts';

/** `waypoint`: the port need not exist on the service where the endpoint has a tunnel of its own. */
export type ResolutionMode = 'standard' | 'waypoint';

export interface ChosenEndpoint {
  readonly workload: Workload;
  readonly port: number;
}

export interface BalanceRequest {
  readonly source: Workload;
  readonly service: Service;
  /** The port of the service that the client asked for. */
  readonly port: number;
  readonly mode: ResolutionMode;
}

/** The port of a service as the endpoint itself maps it; undefined if it does not. */
export function endpointPort(workload: Workload, service: ServiceKey, port: number): number | undefined {
  for (const mapping of workload.services[service] ?? [])
    if (mapping.servicePort === port && mapping.targetPort > 0) return mapping.targetPort;
  return undefined;
}

/** The target port on the service itself: 0 if it is named per endpoint, undefined if the service has no such port. */
export function serviceTargetPort(service: Service, port: number): number | undefined {
  return service.ports.find(({ servicePort }) => servicePort === port)?.targetPort;
}

// Upstream's rule: a workload without any address can only be reached through a gateway, and never in our own network.
function isReachable(workload: Workload, source: Workload): boolean {
  if (workload.addresses.length > 0 || workload.hostname !== '') return true;
  return workload.network !== source.network && workload.networkGateway !== undefined;
}

/** The port to use on an endpoint; undefined if it cannot serve the request. */
function portOn(
  workload: Workload,
  key: ServiceKey,
  { source, port, mode }: BalanceRequest,
  servicePort: number | undefined,
): number | undefined {
  if (!isReachable(workload, source)) return undefined;
  const tunnel = workload.applicationTunnel;
  if (mode === 'waypoint' && servicePort === undefined && tunnel === undefined) return undefined;
  const mapped = endpointPort(workload, key, port);
  if (mapped !== undefined) return mapped;
  if (servicePort !== undefined && servicePort > 0) return servicePort;
  return mode === 'waypoint' && tunnel !== undefined && tunnel.port > 0 ? port : undefined;
}

function scopeMatches(scope: RoutingScope, source: Workload, workload: Workload): boolean {
  switch (scope) {
    case 'REGION':
      return source.locality.region === workload.locality.region;
    case 'ZONE':
      return source.locality.zone === workload.locality.zone;
    case 'SUBZONE':
      return source.locality.subzone === workload.locality.subzone;
    case 'NODE':
      return source.node === workload.node;
    case 'CLUSTER':
      return source.clusterId === workload.clusterId;
    case 'NETWORK':
      return source.network === workload.network;
  }
}

/**
 * How near an endpoint is: the number of scopes that match until the first that does not. NETWORK as the first scope
 * is wished, not required: a match lifts the rank above all others, a mismatch goes on with the next scope.
 * Undefined if the mode is STRICT and a scope does not match.
 */
export function localityRank(
  balancing: LoadBalancing,
  source: Workload,
  workload: Workload,
): number | undefined {
  const scopes = balancing.routingPreference;
  const networkFirst = scopes[0] === 'NETWORK';
  let matched = 0;
  let lift = 0;
  for (const scope of scopes) {
    const matches = scopeMatches(scope, source, workload);
    if (networkFirst && scope === 'NETWORK') {
      if (!matches) continue;
      lift = scopes.length - 1;
    }
    if (!matches) break;
    matched++;
  }
  return balancing.mode === 'STRICT' && matched !== scopes.length ? undefined : matched + lift;
}

function byWeight(endpoints: readonly ChosenEndpoint[], random: () => number): ChosenEndpoint | undefined {
  let total = 0;
  for (const { workload } of endpoints) total += workload.capacity;
  let left = random() * total;
  for (const endpoint of endpoints) {
    left -= endpoint.workload.capacity;
    if (left < 0) return endpoint;
  }
  return undefined;
}

// Trying a few at random is fair, since each try is fair, and spares walking a long list.
const tries = 8;

/** Undefined if no endpoint can take the connection. `random` gives numbers in [0, 1). */
export function chooseEndpoint(
  request: BalanceRequest,
  view: MeshView,
  random: () => number,
): ChosenEndpoint | undefined {
  const { source, service, port, mode } = request;
  const servicePort = serviceTargetPort(service, port);
  if (mode === 'standard' && servicePort === undefined) return undefined;
  const key = serviceKey(service);
  const { workloads, evenlyWeighted } = view.endpoints(key);
  const balancing = service.loadBalancing;
  const anywhere = balancing.mode === 'UNSPECIFIED' || balancing.mode === 'PASSTHROUGH';

  if (anywhere && evenlyWeighted && workloads.length > 2 * tries)
    for (let i = 0; i < tries; i++) {
      const workload = workloads[Math.floor(random() * workloads.length)] as Workload;
      const target = portOn(workload, key, request, servicePort);
      if (target !== undefined) return { workload, port: target };
    }

  let nearest = 0;
  let chosen: ChosenEndpoint[] = [];
  for (const workload of workloads) {
    const target = portOn(workload, key, request, servicePort);
    if (target === undefined) continue;
    const rank = anywhere ? 0 : localityRank(balancing, source, workload);
    if (rank === undefined || rank < nearest) continue;
    if (rank > nearest) chosen = [];
    nearest = rank;
    chosen.push({ workload, port: target });
  }
  return byWeight(chosen, random);
}
