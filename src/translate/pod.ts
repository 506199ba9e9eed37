// Pods: one Workload each.
import { parseIp, type Ip } from '#/kit/index.ts';
import { emptyLocality, type PortMapping, type Workload } from '#/model/index.ts';
import { clusterNetwork, type Lookup } from './lookup.ts';
import { label } from './names.ts';
import {
  annotationsOf,
  labelsOf,
  objectFacts,
  specOf,
  type ObjectFacts,
  type SourceObject,
} from './object.ts';
import { integer, labelMap, list, record, text, type Labels } from './read.ts';
import { entryPortsForPod, ownedHosts } from './service-entry-hosts.ts';
import { emptyTranslation, type Problem, type Translation } from './translation.ts';
import {
  bindService,
  bindWorkload,
  instanceOfWaypoint,
  waypointWishOf,
  type WaypointBinding,
  type WaypointWish,
} from './waypoint.ts';
import {
  canonical,
  implicitWaypointPolicies,
  networkGateway,
  readTunnel,
  servicePorts,
  serviceKeyOf,
  sortedRecord,
  tunnelOf,
  workloadPolicies,
  type TunnelFacts,
} from './workload-parts.ts';
import type { ServiceFacts } from './service.ts';

export interface PodFacts extends ObjectFacts {
  readonly uid: string;
  readonly labels: Labels;
  /** As the status has them; empty until the pod has its address. */
  readonly ips: readonly string[];
  readonly node: string;
  readonly serviceAccount: string;
  readonly hostNetwork: boolean;
  /** Ready, and not being deleted. */
  readonly healthy: boolean;
  readonly phase: string;
  readonly tunnel: TunnelFacts;
  readonly workloadName: string;
  /** TCP container ports by name. */
  readonly ports: Readonly<Record<string, number>>;
  readonly waypoint: WaypointWish;
}

/** The name of what runs the pod: its Deployment, DaemonSet, CronJob …, else its own. */
function workloadNameOf(object: SourceObject, labels: Labels): string {
  const own = object.metadata.name ?? '';
  const override = labels[label.workloadName];
  if (override !== undefined) return override;
  // Only a pod with a generated name is looked into: a mirror pod is "controlled" by its Node.
  if ((object.metadata.generateName ?? '') === '') return own;
  const controller = list(object.metadata.ownerReferences)
    .map(record)
    .find((owner) => owner['controller'] === true);
  if (controller === undefined) return own;
  const name = text(controller['name']);
  switch (text(controller['kind'])) {
    case 'ReplicaSet': {
      for (const key of ['pod-template-hash', 'rollouts-pod-template-hash']) {
        const hash = labels[key];
        if (hash !== undefined && hash !== '' && name.endsWith(`-${hash}`))
          return name.slice(0, -hash.length - 1);
      }
      return name;
    }
    case 'ReplicationController':
      return labels['deploymentconfig'] ?? name;
    case 'Job':
      return /^(.+)-[0-9]{8,10}$/.exec(name)?.[1] ?? name;
    default:
      return name === '' ? own : name;
  }
}

function namedPorts(spec: Readonly<Record<string, unknown>>): Readonly<Record<string, number>> {
  const ports: Record<string, number> = {};
  const sidecars = list(spec['initContainers']).filter((item) => record(item)['restartPolicy'] === 'Always');
  for (const container of [...list(spec['containers']), ...sidecars]) {
    for (const item of list(record(container)['ports'])) {
      const port = record(item);
      const name = text(port['name']);
      if (name === '' || (port['protocol'] ?? 'TCP') !== 'TCP' || ports[name] !== undefined) continue;
      ports[name] = integer(port['containerPort']);
    }
  }
  return ports;
}

export function readPod(object: SourceObject): PodFacts {
  const spec = specOf(object);
  const status = record(object.status);
  const labels = labelsOf(object);
  const ips = list(status['podIPs']).map((item) => text(record(item)['ip']));
  const ready = list(status['conditions'])
    .map(record)
    .find((condition) => condition['type'] === 'Ready');
  return {
    ...objectFacts(object),
    uid: object.metadata.uid ?? '',
    labels: labelMap(labels),
    ips: (ips.length > 0 ? ips : [text(status['podIP'])]).filter((ip) => ip !== ''),
    node: text(spec['nodeName']),
    serviceAccount: text(spec['serviceAccountName']) || 'default',
    hostNetwork: spec['hostNetwork'] === true,
    healthy: ready?.['status'] === 'True' && object.metadata.deletionTimestamp === undefined,
    phase: text(status['phase']),
    tunnel: readTunnel(labels, annotationsOf(object)),
    workloadName: workloadNameOf(object, labels),
    ports: namedPorts(spec),
    waypoint: waypointWishOf(object),
  };
}

export function podUid(clusterId: string, namespace: string, name: string): string {
  // Twice a slash: the API group of pods is empty.
  return `${clusterId}//Pod/${namespace}/${name}`;
}

/** Services that have the pod: by selector, or by an EndpointSlice that refers to it. */
function servicesOf(pod: PodFacts, lookup: Lookup): readonly ServiceFacts[] {
  const found = new Map<string, ServiceFacts>();
  for (const service of lookup.servicesSelecting(pod.namespace, pod.labels)) {
    if (!service.external) found.set(service.name, service);
  }
  for (const slice of lookup.slicesOfPod(pod.namespace, pod.name)) {
    const target = slice.endpoints.find((endpoint) => endpoint.pod === pod.name);
    if (slice.service === '' || target === undefined || found.has(slice.service)) continue;
    if (target.podUid !== '' && target.podUid !== pod.uid) continue;
    const service = lookup.service(pod.namespace, slice.service);
    if (service !== undefined && !service.external) found.set(service.name, service);
  }
  return [...found.values()];
}

/** One Workload once the pod has an address and until it has finished; nothing else. */
export function translatePod(pod: PodFacts, lookup: Lookup): Translation {
  if (pod.phase === 'Succeeded' || pod.phase === 'Failed' || pod.ips.length === 0) return emptyTranslation;
  const { mesh } = lookup;
  const problems: Problem[] = [];
  const addresses: Ip[] = [];
  for (const text of pod.ips) {
    const ip = parseIp(text);
    if (ip === undefined)
      problems.push({
        field: 'status.podIPs',
        reason: `"${text}" is not an IP address; the pod is left out`,
      });
    else addresses.push(ip);
  }
  if (problems.length > 0) return { ...emptyTranslation, problems };

  const services = servicesOf(pod, lookup);
  const ports: [string, readonly PortMapping[]][] = services.map((service) => [
    serviceKeyOf(service, mesh.clusterDomain),
    servicePorts(service, (name) => pod.ports[name]),
  ]);
  const entries = mesh.serviceEntriesSelectPods
    ? lookup.serviceEntriesSelecting(pod.namespace, pod.labels)
    : [];
  for (const entry of entries) {
    for (const host of ownedHosts(entry, lookup))
      ports.push([`${entry.namespace}/${host}`, entryPortsForPod(entry, pod.ports)]);
  }

  const instance = instanceOfWaypoint(lookup, pod);
  const binding: WaypointBinding = instance === undefined ? bindWorkload(lookup, pod) : {};
  const network = clusterNetwork(lookup);
  const gateway = networkGateway(lookup, network);
  const name = canonical(pod.labels, pod.workloadName);
  const waypoints = mesh.autoAllowWaypoints
    ? [
        binding,
        ...services.map((service) => bindService(lookup, service)),
        ...entries.map((entry) => bindService(lookup, entry)),
      ]
    : [];
  const workload: Workload = {
    kind: 'workload',
    uid: podUid(mesh.clusterId, pod.namespace, pod.name),
    name: pod.name,
    namespace: pod.namespace,
    addresses,
    hostname: '',
    network,
    ...tunnelOf(pod.tunnel),
    networkMode: pod.hostNetwork ? 'HostNetwork' : 'Standard',
    trustDomain: mesh.trustDomain,
    serviceAccount: pod.serviceAccount,
    node: pod.node,
    canonicalName: name.name,
    canonicalRevision: name.revision,
    workloadType: 'pod',
    workloadName: pod.workloadName,
    authorizationPolicies: [
      ...workloadPolicies(lookup, pod.namespace, pod.labels),
      ...implicitWaypointPolicies(lookup, waypoints),
    ],
    status: pod.healthy ? 'Healthy' : 'Unhealthy',
    clusterId: mesh.clusterId,
    locality: (pod.node === '' ? undefined : lookup.node(pod.node))?.locality ?? emptyLocality,
    services: sortedRecord(ports),
    capacity: 1,
    ...(binding.address === undefined ? {} : { waypoint: binding.address }),
    ...(gateway === undefined ? {} : { networkGateway: gateway }),
    ...(instance?.binding === undefined ? {} : { applicationTunnel: instance.binding }),
  };
  const told = binding.problem === undefined ? [] : [{ field: 'waypoint', reason: binding.problem.message }];
  return { records: [workload], conditions: [], problems: told };
}
