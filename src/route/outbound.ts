// Where a captured outbound connection goes. One view, one answer; what the view lacks is named, never waited for.
import { formatSocketAddress, isLoopback, type SocketAddress } from '#/kit/index.ts';
import { errorRegistry } from '#/errors/index.ts';
import {
  destinationKey,
  knownIdentity,
  serviceKey,
  type GatewayAddress,
  type MeshView,
  type OutboundFacts,
  type OutboundPlan,
  type Rejection,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { behindGateway, describeGateway } from './gateway.ts';
import { defaultRouteSettings, type RouteSettings } from './settings.ts';
import {
  describe,
  findGateway,
  findUpstream,
  needs,
  noRoute,
  serviceIdentities,
  upstreamIdentities,
  type Found,
  type Resolver,
  type Upstream,
} from './upstream.ts';

const show = ({ ip, port }: SocketAddress): string => formatSocketAddress(ip, port);

/** Decides what becomes of a captured outbound connection. `random` gives numbers in [0, 1). */
export function planOutbound(
  facts: OutboundFacts,
  view: MeshView,
  random: () => number,
  settings: RouteSettings = defaultRouteSettings,
): OutboundPlan {
  const because = settings.trace ? [] : undefined;
  const plan = decide({ facts, view, random, because }, settings);
  return because === undefined ? plan : { ...plan, because };
}

function decide(resolver: Resolver, settings: RouteSettings): OutboundPlan {
  const { facts, view, because } = resolver;
  const { source, originalDestination: target, network } = facts;
  if (isLoopback(target.ip) && settings.illegalPorts.has(target.port))
    return { kind: 'reject', code: 'SELF_CALL', reason: errorRegistry.SELF_CALL.text };

  const keys = [destinationKey(network, target.ip)];
  if (source.network !== network) keys.push(destinationKey(source.network, target.ip));
  const missing = keys.filter((key) => !view.knows(key));
  if (missing.length > 0) return needs(missing);

  // A workload's own address is never taken for a service's, though an address may be both.
  const addressed = view.workloadByAddress(network, target.ip);
  const service =
    addressed === undefined ? view.serviceByAddress(network, target.ip, source.namespace) : undefined;
  because?.push(
    addressed !== undefined
      ? `${target.ip} is workload ${describe(addressed)}`
      : service !== undefined
        ? `${target.ip} is service ${serviceKey(service)}`
        : `${target.ip} is no workload and no service of network "${network}" that ${source.namespace} may see`,
  );

  if (service !== undefined) {
    const waypoint = chooseWaypoint(service, resolver);
    if (waypoint !== undefined) return throughServiceWaypoint(service, waypoint, resolver);
  }
  const found = findUpstream(source.network, target, 'standard', resolver);
  switch (found.kind) {
    case 'upstream':
      return toUpstream(found, service, resolver, settings);
    case 'needs':
    case 'reject':
      return found;
    case 'none':
      return noHealthyUpstream(target);
    case 'original':
      because?.push(`service ${serviceKey(found.service)} passes through: the address as it is, plain TCP`);
      return { kind: 'passthrough', nextHop: target };
    case 'unknown':
      if (service !== undefined && service.loadBalancing.mode !== 'PASSTHROUGH')
        return noHealthyUpstream(target);
      because?.push('unknown to the mesh: the address as it is, plain TCP');
      return { kind: 'passthrough', nextHop: target };
  }
}

const noHealthyUpstream = (target: SocketAddress): Rejection => ({
  kind: 'reject',
  code: 'NO_HEALTHY_UPSTREAM',
  reason: `${errorRegistry.NO_HEALTHY_UPSTREAM.text}: ${show(target)}`,
});

/** One of the weighted waypoints by chance; the single waypoint where there are none, or none with a weight. */
function chooseWaypoint(service: Service, { random, because }: Resolver): GatewayAddress | undefined {
  let total = 0;
  for (const { weight } of service.weightedWaypoints) total += weight;
  if (total > 0) {
    let left = random() * total;
    for (const { destination, weight } of service.weightedWaypoints) {
      left -= weight;
      if (left >= 0) continue;
      because?.push(`waypoint ${describeGateway(destination)}, by its weight ${weight} of ${total}`);
      return destination;
    }
  }
  if (service.waypoint !== undefined) because?.push(`waypoint ${describeGateway(service.waypoint)}`);
  return service.waypoint;
}

// A waypoint that is bound but cannot be reached is never gone round: what it would have refused must not pass.
function unreachableWaypoint(gateway: GatewayAddress, found: Exclude<Found, Upstream>): OutboundPlan {
  if (found.kind === 'needs') return found;
  const why = {
    unknown: 'not found',
    none: 'has no endpoint that is ready',
    original: 'is a service that passes through',
    reject: found.kind === 'reject' ? found.reason : '',
  }[found.kind];
  return {
    kind: 'reject',
    code: 'UNKNOWN_WAYPOINT',
    reason: `${errorRegistry.UNKNOWN_WAYPOINT.text}: waypoint ${describeGateway(gateway)} ${why}`,
  };
}

function throughServiceWaypoint(service: Service, gateway: GatewayAddress, resolver: Resolver): OutboundPlan {
  const { facts, because } = resolver;
  const target = facts.originalDestination;
  const waypoint = findGateway(gateway, 'waypoint', target, resolver);
  if (waypoint.kind !== 'upstream') return unreachableWaypoint(gateway, waypoint);
  if (waypoint.workload.network !== facts.source.network) {
    because?.push(`the waypoint is on network "${waypoint.workload.network}"`);
    return throughNetworkGateway(waypoint, service, resolver);
  }
  return toWaypoint(waypoint, service, resolver);
}

function toWaypoint(waypoint: Upstream, service: Service | undefined, { facts }: Resolver): OutboundPlan {
  if (waypoint.ip === undefined) return noRoute(waypoint.workload, 'it has no address');
  return {
    kind: 'hbone',
    nextHop: { ip: waypoint.ip, port: waypoint.port },
    authority: show(facts.originalDestination),
    expectedIdentities: upstreamIdentities(waypoint),
    destination: waypoint.workload,
    ...(service && { service }),
    viaWaypoint: true,
  };
}

/** To another network: HBONE inside HBONE, both asking for the service by name. */
function throughNetworkGateway(
  { workload, service: chosenFrom }: Upstream,
  service: Service,
  resolver: Resolver,
): OutboundPlan {
  const target = resolver.facts.originalDestination;
  const gateway = workload.networkGateway;
  if (gateway === undefined) return noRoute(workload, `no gateway leads to network "${workload.network}"`);
  resolver.because?.push(
    `network "${workload.network}" is reached through gateway ${describeGateway(gateway)}`,
  );
  const found = findGateway(gateway, 'standard', target, resolver);
  if (found.kind === 'needs' || found.kind === 'reject') return found;
  if (found.kind !== 'upstream')
    return {
      kind: 'reject',
      code: 'NO_ROUTE',
      reason: `unknown network gateway: network gateway ${describeGateway(gateway)} not found`,
    };
  if (found.ip === undefined) return noRoute(found.workload, 'it has no address');
  const authority = `${service.hostname}:${target.port}`;
  return {
    kind: 'double-hbone',
    outer: {
      kind: 'hbone',
      nextHop: { ip: found.ip, port: found.port },
      authority,
      expectedIdentities: upstreamIdentities(found),
      destination: found.workload,
      service,
      viaWaypoint: false,
    },
    authority,
    innerIdentities: serviceIdentities(chosenFrom),
    service,
  };
}

function toUpstream(
  upstream: Upstream,
  addressedService: Service | undefined,
  resolver: Resolver,
  settings: RouteSettings,
): OutboundPlan {
  const { facts, because } = resolver;
  const { workload, service } = upstream;
  if (workload.network !== facts.source.network) {
    because?.push(`${describe(workload)} is on network "${workload.network}"`);
    return addressedService === undefined
      ? noRoute(workload, 'a workload of another network is only reached by its service')
      : throughNetworkGateway(upstream, addressedService, resolver);
  }
  if (addressedService === undefined && workload.waypoint !== undefined) {
    if (!isWaypointOf(workload.waypoint, resolver))
      return throughWorkloadWaypoint(workload.waypoint, upstream, resolver);
    because?.push('the client is the waypoint of the workload itself');
  }
  if (upstream.ip === undefined) return noRoute(workload, 'it has no address');
  const address = { ip: upstream.ip, port: upstream.port };
  const shared = { destination: workload, ...(service && { service }) };
  if (workload.protocol === 'TCP') {
    because?.push('it takes plain TCP');
    return { kind: 'passthrough', nextHop: address, ...shared };
  }
  because?.push('it takes HBONE');
  return {
    kind: 'hbone',
    nextHop: { ip: upstream.ip, port: settings.hbonePort },
    authority: show(address),
    expectedIdentities: upstreamIdentities(upstream),
    viaWaypoint: false,
    ...shared,
  };
}

function throughWorkloadWaypoint(
  gateway: GatewayAddress,
  upstream: Upstream,
  resolver: Resolver,
): OutboundPlan {
  const { facts, because } = resolver;
  because?.push(`waypoint ${describeGateway(gateway)} of the workload`);
  const waypoint = findGateway(gateway, 'waypoint', facts.originalDestination, resolver);
  if (waypoint.kind !== 'upstream') return unreachableWaypoint(gateway, waypoint);
  if (waypoint.workload.network !== facts.source.network)
    return noRoute(
      waypoint.workload,
      'the waypoint is on another network, which is only reached by a service',
    );
  return toWaypoint(waypoint, upstream.service, resolver);
}

/** Whether the client is one of the workloads that make up the waypoint: by identity and by address. */
function isWaypointOf(gateway: GatewayAddress, { facts, view }: Resolver): boolean {
  const identity = knownIdentity(facts.source);
  const isClient = (workload: Workload): boolean =>
    identity !== undefined &&
    knownIdentity(workload) === identity &&
    workload.addresses.includes(facts.sourceAddress.ip);
  const { workload, service } = behindGateway(gateway, view);
  if (workload !== undefined) return isClient(workload);
  return service !== undefined && view.endpoints(serviceKey(service)).workloads.some(isClient);
}
