// The configuration of the control plane, from a map of environment variables and from flags. Names and defaults are
// upstream's; those of our own begin with AURA_.
import { logLevels, type LogLevel } from '#/kit/index.ts';
import { defaultSettings, type MeshSettings } from '#/translate/index.ts';

export interface ControlPlaneConfig {
  /** File; undefined: the pod's own service account. */
  readonly kubeconfig: string | undefined;
  /** Where our own objects are (Secret, Leases), and the root namespace of the mesh unless it says otherwise. */
  readonly namespace: string;
  /** Unique per replica. */
  readonly podName: string;
  readonly revision: string;
  readonly mesh: MeshSettings;
  /** What was set by flag or environment, so that the mesh's ConfigMap does not overrule it. */
  readonly given: { readonly trustDomain: boolean; readonly rootNamespace: boolean };
  readonly listen: {
    /** Address to bind, `::` for all. */
    readonly host: string;
    /** 0: any free port. Undefined: not served. */
    readonly plain: number | undefined;
    readonly tls: number;
    readonly monitoring: number;
    readonly ready: number;
  };
  readonly serving: {
    /** DNS names of our own certificate, beside the usual ones. */
    readonly dnsNames: readonly string[];
    readonly ips: readonly string[];
  };
  readonly ca: {
    readonly tokenAudiences: readonly string[];
    /** `ns/sa` of proxies that may ask for the identities of their node's pods. */
    readonly trustedNodeAccounts: readonly string[];
    readonly defaultTtlSeconds: number;
    readonly maxTtlSeconds: number;
    readonly rootTtlSeconds: number;
    /** Directory of plug-in certificates; used when it has ca-cert.pem or tls.crt. */
    readonly directory: string;
    readonly multiRoot: boolean;
    /** Signer of CertificateSigningRequests that signs in place of our own CA. */
    readonly kubernetesSigner: string | undefined;
    /** The roots of that signer: the first of these files that is there. */
    readonly externalRootFiles: readonly string[];
    /** The roots are told by a ClusterTrustBundle instead of ConfigMaps. */
    readonly trustBundle: boolean;
    /** How many requests are signed at once, and how many may wait. */
    readonly concurrency: number;
    readonly queue: number;
    /** Requests per second of one caller, with a burst of ten seconds' worth. 0: unlimited. */
    readonly requestsPerSecond: number;
  };
  readonly xds: {
    readonly debounceFirstMs: number;
    readonly debounceAfterMs: number;
    readonly debounceMaxMs: number;
    readonly identityCheck: boolean;
    readonly maxReceiveBytes: number;
    readonly maxConnections: number;
    readonly maxConnectionAgeMs: number;
  };
  /** The Deployments of waypoints. */
  readonly gateways: {
    readonly deploy: boolean;
    readonly makeClass: boolean;
    readonly image: string;
    /** `https://host:port` at which waypoints find xDS and the CA. */
    readonly xdsAddress: string;
    readonly caAddress: string;
  };
  /** How long the start waits for clusters that do not answer. */
  readonly remoteClusterTimeoutMs: number;
  readonly writeStatus: boolean;
  readonly debugAuth: boolean;
  readonly drainMs: number;
  readonly log: { readonly level: LogLevel; readonly format: 'plain' | 'json' };
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Flags of the command; a flag wins over the environment. */
export interface ControlPlaneFlags {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly clusterId?: string;
  readonly trustDomain?: string;
  readonly domain?: string;
  readonly host?: string;
  readonly grpcPort?: string;
  readonly secureGrpcPort?: string;
  readonly monitoringPort?: string;
  readonly httpPort?: string;
  readonly servingName?: readonly string[];
  readonly servingIp?: readonly string[];
  readonly caDir?: string;
  readonly waypointImage?: string;
  readonly upstreamCompat?: boolean;
  readonly logLevel?: string;
  readonly logFormat?: string;
}

/** Go's duration: `100ms`, `10s`, `1h30m`. Milliseconds; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  if (!/^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+$/.test(text)) return text === '0' ? 0 : undefined;
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9.]+)(ms|s|m|h)/g))
    sum += Number(amount) * (units[unit as string] as number);
  return sum;
}

class Reader {
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  text(name: string, otherwise: string): string {
    const value = this.#env[name];
    return value === undefined || value === '' ? otherwise : value;
  }

  boolean(name: string, otherwise: boolean): boolean {
    const value = this.text(name, String(otherwise)).toLowerCase();
    if (['true', '1', 't'].includes(value)) return true;
    if (['false', '0', 'f'].includes(value)) return false;
    throw new TypeError(`${name}="${value}" is not a boolean`);
  }

  duration(name: string, otherwise: number): number {
    const value = this.#env[name];
    if (value === undefined || value === '') return otherwise;
    const parsed = parseDuration(value);
    if (parsed === undefined)
      throw new TypeError(`${name}="${value}" is not a duration such as 100ms, 10s or 24h`);
    return parsed;
  }

  number(name: string, otherwise: number): number {
    const value = this.text(name, String(otherwise));
    if (!/^[0-9]+(?:\.[0-9]+)?$/.test(value)) throw new TypeError(`${name}="${value}" is not a number`);
    return Number(value);
  }
}

function port(name: string, value: string | undefined, otherwise: number): number {
  if (value === undefined || value === '') return otherwise;
  if (!/^[0-9]{1,5}$/.test(value) || Number(value) > 65535)
    throw new TypeError(`${name}: "${value}" is not a port from 0 to 65535`);
  return Number(value);
}

function kubernetesSigner(read: Reader): string | undefined {
  const kind = read.text('EXTERNAL_CA', '');
  if (kind === '') return undefined;
  if (kind !== 'ISTIOD_RA_KUBERNETES_API')
    throw new TypeError(`EXTERNAL_CA="${kind}" is not ISTIOD_RA_KUBERNETES_API, the only one there is`);
  const signer = read.text('K8S_SIGNER', '');
  if (!/^[^/]+\/[^/]+$/.test(signer))
    throw new TypeError(`K8S_SIGNER="${signer}" is not a signer's name such as example.com/mesh`);
  return signer;
}

const list = (value: string): readonly string[] =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

function logLevel(value: string): LogLevel {
  if (!(logLevels as readonly string[]).includes(value))
    throw new TypeError(`log level "${value}" is not one of ${logLevels.join(', ')}`);
  return value as LogLevel;
}

/** Throws TypeError that names the variable or flag. */
export function parseControlPlaneConfig(env: Environment, flags: ControlPlaneFlags = {}): ControlPlaneConfig {
  const read = new Reader(env);
  const namespace = flags.namespace ?? read.text('POD_NAMESPACE', 'istio-system');
  const kubeconfig = flags.kubeconfig ?? read.text('KUBECONFIG', '');
  const revision = read.text('REVISION', 'default');
  const xdsAddress = read.text(
    'WAYPOINT_XDS_ADDRESS',
    `https://istiod${revision === 'default' ? '' : `-${revision}`}.${namespace}.svc:15012`,
  );
  return {
    kubeconfig: kubeconfig === '' ? undefined : kubeconfig,
    namespace,
    // Two replicas of one name would both believe that they lead.
    podName: read.text('POD_NAME', '') || `istiod-${crypto.randomUUID().slice(0, 8)}`,
    revision,
    mesh: {
      ...defaultSettings,
      clusterId: flags.clusterId ?? read.text('CLUSTER_ID', 'Kubernetes'),
      clusterDomain: flags.domain ?? read.text('CLUSTER_DOMAIN', 'cluster.local'),
      trustDomain: flags.trustDomain ?? read.text('TRUST_DOMAIN', 'cluster.local'),
      rootNamespace: read.text('ROOT_NAMESPACE', namespace),
      systemNamespace: namespace,
      upstreamCompat: flags.upstreamCompat ?? read.boolean('AURA_UPSTREAM_COMPAT', false),
      dryRunPolicies: read.boolean('AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY', false),
      autoAllowWaypoints: read.boolean('PILOT_AUTO_ALLOW_WAYPOINT_POLICY', false),
      autoAllocateIps: read.boolean('PILOT_ENABLE_IP_AUTOALLOCATE', true),
      ingressWaypoints: read.boolean('ENABLE_INGRESS_WAYPOINT_ROUTING', true),
      multiNetwork: read.boolean('AMBIENT_ENABLE_MULTI_NETWORK', false),
      servicesSelectWorkloadEntries: read.boolean('PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES', true),
      serviceEntriesSelectPods: read.boolean('PILOT_ENABLE_SERVICEENTRY_SELECT_PODS', true),
    },
    given: {
      trustDomain: (flags.trustDomain ?? env['TRUST_DOMAIN'] ?? '') !== '',
      rootNamespace: (env['ROOT_NAMESPACE'] ?? '') !== '',
    },
    listen: {
      host: flags.host ?? read.text('AURA_LISTEN_HOST', '::'),
      plain: flags.grpcPort === 'off' ? undefined : port('--grpc-port', flags.grpcPort, 15010),
      tls: port('--secure-grpc-port', flags.secureGrpcPort, 15012),
      monitoring: port('--monitoring-port', flags.monitoringPort, 15014),
      ready: port('--http-port', flags.httpPort, 8080),
    },
    serving: {
      dnsNames: [...list(read.text('ISTIOD_CUSTOM_HOST', '')), ...(flags.servingName ?? [])],
      ips: [...list(read.text('AURA_SERVING_IPS', '')), ...(flags.servingIp ?? [])],
    },
    ca: {
      tokenAudiences: list(read.text('TOKEN_AUDIENCES', 'istio-ca')),
      trustedNodeAccounts: list(read.text('CA_TRUSTED_NODE_ACCOUNTS', `${namespace}/ztunnel`)),
      defaultTtlSeconds: read.duration('DEFAULT_WORKLOAD_CERT_TTL', 24 * 3_600_000) / 1000,
      maxTtlSeconds: read.duration('MAX_WORKLOAD_CERT_TTL', 90 * 24 * 3_600_000) / 1000,
      rootTtlSeconds: read.duration('CITADEL_SELF_SIGNED_CA_CERT_TTL', 3650 * 24 * 3_600_000) / 1000,
      directory: flags.caDir ?? read.text('ROOT_CA_DIR', './etc/cacerts'),
      multiRoot: read.boolean('ISTIO_MULTIROOT_MESH', false),
      kubernetesSigner: kubernetesSigner(read),
      externalRootFiles: [
        read.text('AURA_EXTERNAL_CA_ROOT', './etc/external-ca-cert/root-cert.pem'),
        '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      ],
      trustBundle: read.boolean('ENABLE_CLUSTER_TRUST_BUNDLE_API', false),
      concurrency: read.number('AURA_CA_CONCURRENCY', 8),
      queue: read.number('AURA_CA_QUEUE', 1000),
      requestsPerSecond: read.number('AURA_CA_REQUESTS_PER_SECOND', 100),
    },
    xds: {
      debounceFirstMs: read.duration('AURA_DEBOUNCE_FIRST', 10),
      debounceAfterMs: read.duration('PILOT_DEBOUNCE_AFTER', 100),
      debounceMaxMs: read.duration('PILOT_DEBOUNCE_MAX', 10_000),
      identityCheck: read.boolean('PILOT_ENABLE_XDS_IDENTITY_CHECK', true),
      maxReceiveBytes: read.number('ISTIO_GPRC_MAXRECVMSGSIZE', 32 * 1024 * 1024),
      maxConnections: read.number('AURA_XDS_MAX_CONNECTIONS', 10_000),
      maxConnectionAgeMs: read.duration('AURA_XDS_MAX_CONNECTION_AGE', 30 * 60_000),
    },
    gateways: {
      deploy: read.boolean('PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER', true),
      makeClass: read.boolean('PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER', true),
      image: flags.waypointImage ?? read.text('WAYPOINT_IMAGE', 'aura/aura'),
      xdsAddress,
      caAddress: read.text('WAYPOINT_CA_ADDRESS', xdsAddress),
    },
    remoteClusterTimeoutMs: read.duration('PILOT_REMOTE_CLUSTER_TIMEOUT', 30_000),
    writeStatus: read.boolean('AMBIENT_ENABLE_STATUS', true),
    debugAuth: read.boolean('ENABLE_DEBUG_ENDPOINT_AUTH', true),
    drainMs: read.duration('AURA_DRAIN', 5000),
    log: {
      level: logLevel(flags.logLevel ?? read.text('AURA_LOG_LEVEL', 'info')),
      format: (flags.logFormat ?? read.text('LOG_FORMAT', 'plain')) === 'json' ? 'json' : 'plain',
    },
  };
}
