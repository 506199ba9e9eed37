// EndpointSlices, for endpoints that are not pods: what a Service without a selector was given by hand, and the API
// server's own address. Pods are known by themselves; a slice only tells them that they belong to a Service.
import { parseIp, type Ip } from '#/kit/index.ts';
import { emptyLocality, type PortMapping, type Workload } from '#/model/index.ts';
import { clusterNetwork, type Lookup } from './lookup.ts';
import { label } from './names.ts';
import { labelsOf, objectFacts, type ObjectFacts, type SourceObject } from './object.ts';
import { integer, list, record, text, texts } from './read.ts';
import { emptyTranslation, type Problem, type Translation } from './translation.ts';
import { serviceKeyOf } from './workload-parts.ts';

export interface EndpointFacts {
  readonly addresses: readonly string[];
  readonly ready: boolean;
  /** Name of the pod that it refers to; empty if it is something else. */
  readonly pod: string;
  readonly podUid: string;
}

export interface EndpointSliceFacts extends ObjectFacts {
  /** Name of its Service; empty: a bag of addresses for somebody else's use. */
  readonly service: string;
  readonly addressType: string;
  readonly endpoints: readonly EndpointFacts[];
  /** TCP ports that have a name (which may be empty) and a number. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
}

export function readEndpointSlice(object: SourceObject): EndpointSliceFacts {
  const labels = labelsOf(object);
  // Slices of Kubernetes' own controller hold pods only, of Services with a selector: nothing here is read of
  // them, and in a large mesh they are as many as the services.
  const ours = labels[label.sliceManagedBy] !== 'endpointslice-controller.k8s.io';
  return {
    ...objectFacts(object),
    service: ours ? (labels[label.sliceService] ?? '') : '',
    addressType: text(object.addressType),
    endpoints: ours ? list(object.endpoints).map(readEndpoint) : [],
    ports: ours
      ? list(object.ports)
          .map(record)
          .filter(
            (port) =>
              typeof port['name'] === 'string' &&
              typeof port['port'] === 'number' &&
              port['protocol'] === 'TCP',
          )
          .map((port) => ({ name: text(port['name']), port: integer(port['port']) }))
      : [],
  };
}

function readEndpoint(value: unknown): EndpointFacts {
  const endpoint = record(value);
  const target = record(endpoint['targetRef']);
  const pod = target['kind'] === 'Pod';
  return {
    addresses: texts(endpoint['addresses']),
    // Absent means that the state is not known, which counts as ready.
    ready: record(endpoint['conditions'])['ready'] !== false,
    pod: pod ? text(target['name']) : '',
    podUid: pod ? text(target['uid']) : '',
  };
}

/** One Workload per endpoint that is not a pod. */
export function translateEndpointSlice(slice: EndpointSliceFacts, lookup: Lookup): Translation {
  if (slice.service === '' || slice.addressType === 'FQDN') return emptyTranslation;
  const service = lookup.service(slice.namespace, slice.service);
  if (service === undefined || service.external) return emptyTranslation;
  const { mesh } = lookup;
  const ports: PortMapping[] = [];
  for (const { name, port } of slice.ports) {
    const servicePort = service.ports.find((candidate) => candidate.name === name);
    if (servicePort !== undefined) ports.push({ servicePort: servicePort.port, targetPort: port });
  }
  const services = { [serviceKeyOf(service, mesh.clusterDomain)]: ports };
  const network = clusterNetwork(lookup);
  const records = new Map<string, Workload>();
  const problems: Problem[] = [];
  slice.endpoints.forEach((endpoint, i) => {
    const [first] = endpoint.addresses;
    if (endpoint.pod !== '' || first === undefined || records.has(first)) return;
    const addresses: Ip[] = [];
    for (const text of endpoint.addresses) {
      const ip = parseIp(text);
      if (ip === undefined)
        problems.push({
          field: `endpoints[${i}].addresses`,
          reason: `"${text}" is not an IP address; left out`,
        });
      else addresses.push(ip);
    }
    if (addresses.length !== endpoint.addresses.length) return;
    records.set(first, {
      kind: 'workload',
      uid: `${mesh.clusterId}/discovery.k8s.io/EndpointSlice/${slice.namespace}/${slice.name}/${first}`,
      name: slice.name,
      namespace: slice.namespace,
      addresses,
      hostname: '',
      network,
      protocol: 'TCP',
      // Nothing is known about it; the address may as well belong to something else, too.
      networkMode: 'HostNetwork',
      trustDomain: mesh.trustDomain,
      serviceAccount: 'default',
      node: '',
      canonicalName: '',
      canonicalRevision: '',
      workloadType: 'deployment',
      workloadName: '',
      nativeTunnel: false,
      authorizationPolicies: [],
      status: endpoint.ready ? 'Healthy' : 'Unhealthy',
      clusterId: mesh.clusterId,
      locality: emptyLocality,
      services,
      capacity: 1,
    });
  });
  return { records: [...records.values()], conditions: [], problems };
}
