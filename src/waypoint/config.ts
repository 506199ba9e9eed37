// The waypoint's configuration, read once from an environment map. Names and defaults are those of the node proxy and
// of Istio's own proxies, where they have some.
import { availableParallelism } from 'node:os';
import type { LogLevel } from '#/kit/index.ts';
import {
  ConfigError,
  logLevelOf,
  optional,
  prefixed,
  settingsReader,
  withScheme,
  type Env,
} from '#/program/index.ts';
import type { HttpLimits } from '#/http/index.ts';
import type { WindowSettings } from '#/tunnel/index.ts';

export interface WaypointConfig {
  /** The Gateway that this proxy is deployed for. */
  readonly gatewayName: string;
  /** Of its Service, in the same namespace. */
  readonly serviceName: string;
  readonly podName: string;
  /** The namespace of the Gateway and of the pod. */
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly instanceIp: string;
  readonly nodeName?: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  readonly network: string;
  readonly xdsAddress: string;
  readonly caAddress: string;
  /** A path, a literal PEM, or SYSTEM. */
  readonly xdsRootCert: string;
  readonly caRootCert: string;
  /** A path or a literal token. Absent: none is sent. */
  readonly authToken?: string;
  readonly proxyMetadata: Readonly<Record<string, string>>;
  readonly certificateTtlSeconds: number;
  readonly workers: number;
  readonly drainMs: number;
  /** How long all is served as before once the end is asked for: clients hear a little later that we go. Part of drainMs. */
  readonly drainDelayMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'plain' | 'json';
  readonly windows: WindowSettings;
  readonly http: HttpLimits;
  /** How long a body whose length is known may stand still before the request is answered 408. */
  readonly bodyTimeoutMs: number;
  /** How long a connection to a port of no declared protocol may say nothing before it counts as server-first. */
  readonly detectMs: number;
  /** Connections and requests that one worker may have open. */
  readonly maxConnections: number;
  /** Whether applications are told who their client is (x-forwarded-client-cert). */
  readonly forwardClientIdentity: boolean;
  /** Bytes of a request's body that are kept so that it can be sent again. */
  readonly maxRetryBytes: number;
  readonly ports: {
    readonly hbone: number;
    readonly admin: number;
    readonly metrics: number;
    /** A second port for metrics, where Istio's proxies have Envoy's own. */
    readonly envoyMetrics: number;
    readonly readiness: number;
  };
}

export function parseWaypointConfig(env: Env): WaypointConfig {
  const read = settingsReader(env);
  const required = (name: string): string => {
    const value = read.text(name, '');
    if (value === '') throw new ConfigError(`${name} is not set; the Deployment of a waypoint sets it`);
    return value;
  };
  const istiod = 'https://istiod.istio-system.svc:15012';
  const serviceAccount = required('SERVICE_ACCOUNT');
  const proxyMetadata = prefixed(env, 'ISTIO_META_');
  const drainMs = read.durationMs('CONNECTION_TERMINATION_DEADLINE', 5000);
  return {
    gatewayName: read.text('GATEWAY_NAME', serviceAccount),
    serviceName: read.text('ISTIO_META_WORKLOAD_NAME', read.text('GATEWAY_NAME', serviceAccount)),
    podName: required('POD_NAME'),
    namespace: required('POD_NAMESPACE'),
    serviceAccount,
    instanceIp: required('INSTANCE_IP'),
    ...optional('nodeName', env['NODE_NAME']),
    clusterId: read.text('ISTIO_META_CLUSTER_ID', read.text('CLUSTER_ID', 'Kubernetes')),
    clusterDomain: read.text('CLUSTER_DOMAIN', 'cluster.local'),
    trustDomain: read.text('TRUST_DOMAIN', 'cluster.local'),
    network: read.text('NETWORK', read.text('ISTIO_META_NETWORK', '')),
    xdsAddress: withScheme(read.text('XDS_ADDRESS', istiod)),
    caAddress: withScheme(read.text('CA_ADDRESS', read.text('CA_ADDR', istiod))),
    xdsRootCert: read.text('XDS_ROOT_CA', './var/run/secrets/istio/root-cert.pem'),
    caRootCert: read.text('CA_ROOT_CA', './var/run/secrets/istio/root-cert.pem'),
    ...optional('authToken', read.text('AUTH_TOKEN', './var/run/secrets/tokens/istio-token')),
    proxyMetadata,
    certificateTtlSeconds: read.durationMs('SECRET_TTL', 86_400_000) / 1000,
    workers: workerCount(read.number('WAYPOINT_WORKER_THREADS', 0, 0, 256)),
    drainMs,
    drainDelayMs: Math.min(read.durationMs('MINIMUM_DRAIN_DURATION', 2000), drainMs / 2),
    logLevel: logLevelOf('LOG_LEVEL', env['LOG_LEVEL']),
    logFormat: env['LOG_FORMAT'] === 'json' ? 'json' : 'plain',
    windows: {
      streamWindow: read.number('HTTP2_STREAM_WINDOW_SIZE', 1024 * 1024, 65_535),
      connectionWindow: read.number('HTTP2_CONNECTION_WINDOW_SIZE', 8 * 1024 * 1024, 65_536),
      maxFrameSize: read.number('HTTP2_FRAME_SIZE', 256 * 1024, 16_384, 2 ** 24 - 1),
    },
    http: {
      maxHeadBytes: read.number('MAX_REQUEST_HEADERS_KB', 60, 1, 8192) * 1024,
      maxHeaders: read.number('MAX_REQUEST_HEADERS', 100, 1, 100_000),
      maxTrailers: 100,
      maxConcurrentStreams: read.number('HTTP_MAX_CONCURRENT_STREAMS', 100, 1),
      headTimeoutMs: read.durationMs('HTTP_HEADERS_TIMEOUT', 60_000),
      idleTimeoutMs: read.durationMs('HTTP_IDLE_TIMEOUT', 3_600_000),
    },
    bodyTimeoutMs: read.durationMs('HTTP_BODY_TIMEOUT', 60_000),
    detectMs: read.durationMs('PROTOCOL_DETECTION_TIMEOUT', 200),
    maxConnections: read.number('MAX_CONNECTIONS', 20_000, 1),
    forwardClientIdentity: read.flag('XFCC_INCLUDE_CLIENT_IDENTITY', false),
    maxRetryBytes: read.number('MAX_RETRY_BUFFER_BYTES', 1024 * 1024, 0),
    ports: {
      hbone: read.number('HBONE_PORT', 15008, 0, 65_535),
      admin: read.number('ADMIN_PORT', 15000, 0, 65_535),
      metrics: read.number('STATS_PORT', 15020, 0, 65_535),
      envoyMetrics: read.number('ENVOY_PROMETHEUS_PORT', 15090, 0, 65_535),
      readiness: read.number('READINESS_PORT', 15021, 0, 65_535),
    },
  };
}

/** 0: two, as the workers of Istio's waypoint, or one where there is one core. */
function workerCount(asked: number): number {
  return asked > 0 ? asked : Math.min(2, availableParallelism());
}

/** `ns/name`: what the control plane knows this proxy's resources by. */
export const gatewayKey = (config: Pick<WaypointConfig, 'namespace' | 'gatewayName'>): string =>
  `${config.namespace}/${config.gatewayName}`;
