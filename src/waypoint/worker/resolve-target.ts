// What a CONNECT request to the waypoint means: a service and port, or a workload and port. Only what is bound to this
// waypoint is served: it would otherwise lend its identity to whoever asks.
import { isV6, parseHostPort, parseIp, type Ip, type SocketAddress } from '#/kit/index.ts';
import {
  destinationKey,
  hostnameKey,
  nameKey,
  peerKey,
  serviceKey,
  virtualAddresses,
  type AppProtocol,
  type GatewayAddress,
  type MeshKey,
  type MeshView,
  type Service,
  type ServiceKey,
  type Workload,
} from '#/model/index.ts';

/** Who this waypoint is, as bindings name it. */
export interface WaypointSelf {
  readonly network: string;
  readonly namespace: string;
  /** Of the waypoint's own Service. */
  readonly hostname: string;
  /** The pod's own addresses. */
  readonly addresses: readonly Ip[];
}

export interface Target {
  readonly kind: 'target';
  /** Absent: the client asked for a workload. */
  readonly service?: Service;
  /** The workload that was asked for. */
  readonly workload?: Workload;
  /** The service's port, or the workload's. */
  readonly port: number;
  /** As the client addressed it; for a name, an address of the service. */
  readonly destination: SocketAddress;
  readonly protocol: AppProtocol;
}

export type ResolvedTarget =
  | Target
  | { readonly kind: 'needs'; readonly keys: readonly MeshKey[] }
  | { readonly kind: 'refuse'; readonly status: 400 | 404 | 503; readonly reason: string }
  /** There is such a target, and it is not bound to this waypoint: a refusal, unless that is about to change. */
  | { readonly kind: 'unbound'; readonly target: Target; readonly reason: string };

const refuse = (status: 400 | 404 | 503, reason: string): ResolvedTarget => ({
  kind: 'refuse',
  status,
  reason,
});

/** `peer`: whose workload must be known as well, for what is told of the traffic. */
export function resolveTarget(
  authority: string,
  peer: Ip,
  self: WaypointSelf,
  view: MeshView,
): ResolvedTarget {
  const parts = parseHostPort(authority);
  if (parts === undefined || parts.port === 0)
    return refuse(400, `no valid authority pseudo header: ${authority}`);
  const { port } = parts;
  const ip = parseIp(parts.host);
  // Bindings may name the waypoint by the address of its Service, which then has to be known.
  const first = [hostnameKey(self.hostname), peerKey(self.network, peer)].filter((key) => !view.knows(key));
  if (first.length > 0) return { kind: 'needs', keys: first };
  if (ip === undefined) {
    const hostname = parts.host.toLowerCase();
    const missing = [hostnameKey(hostname), nameKey(hostname)].filter((key) => !view.knows(key));
    if (missing.length > 0) return { kind: 'needs', keys: missing };
    const service = view.serviceByHostname(hostname, self.namespace);
    if (service === undefined) return refuse(404, `no service has the hostname ${hostname}`);
    return serviceTarget(
      service,
      { ip: virtualAddresses(service)[0]?.ip ?? ('0.0.0.0' as Ip), port },
      self,
      view,
    );
  }
  const key = destinationKey(self.network, ip);
  if (!view.knows(key)) return { kind: 'needs', keys: [key] };
  const workload = view.workloadByAddress(self.network, ip);
  if (workload !== undefined) return workloadTarget(workload, { ip, port }, self, view);
  const service = view.serviceByAddress(self.network, ip);
  if (service === undefined) return refuse(404, `no service and no workload has the address ${ip}`);
  return serviceTarget(service, { ip, port }, self, view);
}

function isSelf(gateway: GatewayAddress | undefined, self: WaypointSelf, view: MeshView): boolean {
  if (gateway === undefined) return false;
  const { destination } = gateway;
  if (destination.kind === 'hostname')
    return destination.namespace === self.namespace && destination.hostname === self.hostname;
  if (destination.network !== self.network) return false;
  if (self.addresses.includes(destination.ip)) return true;
  const own = view.serviceByKey(`${self.namespace}/${self.hostname}`);
  return own !== undefined && virtualAddresses(own).some(({ ip }) => ip === destination.ip);
}

function serviceTarget(
  service: Service,
  destination: SocketAddress,
  self: WaypointSelf,
  view: MeshView,
): ResolvedTarget {
  const bound =
    isSelf(service.waypoint, self, view) ||
    service.weightedWaypoints.some(({ destination: one }) => isSelf(one, self, view));
  const declared = service.ports.find(({ servicePort }) => servicePort === destination.port);
  if (declared === undefined)
    return refuse(404, `service ${serviceKey(service)} has no port ${destination.port}`);
  const target: Target = {
    kind: 'target',
    service,
    port: destination.port,
    destination,
    protocol: declared.appProtocol,
  };
  if (bound) return target;
  return { kind: 'unbound', target, reason: `service ${serviceKey(service)} is not bound to this waypoint` };
}

function workloadTarget(
  workload: Workload,
  destination: SocketAddress,
  self: WaypointSelf,
  view: MeshView,
): ResolvedTarget {
  const target: Target = {
    kind: 'target',
    workload,
    port: destination.port,
    destination,
    protocol: workloadProtocol(workload, destination.port, view),
  };
  if (isSelf(workload.waypoint, self, view)) return target;
  const name = `${workload.namespace}/${workload.name}`;
  return { kind: 'unbound', target, reason: `workload ${name} is not bound to this waypoint` };
}

/** What the services that lead to the port say of it. */
function workloadProtocol(workload: Workload, port: number, view: MeshView): AppProtocol {
  for (const service of view.servicesOf(workload)) {
    const mapping = workload.services[serviceKey(service)]?.find(({ targetPort }) => targetPort === port);
    const declared = service.ports.find(({ servicePort }) => servicePort === mapping?.servicePort);
    if (declared !== undefined && declared.appProtocol !== 'UNKNOWN') return declared.appProtocol;
  }
  return 'UNKNOWN';
}

/**
 * What has to be fetched before the endpoints of a service are known: the service itself, then all behind its address,
 * or behind its name where it has none.
 */
export function endpointKeys(key: ServiceKey, network: string, view: MeshView): MeshKey[] {
  const hostname = key.slice(key.indexOf('/') + 1);
  const first = hostnameKey(hostname);
  if (!view.knows(first)) return [first];
  const service = view.serviceByKey(key);
  if (service === undefined) return [];
  const addresses = virtualAddresses(service).filter((one) => one.network === network);
  const address = addresses.find(({ ip }) => !isV6(ip)) ?? addresses[0];
  const second = address === undefined ? nameKey(hostname) : destinationKey(network, address.ip);
  return view.knows(second) ? [] : [second];
}
