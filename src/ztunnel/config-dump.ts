// What /config_dump shows, in upstream's keys, so that `istioctl ztunnel-config` reads it.
import { formatCidr } from '#/kit/index.ts';
import {
  serviceKey,
  type GatewayAddress,
  type LoadBalancing,
  type Policy,
  type PolicyMatch,
  type Service,
  type StringMatch,
  type Workload,
} from '#/model/index.ts';
import type { MeshStore } from '#/state/index.ts';
import { configShown } from './config-shown.ts';
import type { ZtunnelConfig } from './config.ts';
import type { ConnectionReport } from './messages.ts';
import type { PodState } from './pods.ts';

export interface CertificateState {
  readonly identity: string;
  /** Available, Initializing, or `Unavailable: …`. */
  readonly state: string;
  readonly chain: readonly CertificateDump[];
  readonly roots: readonly CertificateDump[];
}

export interface CertificateDump {
  /** base64 of the PEM text. */
  readonly pem: string;
  readonly serialNumber: string;
  readonly validFrom: string;
  readonly expirationTime: string;
}

export interface DumpInput {
  readonly config: ZtunnelConfig;
  readonly version: string;
  readonly store: MeshStore;
  readonly pods: Iterable<PodState>;
  readonly connections: readonly ConnectionReport[];
  readonly certificates: readonly CertificateState[];
}

export function configDump(input: DumpInput): unknown {
  const { store } = input;
  return {
    workloads: Array.from(store.workloads(), workloadDump),
    services: Array.from(store.services(), (service) => serviceDump(service, store)),
    policies: Array.from(store.policies(), policyDump),
    stagedServices: Object.fromEntries(
      Array.from(store.stagedServices(), ([key, workloads]) => [
        key,
        Object.fromEntries(workloads.map((workload) => [workload.uid, endpointDump(workload, key)])),
      ]),
    ),
    staticConfig: { workloads: [], policies: [], services: [] },
    version: {
      version: input.version,
      gitRevision: 'unknown',
      rustVersion: `node ${process.versions.node}`,
      buildProfile: 'release',
      buildStatus: 'Clean',
      istioVersion: input.config.proxyMetadata.ISTIO_VERSION ?? 'unknown',
      cryptoProvider: `openssl ${process.versions.openssl}`,
    },
    config: configShown(input.config),
    certificates: input.certificates.map(({ identity, state, chain, roots }) => ({
      identity,
      state,
      certChain: chain,
      rootCerts: roots,
    })),
    workloadState: Object.fromEntries(
      Array.from(input.pods, (pod) => [pod.uid, podDump(pod, input.connections)]),
    ),
  };
}

function podDump(pod: PodState, connections: readonly ConnectionReport[]): unknown {
  const own = connections.filter((connection) => connection.pod === pod.uid);
  const side = (direction: ConnectionReport['direction']) =>
    own
      .filter((connection) => connection.direction === direction)
      .map(({ src, originalDst, actualDst, protocol }) => ({ src, originalDst, actualDst, protocol }));
  return {
    state: pod.state,
    connections: { inbound: side('inbound'), outbound: side('outbound') },
    info: { name: pod.info.name, namespace: pod.info.namespace, serviceAccount: pod.info.serviceAccount },
  };
}

function gatewayDump(gateway: GatewayAddress): unknown {
  const { destination } = gateway;
  const text =
    destination.kind === 'address'
      ? `${destination.network}/${destination.ip}`
      : `${destination.namespace}/${destination.hostname}`;
  return { destination: text, hboneMtlsPort: gateway.hboneMtlsPort };
}

/** What is empty is left out, as upstream does. */
function filled(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const empty = (value: unknown): boolean =>
    value === undefined || value === '' || value === false || (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !empty(value)));
}

function workloadDump(workload: Workload): unknown {
  const { waypoint, networkGateway, applicationTunnel } = workload;
  const locality = filled({ ...workload.locality });
  return {
    workloadIps: workload.addresses,
    protocol: workload.protocol,
    networkMode: workload.networkMode,
    name: workload.name,
    namespace: workload.namespace,
    status: workload.status,
    clusterId: workload.clusterId,
    capacity: workload.capacity,
    workloadType: workload.workloadType,
    ...filled({
      waypoint: waypoint && gatewayDump(waypoint),
      networkGateway: networkGateway && gatewayDump(networkGateway),
      uid: workload.uid,
      trustDomain: workload.trustDomain,
      serviceAccount: workload.serviceAccount,
      network: workload.network,
      workloadName: workload.workloadName,
      canonicalName: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      hostname: workload.hostname,
      node: workload.node,
      nativeTunnel: workload.nativeTunnel,
      applicationTunnel: applicationTunnel && {
        protocol: applicationTunnel.protocol,
        port: applicationTunnel.port === 0 ? null : applicationTunnel.port,
      },
      authorizationPolicies: workload.authorizationPolicies,
      locality: Object.keys(locality).length === 0 ? undefined : locality,
      services: Object.keys(workload.services),
    }),
  };
}

function ports(
  list: readonly { readonly servicePort: number; readonly targetPort: number }[],
): Record<string, number> {
  return Object.fromEntries(list.map(({ servicePort, targetPort }) => [String(servicePort), targetPort]));
}

function endpointDump(workload: Workload, key: string): unknown {
  return { workloadUid: workload.uid, port: ports(workload.services[key] ?? []), status: workload.status };
}

function serviceDump(service: Service, store: MeshStore): unknown {
  const key = serviceKey(service);
  const { loadBalancing } = service;
  return {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.addresses.map(({ network, ip }) => `${network}/${ip}`),
    ...(service.cidrAddresses.length === 0
      ? {}
      : {
          cidrVips: service.cidrAddresses.map(({ network, base, length }) => `${network}/${base}/${length}`),
        }),
    ports: ports(service.ports),
    endpoints: Object.fromEntries(
      Array.from(store.members(key), (workload) => [workload.uid, endpointDump(workload, key)]),
    ),
    subjectAltNames: service.subjectAltNames,
    ...(service.waypoint === undefined ? {} : { waypoint: gatewayDump(service.waypoint) }),
    ...(service.weightedWaypoints.length === 0
      ? {}
      : {
          weightedWaypoints: service.weightedWaypoints.map(({ destination, weight }) => ({
            destination: gatewayDump(destination),
            weight,
          })),
        }),
    ...filled({
      loadBalancer: loadBalancerDump(loadBalancing),
      ipFamilies: familyNames[service.ipFamilies],
    }),
    canonical: service.canonical,
    visibility: capitalized(service.visibility),
  };
}

const familyNames = { AUTOMATIC: undefined, IPV4_ONLY: 'IPv4', IPV6_ONLY: 'IPv6', DUAL: 'Dual' } as const;

/** `ONLY_HEALTHY`: `OnlyHealthy`. */
const capitalized = (name: string): string =>
  name
    .split('_')
    .map((word) => word.slice(0, 1) + word.slice(1).toLowerCase())
    .join('');

/** Absent if it says nothing that is not the default. */
function loadBalancerDump({ mode, routingPreference, healthPolicy }: LoadBalancing): unknown {
  if (mode === 'UNSPECIFIED' && routingPreference.length === 0 && healthPolicy === 'ONLY_HEALTHY')
    return undefined;
  return {
    routingPreferences: routingPreference.map(capitalized),
    mode: mode === 'UNSPECIFIED' ? 'Standard' : capitalized(mode),
    healthPolicy: capitalized(healthPolicy),
  };
}

function stringMatch(match: StringMatch): unknown {
  switch (match.kind) {
    case 'exact':
      return { Exact: match.value };
    case 'prefix':
      return { Prefix: match.value };
    case 'suffix':
      return { Suffix: match.value };
    case 'presence':
      // An object here, too: istioctl reads none of the dump if it is anything else.
      return { Presence: [] };
  }
}

function matchDump(match: PolicyMatch): unknown {
  const shown: Record<string, unknown> = {};
  const put = (name: string, list: readonly unknown[]): void => {
    if (list.length > 0) shown[name] = list;
  };
  put('namespaces', match.namespaces.map(stringMatch));
  put('notNamespaces', match.notNamespaces.map(stringMatch));
  put('serviceAccounts', match.serviceAccounts);
  put('notServiceAccounts', match.notServiceAccounts);
  put('principals', match.principals.map(stringMatch));
  put('notPrincipals', match.notPrincipals.map(stringMatch));
  put('sourceIps', match.sourceIps.map(formatCidr));
  put('notSourceIps', match.notSourceIps.map(formatCidr));
  put('destinationIps', match.destinationIps.map(formatCidr));
  put('notDestinationIps', match.notDestinationIps.map(formatCidr));
  put('destinationPorts', match.destinationPorts);
  put('notDestinationPorts', match.notDestinationPorts);
  return shown;
}

function policyDump(policy: Policy): unknown {
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: policy.scope,
    action: policy.action,
    rules: policy.rules.map((rule) => rule.clauses.map((clause) => clause.matches.map(matchDump))),
    dryRun: policy.dryRun,
  };
}
