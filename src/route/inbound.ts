// What a CONNECT request, or a captured plaintext connection, may reach inside the pod it has come to.
import {
  formatSocketAddress,
  isV6,
  parseHostPort,
  parseIp,
  type Ip,
  type SocketAddress,
} from '#/kit/index.ts';
import { errorRegistry, type ErrorCode } from '#/errors/index.ts';
import {
  destinationKey,
  hostnameKey,
  peerKey,
  serviceKey,
  type GatewayAddress,
  type InboundFacts,
  type InboundPlan,
  type InboundRejection,
  type MeshKey,
  type MeshView,
  type PlaintextFacts,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { behindGateway } from './gateway.ts';
import { endpointPort, serviceTargetPort } from './load-balance.ts';
import { defaultRouteSettings, type RouteSettings } from './settings.ts';
import { needs } from './upstream.ts';

const refuse = (status: 400 | 503, code: ErrorCode, reason: string): InboundRejection => ({
  kind: 'reject',
  status,
  code,
  reason,
});

const selfCall = refuse(503, 'SELF_CALL', errorRegistry.SELF_CALL.text);

type Authority =
  | { readonly kind: 'address'; readonly ip: Ip; readonly port: number }
  | { readonly kind: 'hostname'; readonly hostname: string; readonly port: number };

function parseAuthority(text: string): Authority | undefined {
  const parts = parseHostPort(text);
  if (parts === undefined) return undefined;
  const ip = parseIp(parts.host);
  if (ip !== undefined) return { kind: 'address', ip, port: parts.port };
  return { kind: 'hostname', hostname: parts.host.toLowerCase(), port: parts.port };
}

/** Decides where a CONNECT request goes. Policy is asked afterwards, with `plan.destination`. */
export function planInbound(
  facts: InboundFacts,
  view: MeshView,
  settings: RouteSettings = defaultRouteSettings,
): InboundPlan {
  const because = settings.trace ? [] : undefined;
  const plan = decide(facts, view, settings, because);
  return because === undefined ? plan : { ...plan, because };
}

function decide(
  facts: InboundFacts,
  view: MeshView,
  settings: RouteSettings,
  because: string[] | undefined,
): InboundPlan {
  const { local, connection, network } = facts;
  if (facts.method !== undefined && facts.method !== 'CONNECT')
    return refuse(400, 'BAD_CONNECT', `expected method CONNECT, got ${facts.method}`);
  const authority = parseAuthority(facts.authority);
  if (authority === undefined)
    return refuse(400, 'BAD_CONNECT', `no valid authority pseudo header: ${facts.authority}`);

  // Through a gateway the peer's address says nothing: it may be anybody's on this network.
  const throughGateway =
    facts.forwardedNetwork !== undefined && facts.forwardedNetwork.toLowerCase() !== network.toLowerCase();
  const foreign =
    authority.kind === 'address' && authority.ip !== connection.ip && local.applicationTunnel === undefined
      ? authority.ip
      : undefined;
  const keys: MeshKey[] = [];
  if (!throughGateway) keys.push(peerKey(network, facts.peer.ip));
  if (foreign !== undefined) keys.push(destinationKey(network, foreign));
  if (authority.kind === 'hostname') keys.push(hostnameKey(authority.hostname));
  const missing = keys.filter((key) => !view.knows(key));
  if (missing.length > 0) return needs(missing);

  if (foreign !== undefined) {
    if (!isWaypointOf(foreign, facts, view))
      return refuse(400, 'IP_MISMATCH', `${errorRegistry.IP_MISMATCH.text}: ${connection.ip} != ${foreign}`);
    because?.push(`${foreign} has this pod as its waypoint`);
  }

  let { port } = authority;
  let services = view.servicesOf(local);
  if (authority.kind === 'hostname') {
    const { hostname } = authority;
    const service = view.serviceByHostname(hostname, local.namespace);
    if (service === undefined)
      return refuse(503, 'NO_ROUTE', `no service or workload for hostname: ${hostname}`);
    const target = endpointPort(local, serviceKey(service), port) ?? serviceTargetPort(service, port) ?? 0;
    if (target === 0)
      return refuse(503, 'NO_ROUTE', `requested service ${hostname}:${port} found, but cannot resolve port`);
    because?.push(`service ${serviceKey(service)} maps port ${port} to ${target}`);
    services = [service];
    port = target;
  }
  if (settings.illegalPorts.has(port)) return selfCall;

  const tunnel = local.applicationTunnel;
  let proxyProtocol: { readonly destination: SocketAddress } | undefined;
  if (tunnel !== undefined) {
    if (tunnel.protocol === 'PROXY') {
      const destination = tunnelTarget(authority, services[0], network);
      if (destination === undefined)
        return refuse(503, 'NO_ROUTE', `requested service ${facts.authority} found, but has no IP addresses`);
      proxyProtocol = { destination };
    }
    if (tunnel.port > 0) port = tunnel.port;
    because?.push(`the application takes a ${tunnel.protocol} tunnel on port ${port}`);
  }

  const destination = { ip: connection.ip, port };
  const service = likelyService(services, destination.port, local, facts.forwardedHost);
  const source = throughGateway ? undefined : view.workloadByAddress(network, facts.peer.ip);
  const onLoopback = settings.loopbackTunnel && proxyProtocol !== undefined;
  const loopback = (isV6(connection.ip) ? '::1' : '127.0.0.1') as Ip;
  const sourceAddress = onLoopback ? loopback : clientAddress(facts.peer.ip, destination.ip, settings);
  because?.push(`delivered to ${formatSocketAddress(destination.ip, destination.port)}`);
  return {
    kind: 'deliver',
    destination,
    target: onLoopback ? { ip: loopback, port } : destination,
    ...(sourceAddress !== undefined && { sourceAddress }),
    ...(proxyProtocol && { proxyProtocol }),
    ...(service && { service }),
    ...(source && { source }),
    throughGateway,
  };
}

/** Decides where a captured plaintext connection goes. Policy is asked afterwards, without an identity. */
export function planPlaintext(
  facts: PlaintextFacts,
  view: MeshView,
  settings: RouteSettings = defaultRouteSettings,
): InboundPlan {
  const { local, peer, originalDestination: destination, network } = facts;
  const explained = (plan: InboundPlan, reason: string): InboundPlan =>
    settings.trace ? { ...plan, because: [reason] } : plan;
  if (settings.illegalPorts.has(destination.port))
    return explained(selfCall, `port ${destination.port} is the proxy's own`);
  const key = peerKey(network, peer.ip);
  if (!view.knows(key)) return needs([key]);
  const service = likelyService(view.servicesOf(local), destination.port, local, undefined);
  const source = view.workloadByAddress(network, peer.ip);
  const sourceAddress = clientAddress(peer.ip, destination.ip, settings);
  return explained(
    {
      kind: 'deliver',
      destination,
      target: destination,
      ...(sourceAddress !== undefined && { sourceAddress }),
      ...(service && { service }),
      ...(source && { source }),
      throughGateway: false,
    },
    'plain TCP, to the address as it is',
  );
}

/** Not for a pod that calls itself, and not across address families: there is nothing to bind. */
function clientAddress(peer: Ip, target: Ip, settings: RouteSettings): Ip | undefined {
  return settings.preserveSource && peer !== target && isV6(peer) === isV6(target) ? peer : undefined;
}

/** Whether what lives at an address names, as its waypoint, the pod that the request has come to. */
function isWaypointOf(ip: Ip, { local, connection, network }: InboundFacts, view: MeshView): boolean {
  const workload = view.workloadByAddress(network, ip);
  const service = workload === undefined ? view.serviceByAddress(network, ip) : undefined;
  const waypoints = (service?.weightedWaypoints ?? []).map(({ destination }) => destination);
  const single = (workload ?? service)?.waypoint;
  if (single !== undefined) waypoints.push(single);
  return waypoints.some((waypoint) => resolvesTo(waypoint, local, connection, view));
}

function resolvesTo(
  gateway: GatewayAddress,
  local: Workload,
  connection: SocketAddress,
  view: MeshView,
): boolean {
  const { workload, service } = behindGateway(gateway, view);
  if (service !== undefined) return view.endpoints(serviceKey(service)).has(local.uid);
  return workload?.addresses.includes(connection.ip) === true;
}

/** The address that a PROXY header names: a hostname stands for an address of its service, in our network, IPv4 before IPv6. */
function tunnelTarget(
  authority: Authority,
  service: Service | undefined,
  network: string,
): SocketAddress | undefined {
  if (authority.kind === 'address') return { ip: authority.ip, port: authority.port };
  const rank = (address: { network: string; ip: Ip }): number =>
    address.network !== network ? 0 : isV6(address.ip) ? 1 : 2;
  let best: { network: string; ip: Ip } | undefined;
  for (const address of service?.addresses ?? [])
    if (best === undefined || rank(address) > rank(best)) best = address;
  return best && { ip: best.ip, port: authority.port };
}

/** The service that the client named, if the pod belongs to it; else the first that leads to the port. */
function likelyService(
  services: readonly Service[],
  port: number,
  local: Workload,
  named: string | undefined,
): Service | undefined {
  if (named !== undefined) {
    const found = services.find(({ hostname }) => hostname === named);
    if (found !== undefined) return found;
  }
  return services.find((service) =>
    service.ports.some(
      ({ servicePort, targetPort }) =>
        targetPort === port || endpointPort(local, serviceKey(service), servicePort) === port,
    ),
  );
}
