// The EndpointSlices that a Service with a selector should have. Pure.
import {
  apiVersionOf,
  services,
  type Endpoint,
  type EndpointSlice,
  type KubeService,
  type Node,
  type Pod,
} from '#/kube/index.ts';
import {
  canonicalJson,
  hashOf,
  isPodReady,
  isPodTerminal,
  matchesSelector,
  ownerReference,
} from './object-tools.ts';

/** As the real controller's default. */
export const endpointsPerSlice = 100;
export const serviceNameLabel = 'kubernetes.io/service-name';
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const managedBy = 'endpointslice-controller.k8s.io';

type Port = NonNullable<EndpointSlice['ports']>[number];

/** The service's ports as this pod serves them; a named target that the pod lacks is left out. */
function portsOf(service: KubeService, pod: Pod): Port[] {
  return (service.spec.ports ?? []).flatMap((port): Port[] => {
    const protocol = port.protocol ?? 'TCP';
    const target = port.targetPort ?? port.port;
    const sidecars = (pod.spec.initContainers ?? []).filter(
      ({ restartPolicy }) => restartPolicy === 'Always',
    );
    const number =
      typeof target === 'number'
        ? target
        : [...pod.spec.containers, ...sidecars]
            .flatMap(({ ports }) => ports ?? [])
            .find((one) => one.name === target && (one.protocol ?? 'TCP') === protocol)?.containerPort;
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? '',
        port: number,
        protocol,
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });
}

function endpointOf(service: KubeService, pod: Pod, ip: string, node: Node | undefined): Endpoint {
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const serving = isPodReady(pod);
  const { hostname, subdomain } = pod.spec;
  const zone = node?.metadata.labels?.['topology.kubernetes.io/zone'];
  return {
    addresses: [ip],
    conditions: {
      ready: service.spec.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    ...(hostname !== undefined && subdomain === service.metadata.name ? { hostname } : {}),
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      uid: pod.metadata.uid ?? '',
    },
  };
}

/** Undefined for a service whose slices are somebody else's affair: no selector, or ExternalName. */
export function slicesFor(
  service: KubeService,
  pods: readonly Pod[],
  nodes: ReadonlyMap<string, Node>,
): EndpointSlice[] | undefined {
  const { metadata, spec } = service;
  if (spec.type === 'ExternalName' || spec.selector === undefined || Object.keys(spec.selector).length === 0)
    return undefined;
  if (metadata.deletionTimestamp !== undefined) return [];
  const selected = pods
    .filter(
      (pod) =>
        pod.metadata.namespace === metadata.namespace &&
        !isPodTerminal(pod) &&
        matchesSelector({ matchLabels: spec.selector ?? {} }, pod.metadata.labels),
    )
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const headless = spec.clusterIP === 'None';
  const slices: EndpointSlice[] = [];
  for (const family of spec.ipFamilies ?? ['IPv4']) {
    const groups = new Map<string, { ports: Port[]; endpoints: Endpoint[] }>();
    for (const pod of selected) {
      const ip = (pod.status?.podIPs ?? []).find((one) => one.ip.includes(':') === (family === 'IPv6'))?.ip;
      if (ip === undefined) continue;
      const ports = portsOf(service, pod);
      const key = canonicalJson(ports);
      const group = groups.get(key) ?? { ports, endpoints: [] };
      group.endpoints.push(endpointOf(service, pod, ip, nodes.get(pod.spec.nodeName ?? '')));
      groups.set(key, group);
    }
    // A service without endpoints has one empty slice, which says that somebody has looked.
    if (groups.size === 0) groups.set('', { ports: [], endpoints: [] });
    for (const [key, { ports, endpoints }] of groups)
      for (let i = 0; i === 0 || i < endpoints.length; i += endpointsPerSlice)
        slices.push({
          metadata: {
            name: `${metadata.name.slice(0, 57)}-${hashOf([family, key === '' ? '[]' : key, i], 5)}`,
            namespace: metadata.namespace ?? 'default',
            labels: {
              ...metadata.labels,
              [serviceNameLabel]: metadata.name,
              [managedByLabel]: managedBy,
              ...(headless ? { 'service.kubernetes.io/headless': '' } : {}),
            },
            ownerReferences: [ownerReference(service, apiVersionOf(services), 'Service')],
          },
          addressType: family,
          endpoints: endpoints.slice(i, i + endpointsPerSlice),
          ports,
        });
  }
  return slices;
}
