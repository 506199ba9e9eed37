// What a cluster would make of objects that come from files: pods of workloads, addresses, the annotation of the
// node agent, a ready waypoint. Only what is not written is assumed, and every assumption is named.
import { autoAllocatedHosts, readFacts, waypointClasses, type SourceObject } from '#/translate/index.ts';
import { keyOf, type SourceDocument } from './document.ts';
import { field, items, labels, string } from './fields.ts';
import { annotations, type Enrolment } from './names.ts';

const templated: ReadonlySet<string> = new Set([
  'Deployment',
  'StatefulSet',
  'DaemonSet',
  'ReplicaSet',
  'Job',
]);

// Ranges for documentation and benchmarks: no cluster has them.
const podAddress = (n: number): string => `198.18.${Math.floor(n / 250)}.${(n % 250) + 1}`;
const serviceAddress = (n: number): string => `198.19.${Math.floor(n / 250)}.${(n % 250) + 1}`;

function withObject(document: SourceDocument, object: SourceObject, assumed: string): SourceDocument {
  return { ...document, object, kind: string(object, 'kind') || document.kind, assumed };
}

/** A pod of a workload, as the kubelet and the node agent would leave it. */
function runningPod(
  document: SourceDocument,
  pod: { readonly metadata: SourceObject['metadata']; readonly spec: unknown },
  ip: string,
  namespaceLabels: Readonly<Record<string, string>>,
  enrolment: Enrolment,
  assumed: string,
): SourceDocument {
  const metadata = { ...pod.metadata, namespace: document.namespace, name: document.name };
  const object: SourceObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata,
    spec: { nodeName: '(any)', ...(pod.spec as object | undefined) },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
  const captured = enrolment(object, namespaceLabels).enabled;
  const enrolled: SourceObject = captured
    ? {
        ...object,
        metadata: {
          ...metadata,
          annotations: { ...metadata.annotations, [annotations.redirection]: 'enabled' },
        },
      }
    : object;
  return withObject(document, enrolled, assumed);
}

export function withAssumptions(
  documents: readonly SourceDocument[],
  enrolment: Enrolment,
  clusterDomain: string,
): readonly SourceDocument[] {
  const out: SourceDocument[] = [];
  const taken = new Set(documents.map(keyOf));
  const namespaces = new Map(
    documents
      .filter(({ kind }) => kind === 'Namespace')
      .map(({ name, object }) => [name, labels(object, 'metadata', 'labels')]),
  );
  let pods = 0;
  let services = 0;
  let entries = 0;
  const labelsOf = (namespace: string) => namespaces.get(namespace) ?? {};
  for (const document of documents) {
    const { object, kind, name, namespace } = document;
    if (kind === 'Pod' && object.status === undefined) {
      const { metadata, spec } = object;
      out.push(
        runningPod(
          document,
          { metadata, spec },
          podAddress(pods++),
          labelsOf(namespace),
          enrolment,
          `pod ${namespace}/${name}: running, ready, and captured if it is in the mesh`,
        ),
      );
      continue;
    }
    if (kind === 'ServiceEntry') out.push(withAllocated(document, () => entries++));
    else if (kind === 'Service') out.push(withAddress(document, () => serviceAddress(services++)));
    else if (isUnseenWaypoint(document)) {
      const parts = waypointParts(document, podAddress(pods++), serviceAddress(services++), clusterDomain);
      out.push(...parts.filter((part) => part.kind === 'Gateway' || !taken.has(keyOf(part))));
    } else out.push(document);
    if (templated.has(kind) && !taken.has(keyOf({ kind: 'Pod', namespace, name }))) {
      const template = field(object, 'spec', 'template');
      const metadata = {
        labels: labels(template, 'metadata', 'labels'),
        annotations: labels(template, 'metadata', 'annotations'),
      };
      const pod = { metadata, spec: field(template, 'spec') };
      const inTemplate: SourceDocument = {
        ...document,
        lineOf: (path) => document.lineOf(path === '' ? '' : `spec.template.${path}`),
      };
      out.push(
        runningPod(
          inTemplate,
          pod,
          podAddress(pods++),
          labelsOf(namespace),
          enrolment,
          `a pod of ${kind} ${namespace}/${name}: running, ready, and captured if it is in the mesh`,
        ),
      );
    }
  }
  return out;
}

function withAddress(document: SourceDocument, next: () => string): SourceDocument {
  const { object } = document;
  if (string(object, 'spec', 'clusterIP') !== '' || items(object, 'spec', 'clusterIPs').length > 0)
    return document;
  if (string(object, 'spec', 'type') === 'ExternalName') return document;
  const clusterIP = next();
  const spec = { ...(object.spec as object | undefined), clusterIP, clusterIPs: [clusterIP] };
  return withObject(
    document,
    { ...object, spec },
    `the address ${clusterIP} of service ${document.namespace}/${document.name}`,
  );
}

/** The addresses that the control plane gives to hosts without one. */
function withAllocated(document: SourceDocument, next: () => number): SourceDocument {
  const { object } = document;
  const hosts = object.status === undefined ? autoAllocatedHosts(readFacts('ServiceEntry', object)) : [];
  if (hosts.length === 0) return document;
  const addresses = hosts.map((host) => ({ host, value: `240.240.0.${(next() % 250) + 1}` }));
  return withObject(
    document,
    { ...object, status: { addresses } },
    `the automatic address of ServiceEntry ${document.namespace}/${document.name}`,
  );
}

/** A waypoint whose state a file cannot tell. */
function isUnseenWaypoint({ kind, object }: SourceDocument): boolean {
  return (
    kind === 'Gateway' &&
    object.status === undefined &&
    waypointClasses.includes(string(object, 'spec', 'gatewayClassName'))
  );
}

/** The Gateway as ready, with the Service and the pod that its controller makes. */
function waypointParts(
  document: SourceDocument,
  podIp: string,
  serviceIp: string,
  clusterDomain: string,
): SourceDocument[] {
  const { object, name, namespace } = document;
  const assumed = `waypoint ${namespace}/${name} is ready`;
  const own = {
    'gateway.networking.k8s.io/gateway-name': name,
    'gateway.istio.io/managed': 'istio.io-mesh-controller',
  };
  const metadata = { name, namespace, labels: own };
  return [
    withObject(
      document,
      {
        ...object,
        status: { addresses: [{ type: 'Hostname', value: `${name}.${namespace}.svc.${clusterDomain}` }] },
      },
      assumed,
    ),
    withObject(
      document,
      {
        kind: 'Service',
        metadata,
        spec: {
          clusterIP: serviceIp,
          selector: { 'gateway.networking.k8s.io/gateway-name': name },
          ports: [{ name: 'mesh', port: 15008, appProtocol: 'hbone' }],
        },
      },
      assumed,
    ),
    withObject(
      document,
      {
        kind: 'Pod',
        metadata: {
          ...metadata,
          labels: { ...own, 'networking.istio.io/tunnel': 'http', 'istio.io/dataplane-mode': 'none' },
        },
        spec: { nodeName: '(any)', serviceAccountName: name },
        status: {
          phase: 'Running',
          podIP: podIp,
          podIPs: [{ ip: podIp }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      },
      assumed,
    ),
  ];
}
