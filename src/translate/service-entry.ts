// ServiceEntries: one Service per host, and a Workload per endpoint that is written inside.
import { cidr, formatIp, parseCidr, parseIp, type Ip } from '#/kit/index.ts';
import type { CidrAddress, NetworkAddress, Service, Workload } from '#/model/index.ts';
import { appProtocolNamed } from './app-protocol.ts';
import { distribute, passthrough } from './load-balancing.ts';
import { clusterNetwork, type Lookup } from './lookup.ts';
import { annotation, label } from './names.ts';
import {
  annotationsOf,
  labelsOf,
  objectFacts,
  specOf,
  type ObjectFacts,
  type SourceObject,
} from './object.ts';
import { integer, labelMap, list, record, text, texts, type Labels } from './read.ts';
import { isCanonical, ownedHosts, visibilityOf } from './service-entry-hosts.ts';
import { serviceEntryConditions } from './service-entry-conditions.ts';
import { emptyTranslation, validCondition, type Problem, type Translation } from './translation.ts';
import {
  bindService,
  bindWorkload,
  ingressUsesWaypoint,
  instanceOfWaypoint,
  readWaypointWish,
  waypointWishOf,
  weightedWaypoints,
  type WaypointWish,
} from './waypoint.ts';
import { isGlobal } from './service-scope.ts';
import { endpointEntryPorts, endpointFields, readEndpointSpec, type EndpointSpec } from './workload-entry.ts';
import {
  canonical,
  implicitWaypointPolicies,
  readTunnel,
  sortedRecord,
  tunnelOf,
  workloadPolicies,
  type TunnelFacts,
} from './workload-parts.ts';

export interface EntryPort {
  readonly number: number;
  readonly name: string;
  readonly protocol: string;
  /** The port itself unless the entry gives another. */
  readonly targetPort: number;
}

export interface ServiceEntryFacts extends ObjectFacts {
  readonly labels: Labels;
  readonly hosts: readonly string[];
  readonly addresses: readonly string[];
  readonly ports: readonly EntryPort[];
  readonly resolution: string;
  readonly endpoints: readonly EndpointSpec[];
  /** Undefined: it selects nothing. */
  readonly selector: Labels | undefined;
  readonly subjectAltNames: readonly string[];
  readonly trafficDistributionAnnotation: string | undefined;
  /** The label that turns automatic addresses off. */
  readonly autoAllocate: boolean;
  /** `status.addresses`: what was given automatically. */
  readonly allocated: readonly { readonly host: string; readonly value: string }[];
  readonly racesConnects: boolean;
  readonly tunnel: TunnelFacts;
  readonly waypoint: WaypointWish;
}

export function readServiceEntry(object: SourceObject): ServiceEntryFacts {
  const spec = specOf(object);
  const labels = labelsOf(object);
  const annotations = annotationsOf(object);
  const selector = record(spec['workloadSelector'])['labels'];
  return {
    ...objectFacts(object),
    labels,
    hosts: texts(spec['hosts']),
    addresses: texts(spec['addresses']),
    ports: list(spec['ports']).map((item) => {
      const port = record(item);
      const number = integer(port['number']);
      return {
        number,
        name: text(port['name']),
        protocol: text(port['protocol']),
        targetPort: integer(port['targetPort']) || number,
      };
    }),
    resolution: text(spec['resolution']) || 'NONE',
    endpoints: list(spec['endpoints']).map((item) => readEndpointSpec(record(item))),
    selector: spec['workloadSelector'] === undefined ? undefined : labelMap(selector),
    subjectAltNames: texts(spec['subjectAltNames']),
    trafficDistributionAnnotation: annotations[annotation.trafficDistribution],
    autoAllocate: (labels[label.autoAllocateIp] ?? '').toLowerCase() !== 'false',
    allocated: list(record(object.status)['addresses'])
      .map(record)
      .map((address) => ({ host: text(address['host']), value: text(address['value']) })),
    racesConnects: annotations[annotation.connectStrategy] === 'RACE_FIRST_TCP_CONNECT',
    tunnel: readTunnel(labels, annotations),
    waypoint: waypointWishOf(object),
  };
}

export const isWildcard = (host: string): boolean => host.startsWith('*');

/** Whether the entry, and which of its hosts, get addresses of their own. */
export function autoAllocatedHosts(entry: ServiceEntryFacts): readonly string[] {
  if (entry.resolution === 'NONE' || entry.addresses.length > 0 || !entry.autoAllocate) return [];
  return entry.hosts.filter((host) => !isWildcard(host) || entry.resolution === 'DYNAMIC_DNS');
}

interface Vips {
  readonly addresses: readonly NetworkAddress[];
  readonly cidrAddresses: readonly CidrAddress[];
}

function parseAddresses(addresses: readonly string[], network: string, problems: Problem[]): Vips {
  const single: NetworkAddress[] = [];
  const ranges: CidrAddress[] = [];
  for (const address of addresses) {
    const range = parseCidr(address);
    if (range === undefined)
      problems.push({
        field: 'spec.addresses',
        reason: `"${address}" is not an IP address or range; left out`,
      });
    else if (range.length === range.base.length * 8) single.push({ network, ip: formatIp(range.base) });
    else ranges.push({ network, base: formatIp(cidr(range.base, range.length).base), length: range.length });
  }
  return { addresses: single, cidrAddresses: ranges };
}

function allocatedVips(entry: ServiceEntryFacts, host: string, network: string): Vips {
  const ips = entry.allocated
    .filter((address) => address.host === host)
    .map((address) => parseIp(address.value))
    .filter((ip): ip is Ip => ip !== undefined);
  return { addresses: ips.map((ip) => ({ network, ip })), cidrAddresses: [] };
}

function services(
  entry: ServiceEntryFacts,
  hosts: readonly string[],
  lookup: Lookup,
  problems: Problem[],
): { readonly records: readonly Service[]; readonly conditions: Translation['conditions'] } {
  const { mesh } = lookup;
  const network = clusterNetwork(lookup);
  const visibility = visibilityOf(lookup, entry.namespace) === 'NAMESPACE' ? 'NAMESPACE' : 'PUBLIC';
  const binding = bindService(lookup, entry, visibility === 'NAMESPACE');
  const canary =
    binding.waypoint === undefined ? { weighted: [] } : weightedWaypoints(lookup, entry, binding.waypoint);
  const ingress =
    binding.waypoint === undefined || !mesh.ingressWaypoints ? undefined : ingressUsesWaypoint(lookup, entry);
  const given = parseAddresses(entry.addresses, network, problems);
  const automatic = new Set(mesh.autoAllocateIps ? autoAllocatedHosts(entry) : []);
  const records = hosts.map((host): Service => ({
    kind: 'service',
    name: entry.name,
    namespace: entry.namespace,
    hostname: host,
    ...(automatic.has(host) ? allocatedVips(entry, host, network) : given),
    ports: entry.ports.map((port) => ({
      servicePort: port.number,
      targetPort: port.targetPort,
      appProtocol: appProtocolNamed(port.protocol),
    })),
    subjectAltNames: entry.subjectAltNames,
    ipFamilies: 'AUTOMATIC',
    loadBalancing:
      entry.resolution === 'NONE'
        ? passthrough
        : distribute({
            annotation: entry.trafficDistributionAnnotation,
            namespaceAnnotation: lookup.namespace(entry.namespace)?.trafficDistribution,
          }),
    canonical: isCanonical(entry, host, lookup),
    visibility,
    ingressUseWaypoint: ingress === true,
    weightedWaypoints: canary.weighted,
    ...(binding.address === undefined ? {} : { waypoint: binding.address }),
  }));
  return {
    records,
    conditions: serviceEntryConditions(
      entry,
      binding,
      { ingress, canaryProblem: canary.problem },
      visibility,
      mesh,
    ),
  };
}

/** Resolutions by DNS need no endpoints: the host is one. */
function implicitEndpoints(entry: ServiceEntryFacts): boolean {
  return (
    entry.endpoints.length === 0 &&
    entry.selector === undefined &&
    ['DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'].includes(entry.resolution)
  );
}

function workload(
  entry: ServiceEntryFacts,
  endpoint: EndpointSpec,
  hosts: readonly string[],
  implicit: boolean,
  lookup: Lookup,
): Workload {
  const { mesh } = lookup;
  const self = { namespace: entry.namespace, waypoint: readWaypointWish(endpoint.labels) };
  const instance = implicit ? undefined : instanceOfWaypoint(lookup, self);
  const binding = implicit || instance !== undefined ? {} : bindWorkload(lookup, self);
  const name = canonical(entry.labels, entry.name);
  const waypoints = mesh.autoAllowWaypoints ? [binding, bindService(lookup, entry)] : [];
  return {
    kind: 'workload',
    uid: `${mesh.clusterId}/networking.istio.io/ServiceEntry/${entry.namespace}/${entry.name}/${endpoint.address}`,
    name: entry.name,
    namespace: entry.namespace,
    ...endpointFields(endpoint, lookup),
    ...tunnelOf(entry.tunnel),
    networkMode: 'Standard',
    trustDomain: mesh.trustDomain,
    node: '',
    canonicalName: name.name,
    canonicalRevision: name.revision,
    workloadType: 'pod',
    workloadName: entry.name,
    authorizationPolicies: [
      ...workloadPolicies(lookup, entry.namespace, entry.labels),
      ...implicitWaypointPolicies(lookup, waypoints),
    ],
    status: 'Healthy',
    clusterId: mesh.clusterId,
    services: sortedRecord(
      hosts.map((host) => [`${entry.namespace}/${host}`, endpointEntryPorts(entry, endpoint.ports)]),
    ),
    ...(binding.address === undefined ? {} : { waypoint: binding.address }),
    ...(instance?.binding === undefined ? {} : { applicationTunnel: instance.binding }),
  };
}

/** Records for the hosts that the entry owns; a host that somebody else claims with more right is left to them. */
export function translateServiceEntry(entry: ServiceEntryFacts, lookup: Lookup): Translation {
  if (visibilityOf(lookup, entry.namespace) === 'NONE') return emptyTranslation;
  const problems: Problem[] = [];
  const hosts = ownedHosts(entry, lookup);
  for (const host of entry.hosts) {
    if (!hosts.includes(host))
      problems.push({
        field: 'spec.hosts',
        reason: `${host} belongs to another Service or an older ServiceEntry`,
      });
  }
  const { records, conditions } = services(entry, hosts, lookup, problems);
  const workloads: Workload[] = [];
  if (hosts.length > 0) {
    if (implicitEndpoints(entry))
      for (const host of hosts)
        workloads.push(workload(entry, readEndpointSpec({ address: host }), [host], true, lookup));
    const seen = new Set<string>();
    entry.endpoints.forEach((endpoint, i) => {
      if (seen.has(endpoint.address)) return;
      seen.add(endpoint.address);
      if (endpoint.address === '' && endpoint.network === '')
        problems.push({ field: `spec.endpoints[${i}].address`, reason: 'missing; the endpoint is left out' });
      else workloads.push(workload(entry, endpoint, hosts, false, lookup));
    });
  }
  return {
    records: [...records, ...workloads],
    ...(isGlobal(lookup, entry) ? { global: true } : {}),
    conditions: [...conditions, ...validCondition(problems)],
    problems,
  };
}
