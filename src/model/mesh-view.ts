// The look-ups that a decision needs, as an interface, so that `route` knows no store.
// The full store and the subset that a worker mirrors both implement it.
import type { Ip } from '#/kit/index.ts';
import type { Service } from './service.ts';
import type { NamespacedHostname, ServiceKey, Workload } from './workload.ts';

/**
 * The name of a question that a view may have to fetch the answer of first.
 * - `ip:<network>/<ip>`: all that is needed to plan a connection to the address
 * - `peer:<network>/<ip>`: the workloads at the address, nothing behind them
 * - `host:<hostname>`: the services of that name in any namespace, without their endpoints
 * - `name:<hostname>`: all that is needed to tell the addresses of the services of that name: with the endpoints of
 *   those that have no address of their own
 */
export type MeshKey = string & { readonly meshKey: unique symbol };

export const destinationKey = (network: string, ip: Ip): MeshKey => `ip:${network}/${ip}` as MeshKey;
export const peerKey = (network: string, ip: Ip): MeshKey => `peer:${network}/${ip}` as MeshKey;
export const hostnameKey = (hostname: string): MeshKey => `host:${hostname}` as MeshKey;
export const nameKey = (hostname: string): MeshKey => `name:${hostname}` as MeshKey;

export type ParsedMeshKey =
  | { readonly kind: 'ip' | 'peer'; readonly network: string; readonly ip: Ip }
  | { readonly kind: 'host' | 'name'; readonly hostname: string };

/** The parts of a key; undefined for text that is none. The network may hold slashes, the address never does. */
export function parseMeshKey(text: string): ParsedMeshKey | undefined {
  const colon = text.indexOf(':');
  const kind = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  if (kind === 'host' || kind === 'name') return rest === '' ? undefined : { kind, hostname: rest };
  if (kind !== 'ip' && kind !== 'peer') return undefined;
  const slash = rest.lastIndexOf('/');
  if (slash < 0 || slash === rest.length - 1) return undefined;
  return { kind, network: rest.slice(0, slash), ip: rest.slice(slash + 1) as Ip };
}

/** The endpoints of a service that may take traffic; those refused for their health are not among them. */
export interface EndpointSet {
  /** In no order. The ports of one are `workload.services[key]`. Not to be kept across changes. */
  readonly workloads: readonly Workload[];
  /** True if every capacity is 1, so that a random index is a fair choice. */
  readonly evenlyWeighted: boolean;
  has(uid: string): boolean;
}

/** One state of the mesh. Answers are stable until the next change is applied, between turns of the event loop. */
export interface MeshView {
  /** False if the answers to look-ups under this key have to be fetched first. */
  knows(key: MeshKey): boolean;
  /** Host-network workloads have no address of their own and are not found. Of several, the best one. */
  workloadByAddress(network: string, ip: Ip): Workload | undefined;
  workloadByUid(uid: string): Workload | undefined;
  /** A workload known by a DNS name (not by the name of a service). */
  workloadByHostname(name: NamespacedHostname): Workload | undefined;
  /**
   * The best service at a virtual address: exact addresses before ranges; visible to the client's namespace,
   * in that namespace, canonical, in that order. Without a namespace all are visible.
   */
  serviceByAddress(network: string, ip: Ip, clientNamespace?: string): Service | undefined;
  serviceByKey(key: ServiceKey): Service | undefined;
  /** The best service of that hostname, by the same order. */
  serviceByHostname(hostname: string, clientNamespace?: string): Service | undefined;
  /** The services that the workload is listed under and that are known. */
  servicesOf(workload: Workload): readonly Service[];
  endpoints(service: ServiceKey): EndpointSet;
}

/** The look-ups behind the addresses of a name. */
export interface NameView extends Pick<MeshView, 'knows' | 'endpoints'> {
  /** Whether any service has exactly this hostname. Always known. */
  hasHostname(hostname: string): boolean;
  /** All services of that hostname, by key, whoever they are visible to. Their keys are `name:`. */
  servicesByHostname(hostname: string): readonly Service[];
}

export const noEndpoints: EndpointSet = { workloads: [], evenlyWeighted: true, has: () => false };
