// WorkloadEntries (machines that are not pods), and the endpoints inside a ServiceEntry, which have the same shape.
import { parseIp } from '#/kit/index.ts';
import type { PortMapping, Workload } from '#/model/index.ts';
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
import { integer, labelMap, numberMap, text, type Json, type Labels } from './read.ts';
import { ownedHosts } from './service-entry-hosts.ts';
import type { ServiceEntryFacts } from './service-entry.ts';
import { emptyTranslation, validCondition, type Translation } from './translation.ts';
import type { ServiceFacts } from './service.ts';
import {
  bindService,
  bindWorkload,
  instanceOfWaypoint,
  readWaypointWish,
  type WaypointWish,
} from './waypoint.ts';
import { waypointBound } from './waypoint-conditions.ts';
import {
  canonical,
  implicitWaypointPolicies,
  networkGateway,
  parseLocality,
  readTunnel,
  serviceKeyOf,
  sortedRecord,
  tunnelOf,
  workloadPolicies,
  type TunnelFacts,
} from './workload-parts.ts';

/** `networking.istio.io/v1` WorkloadEntry's spec. */
export interface EndpointSpec {
  readonly address: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly labels: Labels;
  readonly network: string;
  readonly locality: string;
  readonly weight: number;
  readonly serviceAccount: string;
}

export interface WorkloadEntryFacts extends ObjectFacts, EndpointSpec {
  readonly workloadName: string;
  readonly tunnel: TunnelFacts;
  readonly waypoint: WaypointWish;
}

export function readEndpointSpec(spec: Json): EndpointSpec {
  return {
    address: text(spec['address']),
    ports: numberMap(spec['ports']),
    labels: labelMap(spec['labels']),
    network: text(spec['network']),
    locality: text(spec['locality']),
    weight: integer(spec['weight']),
    serviceAccount: text(spec['serviceAccount']) || 'default',
  };
}

export function readWorkloadEntry(object: SourceObject): WorkloadEntryFacts {
  const spec = readEndpointSpec(specOf(object));
  // Labels may stand in both places; those of the object itself win.
  const labels = { ...spec.labels, ...labelsOf(object) };
  const annotations = annotationsOf(object);
  const facts = objectFacts(object);
  return {
    ...facts,
    ...spec,
    labels,
    workloadName: annotations[annotation.autoRegistrationGroup] ?? labels[label.workloadName] ?? facts.name,
    tunnel: readTunnel(labels, annotations),
    waypoint: readWaypointWish(labels),
  };
}

/** Ports of a Kubernetes Service: a named target must be in the entry's ports; else a port of the same name wins. */
export function endpointServicePorts(
  service: ServiceFacts,
  ports: EndpointSpec['ports'],
): readonly PortMapping[] {
  const mapped: PortMapping[] = [];
  for (const port of service.ports) {
    const targetPort =
      port.targetName === '' ? (ports[port.name] ?? port.targetPort) : ports[port.targetName];
    if (targetPort !== undefined) mapped.push({ servicePort: port.port, targetPort });
  }
  return mapped;
}

/** Ports of a ServiceEntry: a port of the same name wins, else the target, which is the port unless it is given. */
export function endpointEntryPorts(
  entry: ServiceEntryFacts,
  ports: EndpointSpec['ports'],
): readonly PortMapping[] {
  return entry.ports.map((port) => ({
    servicePort: port.number,
    targetPort: ports[port.name] ?? port.targetPort,
  }));
}

/** The fields that follow from the endpoint alone. An address that is no IP is a host name, resolved by the proxy. */
export function endpointFields(
  spec: EndpointSpec,
  lookup: Lookup,
): Pick<
  Workload,
  'addresses' | 'hostname' | 'network' | 'locality' | 'capacity' | 'serviceAccount' | 'networkGateway'
> {
  const ip = parseIp(spec.address);
  // Asked in any case: whether another network is meant depends on ours.
  const own = clusterNetwork(lookup);
  const network = spec.network === '' ? own : spec.network;
  const gateway = networkGateway(lookup, network);
  return {
    addresses: ip === undefined ? [] : [ip],
    hostname: ip === undefined ? spec.address : '',
    network,
    locality: parseLocality(spec.locality),
    capacity: spec.weight > 0 ? spec.weight : 1,
    serviceAccount: spec.serviceAccount,
    ...(gateway === undefined ? {} : { networkGateway: gateway }),
  };
}

export function translateWorkloadEntry(entry: WorkloadEntryFacts, lookup: Lookup): Translation {
  const { mesh } = lookup;
  if (entry.address === '' && entry.network === '') {
    const problems = [{ field: 'spec.address', reason: 'missing; the entry is left out' }];
    return { ...emptyTranslation, conditions: validCondition(problems), problems };
  }
  const services = mesh.servicesSelectWorkloadEntries
    ? lookup.servicesSelecting(entry.namespace, entry.labels).filter((service) => !service.external)
    : [];
  const entries = lookup.serviceEntriesSelecting(entry.namespace, entry.labels);
  const ports: [string, readonly PortMapping[]][] = [
    ...services.map((service): [string, readonly PortMapping[]] => [
      serviceKeyOf(service, mesh.clusterDomain),
      endpointServicePorts(service, entry.ports),
    ]),
    ...entries.flatMap((serviceEntry) =>
      ownedHosts(serviceEntry, lookup).map((host): [string, readonly PortMapping[]] => [
        `${serviceEntry.namespace}/${host}`,
        endpointEntryPorts(serviceEntry, entry.ports),
      ]),
    ),
  ];
  const instance = instanceOfWaypoint(lookup, entry);
  const binding = instance === undefined ? bindWorkload(lookup, entry) : {};
  const name = canonical(entry.labels, entry.workloadName);
  const waypoints = mesh.autoAllowWaypoints
    ? [binding, ...[...services, ...entries].map((service) => bindService(lookup, service))]
    : [];
  const workload: Workload = {
    kind: 'workload',
    uid: `${mesh.clusterId}/networking.istio.io/WorkloadEntry/${entry.namespace}/${entry.name}`,
    name: entry.name,
    namespace: entry.namespace,
    ...endpointFields(entry, lookup),
    ...tunnelOf(entry.tunnel),
    networkMode: 'Standard',
    trustDomain: mesh.trustDomain,
    node: '',
    canonicalName: name.name,
    canonicalRevision: name.revision,
    workloadType: 'pod',
    workloadName: entry.workloadName,
    authorizationPolicies: [
      ...workloadPolicies(lookup, entry.namespace, entry.labels),
      ...implicitWaypointPolicies(lookup, waypoints),
    ],
    status: 'Healthy',
    clusterId: mesh.clusterId,
    services: sortedRecord(ports),
    ...(binding.address === undefined ? {} : { waypoint: binding.address }),
    ...(instance?.binding === undefined ? {} : { applicationTunnel: instance.binding }),
  };
  return { records: [workload], conditions: waypointBound(binding), problems: [] };
}
