// Random but valid records, for round trips and as seeds.
import { cidr, formatIp } from '../src/kit/index.ts';
import {
  tunnelProtocols,
  type GatewayAddress,
  type Policy,
  type PolicyMatch,
  type PortMapping,
  type Service,
  type StringMatch,
  type Workload,
} from '../src/model/index.ts';
import type { Random } from './random.ts';

const words = [
  'a',
  'web',
  'cart',
  'ambient-demo',
  'cluster.local',
  'é',
  '日本',
  'x'.repeat(63),
  '*',
  '//',
  ' ',
] as const;

const word = (random: Random): string => random.pick(words);
const maybeEmpty = (random: Random): string => (random.oneIn(3) ? '' : word(random));
const list = <T>(random: Random, make: () => T): T[] => Array.from({ length: random.below(4) }, make);
const ip = (random: Random) => formatIp(random.bytes(random.pick([4, 16])));
const port = (random: Random): number => random.pick([0, 1, 80, 15008, 65535, random.below(65536)]);

const mapping = (random: Random): PortMapping => ({ servicePort: port(random), targetPort: port(random) });

const gateway = (random: Random): GatewayAddress => ({
  destination: random.oneIn(2)
    ? { kind: 'address', network: maybeEmpty(random), ip: ip(random) }
    : { kind: 'hostname', namespace: maybeEmpty(random), hostname: word(random) },
  hboneMtlsPort: port(random),
});

export function randomWorkload(random: Random): Workload {
  return {
    kind: 'workload',
    uid: word(random),
    name: maybeEmpty(random),
    namespace: maybeEmpty(random),
    addresses: list(random, () => ip(random)),
    hostname: maybeEmpty(random),
    network: maybeEmpty(random),
    protocol: random.pick(tunnelProtocols),
    networkMode: random.pick(['Standard', 'HostNetwork']),
    trustDomain: word(random),
    serviceAccount: word(random),
    node: maybeEmpty(random),
    canonicalName: maybeEmpty(random),
    canonicalRevision: maybeEmpty(random),
    workloadType: random.pick(['deployment', 'cronjob', 'pod', 'job']),
    workloadName: maybeEmpty(random),
    nativeTunnel: random.oneIn(2),
    authorizationPolicies: list(random, () => word(random)),
    status: random.pick(['Healthy', 'Unhealthy']),
    clusterId: word(random),
    locality: { region: maybeEmpty(random), zone: maybeEmpty(random), subzone: maybeEmpty(random) },
    services: Object.fromEntries(
      list(random, () => [`${maybeEmpty(random)}/${word(random)}`, list(random, () => mapping(random))]),
    ),
    capacity: random.pick([0, 1, 2, 2 ** 32 - 1]),
    ...(random.oneIn(2) && { waypoint: gateway(random) }),
    ...(random.oneIn(2) && { networkGateway: gateway(random) }),
    ...(random.oneIn(2) && {
      applicationTunnel: { protocol: random.pick(['NONE', 'PROXY']), port: port(random) },
    }),
  };
}

export function randomService(random: Random): Service {
  return {
    kind: 'service',
    name: maybeEmpty(random),
    namespace: maybeEmpty(random),
    hostname: word(random),
    addresses: list(random, () => ({ network: maybeEmpty(random), ip: ip(random) })),
    cidrAddresses: list(random, () => {
      const { base, length } = range(random);
      return { network: maybeEmpty(random), base: formatIp(base), length };
    }),
    ports: list(random, () => ({
      ...mapping(random),
      appProtocol: random.pick(['UNKNOWN', 'HTTP11', 'HTTP2', 'GRPC', 'TCP', 'TLS']),
    })),
    subjectAltNames: list(random, () => word(random)),
    ipFamilies: random.pick(['AUTOMATIC', 'IPV4_ONLY', 'IPV6_ONLY', 'DUAL']),
    loadBalancing: {
      mode: random.pick(['UNSPECIFIED', 'STRICT', 'FAILOVER', 'PASSTHROUGH']),
      routingPreference: list(random, () =>
        random.pick(['REGION', 'ZONE', 'SUBZONE', 'NODE', 'CLUSTER', 'NETWORK']),
      ),
      healthPolicy: random.pick(['ONLY_HEALTHY', 'ALLOW_ALL']),
    },
    canonical: random.oneIn(2),
    visibility: random.pick(['PUBLIC', 'NAMESPACE']),
    ingressUseWaypoint: random.oneIn(2),
    weightedWaypoints: list(random, () => ({ destination: gateway(random), weight: random.below(101) })),
    ...(random.oneIn(2) && { waypoint: gateway(random) }),
  };
}

function range(random: Random) {
  const size = random.pick([4, 16]);
  return cidr(random.bytes(size), random.below(size * 8 + 1));
}

function stringMatch(random: Random): StringMatch {
  const kind = random.pick(['exact', 'prefix', 'suffix', 'presence'] as const);
  return kind === 'presence' ? { kind } : { kind, value: maybeEmpty(random) };
}

function match(random: Random): PolicyMatch {
  const strings = () => list(random, () => stringMatch(random));
  const accounts = () =>
    list(random, () => ({ namespace: maybeEmpty(random), serviceAccount: word(random) }));
  const ranges = () => list(random, () => range(random));
  const ports = () => list(random, () => port(random));
  return {
    namespaces: strings(),
    notNamespaces: strings(),
    serviceAccounts: accounts(),
    notServiceAccounts: accounts(),
    principals: strings(),
    notPrincipals: strings(),
    sourceIps: ranges(),
    notSourceIps: ranges(),
    destinationIps: ranges(),
    notDestinationIps: ranges(),
    destinationPorts: ports(),
    notDestinationPorts: ports(),
  };
}

export function randomPolicy(random: Random): Policy {
  return {
    name: word(random),
    namespace: maybeEmpty(random),
    scope: random.pick(['Global', 'Namespace', 'WorkloadSelector']),
    action: random.pick(['Allow', 'Deny']),
    rules: list(random, () => ({
      clauses: list(random, () => ({ matches: list(random, () => match(random)) })),
    })),
    dryRun: random.oneIn(2),
  };
}
