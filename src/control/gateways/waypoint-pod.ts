// The pod of a waypoint: what it runs, and what it is told. Pure.
import {
  accountName,
  gatewayAnnotation,
  gatewayLabel,
  objectName,
  statusPort,
  type Gateway,
} from './gateway-object.ts';
import type { JsonObject } from './overlay.ts';

export interface WaypointSettings {
  readonly image: string;
  readonly revision: string;
  readonly systemNamespace: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  /** Empty: the cluster's network has no name. */
  readonly network: string;
  /** `https://host:port` of our own. */
  readonly xdsAddress: string;
  readonly caAddress: string;
  /** Seconds that a pod has to end in. */
  readonly graceSeconds: number;
}

const field = (name: string, fieldPath: string): JsonObject => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});

/** Levels of Envoy, which the annotation takes upstream, by ours. */
const logLevels: Readonly<Record<string, string>> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  warn: 'warn',
  error: 'error',
  critical: 'error',
  off: 'error',
};

const roots = '/var/run/secrets/istio/root-cert.pem';

function environment(gateway: Gateway, settings: WaypointSettings, graceSeconds: number): JsonObject[] {
  const { metadata, spec } = gateway;
  const name = objectName(gateway);
  const network =
    spec.infrastructure?.labels?.[gatewayLabel.network] ??
    metadata.labels?.[gatewayLabel.network] ??
    settings.network;
  const level = logLevels[metadata.annotations?.[gatewayAnnotation.logLevel] ?? ''];
  const values: readonly (readonly [string, string])[] = [
    ['GATEWAY_NAME', metadata.name],
    ['XDS_ADDRESS', settings.xdsAddress],
    ['XDS_ROOT_CA', roots],
    ['CA_ADDRESS', settings.caAddress],
    ['CA_ADDR', settings.caAddress.replace(/^https:\/\//, '')],
    ['CA_ROOT_CA', roots],
    ['AUTH_TOKEN', '/var/run/secrets/tokens/istio-token'],
    ['TRUST_DOMAIN', settings.trustDomain],
    ['CLUSTER_ID', settings.clusterId],
    ['CLUSTER_DOMAIN', settings.clusterDomain],
    // What is open may end in the pod's time, less what it takes to end the program.
    ['CONNECTION_TERMINATION_DEADLINE', `${Math.max(1, graceSeconds - 5)}s`],
    ['ISTIO_META_CLUSTER_ID', settings.clusterId],
    ...(network === '' ? [] : [['ISTIO_META_NETWORK', network] as const]),
    ['ISTIO_META_WORKLOAD_NAME', name],
    ['ISTIO_META_OWNER', `kubernetes://apis/apps/v1/namespaces/${metadata.namespace}/deployments/${name}`],
    ['ISTIO_META_MESH_ID', settings.trustDomain],
    ...(level === undefined ? [] : [['LOG_LEVEL', level] as const]),
    ...(metadata.annotations?.[gatewayAnnotation.clientIdentity] === 'true'
      ? [['XFCC_INCLUDE_CLIENT_IDENTITY', 'true'] as const]
      : []),
  ];
  return [
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('INSTANCE_IP', 'status.podIP'),
    field('SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    field('HOST_IP', 'status.hostIP'),
    field('NODE_NAME', 'spec.nodeName'),
    field('ISTIO_META_SERVICE_ACCOUNT', 'spec.serviceAccountName'),
    field('ISTIO_META_NODE_NAME', 'spec.nodeName'),
    ...values.map(([key, value]) => ({ name: key, value })),
    // How many threads are worth having.
    { name: 'ISTIO_CPU_LIMIT', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1' } } },
    {
      name: 'ISTIO_MEMORY_LIMIT',
      valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1' } },
    },
  ];
}

const ready = (more: JsonObject): JsonObject => ({
  httpGet: { path: '/healthz/ready', port: statusPort, scheme: 'HTTP' },
  successThreshold: 1,
  timeoutSeconds: 1,
  ...more,
});

function container(gateway: Gateway, settings: WaypointSettings, graceSeconds: number): JsonObject {
  const image = gateway.metadata.annotations?.[gatewayAnnotation.proxyImage];
  return {
    name: 'istio-proxy',
    image: image?.includes('/') === true ? image : settings.image,
    args: ['waypoint-proxy'],
    env: environment(gateway, settings, graceSeconds),
    ports: [
      { name: 'metrics', containerPort: 15020, protocol: 'TCP' },
      { name: 'status-port', containerPort: statusPort, protocol: 'TCP' },
      { name: 'http-envoy-prom', containerPort: 15090, protocol: 'TCP' },
    ],
    resources: {
      requests: { cpu: '100m', memory: '128Mi' },
      limits: { cpu: '2', memory: '1Gi' },
    },
    startupProbe: ready({ initialDelaySeconds: 1, periodSeconds: 1, failureThreshold: 30 }),
    readinessProbe: ready({ initialDelaySeconds: 0, periodSeconds: 15, failureThreshold: 4 }),
    securityContext: {
      privileged: false,
      runAsGroup: 1337,
      runAsUser: 1337,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: 'istiod-ca-cert', mountPath: '/var/run/secrets/istio' },
      { name: 'istio-data', mountPath: '/var/lib/istio/data' },
      { name: 'istio-token', mountPath: '/var/run/secrets/tokens' },
      { name: 'istio-podinfo', mountPath: '/etc/istio/pod' },
    ],
  };
}

export function waypointPodSpec(
  gateway: Gateway,
  settings: WaypointSettings,
  graceSeconds: number,
): JsonObject {
  return {
    serviceAccountName: accountName(gateway),
    terminationGracePeriodSeconds: graceSeconds,
    containers: [container(gateway, settings, graceSeconds)],
    volumes: [
      { name: 'istio-data', emptyDir: {} },
      {
        name: 'istio-podinfo',
        downwardAPI: {
          items: [
            { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
            { path: 'annotations', fieldRef: { fieldPath: 'metadata.annotations' } },
          ],
        },
      },
      {
        name: 'istio-token',
        projected: {
          sources: [
            {
              serviceAccountToken: { audience: 'istio-ca', expirationSeconds: 43200, path: 'istio-token' },
            },
          ],
        },
      },
      { name: 'istiod-ca-cert', configMap: { name: 'istio-ca-root-cert' } },
    ],
  };
}
