// Which waypoints need to be told of what concerns a service: those that it is bound to. A waypoint that is not ready
// yet is told as well, so that it does not take traffic before it has its policies.
import type { ServiceKey } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { managedGateways } from '../names.ts';
import { objectKey } from '../object.ts';
import { ownedHosts, visibilityOf } from '../service-entry-hosts.ts';
import type { ServiceEntryFacts } from '../service-entry.ts';
import { serviceHostname, type ServiceFacts } from '../service.ts';
import { admits, findWaypoint, wanted, weightedWaypoints, type Bound } from '../waypoint.ts';

/** One host of a Service or ServiceEntry, as routes and policies look at it. */
export interface ServiceView {
  readonly key: ServiceKey;
  readonly namespace: string;
  readonly hostname: string;
  readonly ports: readonly { readonly port: number; readonly name: string }[];
  /** `ns/name` of Gateways. */
  readonly waypoints: readonly string[];
  readonly service?: ServiceFacts;
  readonly entry?: ServiceEntryFacts;
}

function waypointsOf(lookup: Lookup, object: Bound, ownNamespaceOnly: boolean): readonly string[] {
  if (object.waypoint.managed !== undefined && managedGateways.includes(object.waypoint.managed)) return [];
  const target = wanted(lookup, object);
  if (target === undefined) return [];
  const waypoint = findWaypoint(lookup, target.namespace, target.name);
  if (waypoint === undefined || !['service', 'all'].includes(waypoint.trafficType)) return [];
  if (!admits(lookup, waypoint, object.namespace)) return [];
  if (ownNamespaceOnly && waypoint.namespace !== object.namespace) return [];
  const { canary } = weightedWaypoints(lookup, object, waypoint);
  return canary === undefined ? [objectKey(waypoint)] : [objectKey(waypoint), objectKey(canary)];
}

export function viewService(lookup: Lookup, service: ServiceFacts): ServiceView | undefined {
  if (service.external) return undefined;
  const hostname = serviceHostname(service, lookup.mesh.clusterDomain);
  return {
    key: `${service.namespace}/${hostname}`,
    namespace: service.namespace,
    hostname,
    ports: service.ports,
    waypoints: waypointsOf(lookup, service, false),
    service,
  };
}

/** One for each host that the entry owns. */
export function viewServiceEntry(lookup: Lookup, entry: ServiceEntryFacts): readonly ServiceView[] {
  const hosts = ownedHosts(entry, lookup);
  if (hosts.length === 0) return [];
  const waypoints = waypointsOf(lookup, entry, visibilityOf(lookup, entry.namespace) === 'NAMESPACE');
  const ports = entry.ports.map(({ number, name }) => ({ port: number, name }));
  return hosts.map((hostname) => ({
    key: `${entry.namespace}/${hostname}`,
    namespace: entry.namespace,
    hostname,
    ports,
    waypoints,
    entry,
  }));
}

/** All that have the host name: a Service, and ServiceEntries of several namespaces. */
export function servicesOfHost(lookup: Lookup, hostname: string): readonly ServiceView[] {
  const services = lookup
    .servicesByHostname(hostname)
    .map((service) => viewService(lookup, service))
    .filter((view) => view !== undefined);
  const entries = lookup
    .serviceEntriesByHostname(hostname)
    .flatMap((entry) => viewServiceEntry(lookup, entry))
    .filter((view) => view.hostname === hostname);
  return [...services, ...entries].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** All of the mesh: for wildcards. */
export function everyService(lookup: Lookup): readonly ServiceView[] {
  return [
    ...lookup
      .servicesIn()
      .map((service) => viewService(lookup, service))
      .filter((view) => view !== undefined),
    ...lookup.serviceEntriesIn().flatMap((entry) => viewServiceEntry(lookup, entry)),
  ];
}

/** The one that a name means to an object of `namespace`: its own namespace's, a Service, else the first. */
export function serviceOfHost(lookup: Lookup, hostname: string, namespace: string): ServiceView | undefined {
  const found = servicesOfHost(lookup, hostname);
  return (
    found.find((view) => view.namespace === namespace) ??
    found.find((view) => view.service !== undefined) ??
    found.find((view) => visibilityOf(lookup, view.namespace) === 'PUBLIC')
  );
}

/** Every waypoint of the mesh, ready or not. */
export function allWaypoints(lookup: Lookup): readonly string[] {
  return lookup
    .gateways()
    .filter(({ namespace, name }) => findWaypoint(lookup, namespace, name) !== undefined)
    .map(objectKey);
}

/** Waypoints that the services or workloads of a namespace may go through, and those that are in it. */
export function waypointsOfNamespace(lookup: Lookup, namespace: string): readonly string[] {
  const found = new Set<string>();
  for (const service of lookup.servicesIn(namespace))
    for (const waypoint of viewService(lookup, service)?.waypoints ?? []) found.add(waypoint);
  for (const entry of lookup.serviceEntriesIn(namespace))
    for (const view of viewServiceEntry(lookup, entry))
      for (const waypoint of view.waypoints) found.add(waypoint);
  for (const gateway of lookup.gateways()) {
    if (gateway.namespace !== namespace) continue;
    if (findWaypoint(lookup, namespace, gateway.name) !== undefined) found.add(objectKey(gateway));
  }
  return [...found];
}

export const namespaceOf = (key: string): string => key.slice(0, key.indexOf('/'));

/** Routes and rules of a service count in its own namespace and in its waypoint's: the waypoints for which they do. */
export function waypointsHeeding(view: ServiceView, namespace: string): readonly string[] {
  if (view.namespace === namespace) return view.waypoints;
  return view.waypoints.filter((waypoint) => namespaceOf(waypoint) === namespace);
}
