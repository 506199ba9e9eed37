// The objects that a waypoint consists of. Names, labels, ports and volumes are those that upstream's template gives,
// since selectors, dashboards and overlays of users count on them. Pure.
import {
  accountName,
  gatewayAnnotation,
  gatewayLabel,
  managedByMesh,
  objectName,
  statusPort,
  type Gateway,
} from './gateway-object.ts';
import { applyOverlays, type JsonObject, type Overlay, type OverlayKey } from './overlay.ts';
import { waypointPodSpec, type WaypointSettings } from './waypoint-pod.ts';

type Labels = Readonly<Record<string, string>>;

const own = 'gateway.networking.k8s.io/';
const ownAnnotations: readonly string[] = [
  gatewayAnnotation.lastApplied,
  gatewayAnnotation.nameOverride,
  gatewayAnnotation.serviceAccount,
  gatewayAnnotation.controllerVersion,
];

const without = (labels: Labels, drop: (key: string) => boolean): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !drop(key)));

interface Shared {
  readonly gateway: Gateway;
  readonly name: string;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly marks: Labels;
}

/** `spec.infrastructure` where it is given, else the Gateway's own labels and annotations, as upstream. */
function shared(gateway: Gateway, settings: WaypointSettings): Shared {
  const { metadata, spec } = gateway;
  const { labels, annotations } = spec.infrastructure ?? {};
  const isOwn = (key: string) => key.startsWith(own);
  const given = labels === undefined ? (metadata.labels ?? {}) : without(labels, isOwn);
  const noted = annotations === undefined ? (metadata.annotations ?? {}) : without(annotations, isOwn);
  const { network } = settings;
  return {
    gateway,
    name: objectName(gateway),
    labels:
      network === '' || metadata.labels?.[gatewayLabel.network] !== undefined
        ? given
        : { ...given, [gatewayLabel.network]: network },
    annotations: without(noted, (key) => ownAnnotations.includes(key)),
    marks: {
      [gatewayLabel.name]: metadata.name,
      [gatewayLabel.className]: spec.gatewayClassName,
      [gatewayLabel.managed]: managedByMesh,
    },
  };
}

function metadataOf({ gateway, labels, annotations, marks }: Shared, name: string): JsonObject {
  const { metadata } = gateway;
  return {
    name,
    namespace: metadata.namespace ?? '',
    annotations,
    labels: { ...labels, ...marks },
    // Kubernetes removes what belongs to a Gateway that is gone.
    ownerReferences: [
      {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'Gateway',
        name: metadata.name,
        uid: metadata.uid ?? '',
      },
    ],
  };
}

function deployment(all: Shared, settings: WaypointSettings, graceSeconds: number): JsonObject {
  const { gateway, name, labels, annotations, marks } = all;
  // No replicas: they are the user's, or an autoscaler's.
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadataOf(all, name),
    spec: {
      selector: { matchLabels: { [gatewayLabel.name]: gateway.metadata.name } },
      template: {
        metadata: {
          annotations: {
            ...annotations,
            'istio.io/rev': settings.revision === '' ? 'default' : settings.revision,
            'prometheus.io/path': '/stats/prometheus',
            'prometheus.io/port': '15020',
            'prometheus.io/scrape': 'true',
          },
          labels: {
            'sidecar.istio.io/inject': 'false',
            'istio.io/dataplane-mode': 'none',
            'service.istio.io/canonical-name': name,
            'service.istio.io/canonical-revision': 'latest',
            ...labels,
            ...marks,
          },
        },
        spec: waypointPodSpec(gateway, settings, graceSeconds),
      },
    },
  };
}

function servicePorts({ spec: { listeners = [] } }: Gateway): JsonObject[] {
  const port = (name: string, number: number, appProtocol: string): JsonObject => ({
    name,
    port: number,
    protocol: 'TCP',
    appProtocol,
  });
  const ports = [port('status-port', statusPort, 'tcp')];
  for (const [i, { name, port: number, protocol }] of listeners.entries()) {
    if (ports.some((other) => other['port'] === number)) continue;
    // Names of listeners may have dots and 253 characters, those of ports may not.
    const short = name.replaceAll('.', '-').slice(0, 63) || `${protocol.toLowerCase()}-${i}`;
    ports.push(port(short, number, protocol.toLowerCase()));
  }
  return ports;
}

function service(all: Shared): JsonObject {
  const { gateway, annotations } = all;
  const type = gateway.metadata.annotations?.[gatewayAnnotation.serviceType] ?? 'ClusterIP';
  const [address] = gateway.spec.addresses ?? [];
  const metadata = metadataOf(all, all.name);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...metadata,
      annotations: { 'networking.istio.io/traffic-distribution': 'PreferClose', ...annotations },
    },
    spec: {
      type,
      ipFamilyPolicy: 'PreferDualStack',
      ports: servicePorts(gateway),
      selector: { [gatewayLabel.name]: gateway.metadata.name },
      ...(type === 'LoadBalancer' && address?.value !== undefined ? { loadBalancerIP: address.value } : {}),
    },
  };
}

export type WaypointObject = JsonObject & {
  readonly metadata: { readonly name: string; readonly namespace: string };
};

export type WaypointObjects = Readonly<Partial<Record<OverlayKey, WaypointObject>>>;

/** In the order in which they are to be made. Throws OverlayError. HPA and PDB are there only if an overlay names them. */
export function waypointObjects(
  gateway: Gateway,
  settings: WaypointSettings,
  overlays: readonly Overlay[] = [],
): WaypointObjects {
  const all = shared(gateway, settings);
  const { name } = all;
  const plain = (apiVersion: string, kind: string, of: string, spec?: JsonObject): JsonObject => ({
    apiVersion,
    kind,
    metadata: metadataOf(all, of),
    ...(spec === undefined ? {} : { spec }),
  });
  const change = (key: OverlayKey, object: JsonObject) => applyOverlays(object, key, overlays);
  let pods = change('deployment', deployment(all, settings, settings.graceSeconds)).object;
  // The program ends in the time that the pod has; where an overlay gives another one, it is told that.
  const grace = graceOf(pods);
  if (grace !== settings.graceSeconds) pods = change('deployment', deployment(all, settings, grace)).object;
  const autoscaler = change(
    'horizontalPodAutoscaler',
    plain('autoscaling/v2', 'HorizontalPodAutoscaler', name, {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
      maxReplicas: 1,
    }),
  );
  const budget = change(
    'podDisruptionBudget',
    plain('policy/v1', 'PodDisruptionBudget', name, {
      selector: { matchLabels: { [gatewayLabel.name]: gateway.metadata.name } },
    }),
  );
  return {
    serviceAccount: change('serviceAccount', plain('v1', 'ServiceAccount', accountName(gateway)))
      .object as WaypointObject,
    deployment: pods as WaypointObject,
    service: change('service', service(all)).object as WaypointObject,
    ...(autoscaler.applied ? { horizontalPodAutoscaler: autoscaler.object as WaypointObject } : {}),
    ...(budget.applied ? { podDisruptionBudget: budget.object as WaypointObject } : {}),
  };
}

function graceOf(pods: JsonObject): number {
  const template = (pods['spec'] as JsonObject | undefined)?.['template'] as JsonObject | undefined;
  const grace = (template?.['spec'] as JsonObject | undefined)?.['terminationGracePeriodSeconds'];
  return typeof grace === 'number' ? grace : 30;
}
