// From an address or a name to one workload, one of its addresses and a port.
import { isV6, type Ip, type SocketAddress } from '#/kit/index.ts';
import { errorRegistry } from '#/errors/index.ts';
import {
  knownIdentity,
  parseIdentity,
  serviceKey,
  type GatewayAddress,
  type Identity,
  type MeshKey,
  type MeshView,
  type Needs,
  type OutboundFacts,
  type Rejection,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { chooseEndpoint, type ResolutionMode } from './load-balance.ts';

export interface Upstream {
  readonly kind: 'upstream';
  readonly workload: Workload;
  readonly port: number;
  /** Absent only for a workload of another network that is reached through a gateway. */
  readonly ip?: Ip;
  /** The service that the workload was chosen from. */
  readonly service?: Service;
}

/** What a look-up of an upstream ends in. `none`: the service has no endpoint for the port. */
export type Found =
  | Upstream
  | Needs
  | Rejection
  | { readonly kind: 'none'; readonly service: Service }
  | { readonly kind: 'original'; readonly service: Service }
  | { readonly kind: 'unknown' };

export interface Resolver {
  readonly facts: OutboundFacts;
  readonly view: MeshView;
  readonly random: () => number;
  /** The reasons, when they are asked for. */
  readonly because: string[] | undefined;
}

const unknown: Found = { kind: 'unknown' };

export const describe = (workload: Workload): string =>
  `${workload.namespace}/${workload.name} (${workload.uid})`;

export const needs = (keys: readonly MeshKey[], hostnames: readonly string[] = []): Needs => ({
  kind: 'needs',
  keys,
  hostnames,
});

export const noRoute = (workload: Workload, why?: string): Rejection => ({
  kind: 'reject',
  code: 'NO_ROUTE',
  reason: `${errorRegistry.NO_ROUTE.text}: ${describe(workload)}${why === undefined ? '' : `: ${why}`}`,
});

/** The identities of a service that can be read as such; others say nothing about SPIFFE peers. */
export const serviceIdentities = (service: Service | undefined): Identity[] =>
  (service?.subjectAltNames ?? []).flatMap((name) => parseIdentity(name) ?? []);

/** Who may answer at an upstream: the service's identities and the workload's own. */
export function upstreamIdentities(upstream: Upstream): Identity[] {
  const own = knownIdentity(upstream.workload);
  const identities = serviceIdentities(upstream.service);
  if (own !== undefined && !identities.includes(own)) identities.push(own);
  return identities;
}

const accepts = (service: Service | undefined, ip: Ip): boolean => {
  if (service?.ipFamilies === 'IPV4_ONLY') return !isV6(ip);
  return service?.ipFamilies === 'IPV6_ONLY' ? isV6(ip) : true;
};

/**
 * Which of a workload's addresses to use: the one asked for if it is one of them; else, of those that the service's
 * families allow, the first of the family asked for; else the first; else what DNS says of its hostname.
 */
function withAddress(
  upstream: Upstream,
  target: Ip,
  { facts, random, because }: Resolver,
): Upstream | Needs | Rejection {
  const { workload, service } = upstream;
  if (workload.addresses.includes(target)) return { ...upstream, ip: target };
  const allowed = workload.addresses.filter((ip) => accepts(service, ip));
  const ip = allowed.find((one) => isV6(one) === isV6(target)) ?? allowed[0];
  if (ip !== undefined) return { ...upstream, ip };
  if (workload.network !== facts.source.network && workload.networkGateway !== undefined) return upstream;
  if (workload.hostname === '')
    return noRoute(
      workload,
      workload.addresses.length === 0 ? 'it has no address' : 'no address of an allowed family',
    );
  const answers = facts.resolved?.get(workload.hostname);
  if (answers === undefined) return needs([], [workload.hostname]);
  const alike = answers.filter((one) => isV6(one) === isV6(target));
  const pool = alike.length > 0 ? alike : answers;
  const answer = pool[Math.floor(random() * pool.length)];
  because?.push(`${workload.hostname} resolves to ${answers.join(', ')}`);
  return answer === undefined
    ? {
        kind: 'reject',
        code: 'NO_ROUTE',
        reason: `no ip addresses were resolved for workload: ${describe(workload)}: ${workload.hostname}`,
      }
    : { ...upstream, ip: answer };
}

function fromService(
  service: Service,
  port: number,
  mode: ResolutionMode,
  target: Ip,
  resolver: Resolver,
): Found {
  const { view, facts, random, because } = resolver;
  const chosen = chooseEndpoint({ source: facts.source, service, port, mode }, view, random);
  because?.push(
    chosen === undefined
      ? `service ${serviceKey(service)} has no endpoint for port ${port} among ${view.endpoints(serviceKey(service)).workloads.length}`
      : `service ${serviceKey(service)} gives ${describe(chosen.workload)}, port ${chosen.port}`,
  );
  if (chosen === undefined) return { kind: 'none', service };
  return withAddress({ kind: 'upstream', service, ...chosen }, target, resolver);
}

/** Looks up an address: a service before a workload. */
export function findUpstream(
  network: string,
  address: SocketAddress,
  mode: ResolutionMode,
  resolver: Resolver,
): Found {
  const { view, facts } = resolver;
  const service = view.serviceByAddress(network, address.ip, facts.source.namespace);
  if (service !== undefined) {
    if (service.loadBalancing.mode === 'PASSTHROUGH') return { kind: 'original', service };
    return fromService(service, address.port, mode, address.ip, resolver);
  }
  const workload = view.workloadByAddress(network, address.ip);
  if (workload === undefined) return unknown;
  return withAddress({ kind: 'upstream', workload, port: address.port }, address.ip, resolver);
}

/**
 * Looks up a waypoint or a gateway. One that is named by an address is dialled there; one that is named by a hostname
 * is dialled in the address family of `target`, what the client asked for.
 */
export function findGateway(
  gateway: GatewayAddress,
  mode: ResolutionMode,
  target: SocketAddress,
  resolver: Resolver,
): Found {
  const { destination, hboneMtlsPort: port } = gateway;
  if (destination.kind === 'address')
    return findUpstream(destination.network, { ip: destination.ip, port }, mode, resolver);
  const service = resolver.view.serviceByKey(`${destination.namespace}/${destination.hostname}`);
  if (service !== undefined) return fromService(service, port, mode, target.ip, resolver);
  const workload = resolver.view.workloadByHostname(destination);
  return workload === undefined
    ? unknown
    : withAddress({ kind: 'upstream', workload, port }, target.ip, resolver);
}
