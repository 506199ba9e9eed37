// The node proxy's configuration, read once from an environment map. Names and defaults are upstream's, so that
// the same DaemonSet runs either program.
import { availableParallelism } from 'node:os';
import { isLoopback, parseHostPort, parseIp, type LogLevel } from '#/kit/index.ts';
import {
  ConfigError,
  logLevelOf,
  optional,
  prefixed,
  settingsReader,
  withScheme,
  type Env,
  type SettingsReader,
} from '#/program/index.ts';
import type { WindowSettings } from '#/tunnel/index.ts';

export interface ZtunnelConfig {
  /** Empty: no control plane; the proxy then knows only what LOCAL_XDS says. */
  readonly xdsAddress: string;
  readonly caAddress: string;
  /** A path, a literal PEM, or SYSTEM. */
  readonly xdsRootCert: string;
  readonly caRootCert: string;
  readonly altXdsHostname?: string;
  readonly altCaHostname?: string;
  /** A path or a literal token. Absent: none is sent. */
  readonly authToken?: string;
  readonly xdsHeaders: Readonly<Record<string, string>>;
  readonly caHeaders: Readonly<Record<string, string>>;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly network: string;
  /** Absent: every workload counts as local. */
  readonly nodeName?: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly serviceAccount?: string;
  readonly instanceIp: string;
  readonly trustDomain: string;
  readonly proxyMetadata: Readonly<Record<string, string>>;
  readonly ipv6: boolean;
  /** `try`: preserve the client's address if the kernel lets us. */
  readonly originalSource: 'always' | 'never' | 'try';
  readonly packetMark: number;
  readonly zdsPath: string;
  readonly reusePort: boolean;
  readonly poolMaxStreams: number;
  readonly poolIdleMs: number;
  readonly windows: WindowSettings;
  readonly keepAlive?: {
    readonly timeSeconds: number;
    readonly intervalSeconds: number;
    readonly retries: number;
  };
  readonly userTimeoutMs?: number;
  readonly drainMs: number;
  readonly certificateTtlSeconds: number;
  readonly workers: number;
  readonly loopbackTunnel: boolean;
  readonly responseBaggage: boolean;
  readonly policyLogLevel: 'debug' | 'info';
  readonly logLevel: LogLevel;
  readonly logFormat: 'plain' | 'json';
  readonly ports: {
    readonly outbound: number;
    readonly inboundPlaintext: number;
    readonly inbound: number;
    readonly admin: number;
    readonly metrics: number;
    readonly readiness: number;
  };
  /** The DNS proxy in each pod, to which the pod's rules send questions for port 53. */
  readonly dns: {
    readonly capture: boolean;
    /** Loopback addresses. */
    readonly hosts: readonly string[];
    readonly port: number;
    /** Breaks a tie between services of one name. */
    readonly preferredNamespace?: string;
    /** The file that names the name servers. */
    readonly resolvConf: string;
  };
  /** What a workload's unknown policy means; `skip` is upstream's behaviour. */
  readonly unknownPolicy: 'deny' | 'skip';
  /** Connections that one pod may have open through the proxy. */
  readonly maxConnectionsPerPod: number;
}

export function parseZtunnelConfig(env: Env): ZtunnelConfig {
  const read = settingsReader(env);
  refuseUnsupported(env);
  const proxyMetadata = prefixed(env, 'ISTIO_META_');
  const keepAlive = {
    timeSeconds: keepAliveSeconds(read, 'KEEPALIVE_TIME'),
    intervalSeconds: keepAliveSeconds(read, 'KEEPALIVE_INTERVAL'),
    retries: read.number('KEEPALIVE_RETRIES', 9, 1, 127),
  };
  const userTimeoutMs = (keepAlive.timeSeconds + keepAlive.retries * keepAlive.intervalSeconds) * 1000;
  const inCluster = env.KUBERNETES_SERVICE_HOST !== undefined;
  const istiod = inCluster ? 'https://istiod.istio-system.svc:15012' : 'https://localhost:15012';
  const dnsCapture = (proxyMetadata.DNS_CAPTURE ?? 'true').toLowerCase() === 'true';
  if (read.flag('XDS_ON_DEMAND', false))
    throw new ConfigError(
      'XDS_ON_DEMAND=true is not supported yet: every record would be asked for all the same; unset it',
    );
  return {
    xdsAddress: withScheme(env.XDS_ADDRESS ?? istiod),
    caAddress: withScheme(read.text('CA_ADDRESS', istiod)),
    xdsRootCert: read.text('XDS_ROOT_CA', './var/run/secrets/istio/root-cert.pem'),
    caRootCert: read.text('CA_ROOT_CA', './var/run/secrets/istio/root-cert.pem'),
    ...optional('altXdsHostname', env.ALT_XDS_HOSTNAME),
    ...optional('altCaHostname', env.ALT_CA_HOSTNAME),
    ...optional('authToken', read.text('AUTH_TOKEN', './var/run/secrets/tokens/istio-token')),
    xdsHeaders: prefixed(env, 'XDS_HEADER_'),
    caHeaders: prefixed(env, 'CA_HEADER_'),
    clusterId: read.text('ISTIO_META_CLUSTER_ID', read.text('CLUSTER_ID', 'Kubernetes')),
    clusterDomain: read.text('CLUSTER_DOMAIN', 'cluster.local'),
    network: env.NETWORK ?? '',
    ...optional('nodeName', env.NODE_NAME),
    podName: env.POD_NAME ?? '',
    podNamespace: env.POD_NAMESPACE ?? '',
    ...optional('serviceAccount', env.SERVICE_ACCOUNT),
    instanceIp: read.text('INSTANCE_IP', '1.1.1.1'),
    trustDomain: read.text('TRUST_DOMAIN', 'cluster.local'),
    proxyMetadata,
    ipv6: read.flag('IPV6_ENABLED', true),
    originalSource:
      read.flag('ENABLE_ORIG_SRC', undefined) === undefined
        ? 'try'
        : read.flag('ENABLE_ORIG_SRC', true)
          ? 'always'
          : 'never',
    packetMark: read.number('PACKET_MARK', 1337),
    zdsPath: read.text('INPOD_UDS', '/var/run/ztunnel/ztunnel.sock'),
    reusePort: read.flag('INPOD_PORT_REUSE', true),
    poolMaxStreams: read.number('POOL_MAX_STREAMS_PER_CONNECTION', 100, 1),
    poolIdleMs: read.durationMs('POOL_UNUSED_RELEASE_TIMEOUT', 300_000),
    windows: {
      streamWindow: read.number('HTTP2_STREAM_WINDOW_SIZE', 4 * 1024 * 1024, 65_535),
      connectionWindow: read.number('HTTP2_CONNECTION_WINDOW_SIZE', 16 * 1024 * 1024, 65_536),
      maxFrameSize: read.number('HTTP2_FRAME_SIZE', 1024 * 1024, 16_384, 2 ** 24 - 1),
    },
    ...(read.flag('KEEPALIVE_ENABLED', true) ? { keepAlive } : {}),
    ...(read.flag('USER_TIMEOUT_ENABLED', false) ? { userTimeoutMs } : {}),
    drainMs: drainDeadline(env, read),
    certificateTtlSeconds: read.durationMs('SECRET_TTL', 86_400_000) / 1000,
    workers: workerCount(env, read),
    loopbackTunnel: read.flag('LOCALHOST_APP_TUNNEL', true),
    responseBaggage: read.flag('ENABLE_RESPONSE_BAGGAGE', true),
    policyLogLevel: read.flag('AUTHZ_POLICY_INFO_LOGGING', false) ? 'info' : 'debug',
    logLevel: logLevelOf('RUST_LOG', env.RUST_LOG),
    logFormat: env.LOG_FORMAT === 'json' ? 'json' : 'plain',
    ports: {
      outbound: 15001,
      inboundPlaintext: 15006,
      inbound: 15008,
      admin: read.number('ADMIN_PORT', 15000, 0, 65_535),
      metrics: read.number('STATS_PORT', 15020, 0, 65_535),
      readiness: read.number('READINESS_PORT', 15021, 0, 65_535),
    },
    dns: {
      capture: dnsCapture,
      ...dnsAddress(read),
      ...optional('preferredNamespace', env.PREFERED_SERVICE_NAMESPACE),
      resolvConf: '/etc/resolv.conf',
    },
    unknownPolicy: read.flag('UPSTREAM_UNKNOWN_POLICY', false) ? 'skip' : 'deny',
    maxConnectionsPerPod: read.number('MAX_CONNECTIONS_PER_POD', 20_000, 1),
  };
}

const because: Readonly<Record<string, string>> = {
  CRL_PATH: 'revoked certificates would be accepted, since revocation lists are not read',
  COMPLIANCE_POLICY: 'the key exchange would not be the one that is asked for',
  LOCAL_XDS_PATH: 'the workloads and policies in the file would not be read',
  LOCAL_XDS: 'its workloads and policies would not be read',
};

/** What would make the proxy less strict, or idle, without anybody knowing, if it were passed over. */
function refuseUnsupported(env: Env): void {
  for (const [name, why] of Object.entries(because))
    if ((env[name] ?? '') !== '')
      throw new ConfigError(`${name}="${env[name]}" is not supported yet: ${why}; unset it`);
  const mode = env.PROXY_MODE ?? '';
  if (mode !== '' && mode.toLowerCase() !== 'shared')
    throw new ConfigError(
      `PROXY_MODE="${mode}" is not supported: pods are served by the node's proxy (shared)`,
    );
}

/** The kernel counts whole seconds, up to 32767. */
function keepAliveSeconds(read: SettingsReader, name: string): number {
  const seconds = Math.ceil(read.durationMs(name, 180_000) / 1000);
  if (seconds < 1 || seconds > 32_767)
    throw new ConfigError(`${name} is ${seconds} s; expected from 1s to 32767s`);
  return seconds;
}

/** `localhost:PORT`, or one loopback address: others could be asked by anybody. */
function dnsAddress(read: SettingsReader): { hosts: readonly string[]; port: number } {
  const text = read.text('ISTIO_META_DNS_PROXY_ADDR', 'localhost:15053');
  const parts = parseHostPort(text);
  const ip = parts === undefined ? undefined : parseIp(parts.host);
  if (parts !== undefined && parts.port > 0) {
    if (parts.host === 'localhost')
      return {
        hosts: read.flag('IPV6_ENABLED', true) ? ['127.0.0.1', '::1'] : ['127.0.0.1'],
        port: parts.port,
      };
    if (ip !== undefined && isLoopback(ip)) return { hosts: [ip], port: parts.port };
  }
  throw new ConfigError(
    `ISTIO_META_DNS_PROXY_ADDR="${text}" is neither localhost nor a loopback address with a port, such as localhost:15053`,
  );
}

/** Upstream leaves 5 s of a long grace period, or 1 s of a short one, for what comes after the drain. */
function drainDeadline(env: Env, read: SettingsReader): number {
  if ((env.CONNECTION_TERMINATION_DEADLINE ?? '') !== '')
    return read.durationMs('CONNECTION_TERMINATION_DEADLINE', 5000);
  const grace = read.number('TERMINATION_GRACE_PERIOD_SECONDS', 0);
  if (grace === 0) return 5000;
  return Math.max(1, grace > 10 ? grace - 5 : grace - 1) * 1000;
}

/**
 * ZTUNNEL_WORKER_THREADS: a number, `0` for all cores, or `N%`. Otherwise the CPU limit, and without one a quarter of
 * the cores, in any case no less than the CPU request. At least one: a worker of ours is an event loop of its own,
 * which upstream's two threads are not.
 */
function workerCount(env: Env, read: SettingsReader): number {
  const cores = availableParallelism();
  const value = env.ZTUNNEL_WORKER_THREADS ?? '';
  const percent = /^([0-9]{1,3})%$/.exec(value);
  if (percent !== null) return Math.max(1, Math.ceil((cores * Number(percent[1])) / 100));
  if (value !== '') {
    const number = read.number('ZTUNNEL_WORKER_THREADS', 0, 0, 256);
    return number === 0 ? cores : number;
  }
  const limit = Math.max(read.number('ZTUNNEL_CPU_LIMIT', 0), read.number('ZTUNNEL_RESOURCE_CPU_LIMIT', 0));
  const request = read.number('ZTUNNEL_RESOURCE_CPU_REQUEST', 0);
  return Math.max(1, request, limit > 0 ? limit : Math.ceil(cores / 4));
}
