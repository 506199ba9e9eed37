// Records for tests, with every field that does not matter to the test filled in.
import type { Ip, SocketAddress } from '../src/kit/index.ts';
import {
  defaultLoadBalancing,
  emptyLocality,
  type GatewayAddress,
  type Policy,
  type PortMapping,
  type Service,
  type Workload,
} from '../src/model/index.ts';

export const ip = (text: string): Ip => text as Ip;

/** `10.0.0.1:80` or `[::1]:80`. */
export function at(text: string): SocketAddress {
  const colon = text.lastIndexOf(':');
  return { ip: ip(text.slice(0, colon).replace(/^\[|\]$/g, '')), port: Number(text.slice(colon + 1)) };
}

/** Ports as `{ 80: 8080 }`, service port to target port. */
export const ports = (map: Readonly<Record<number, number>>): PortMapping[] =>
  Object.entries(map).map(([servicePort, targetPort]) => ({ servicePort: Number(servicePort), targetPort }));

type WorkloadFields = Omit<Partial<Workload>, 'addresses' | 'services'> & {
  readonly addresses?: readonly string[];
  readonly services?: Readonly<Record<string, Readonly<Record<number, number>>>>;
};

/** A pod `ns/name`. */
export function aWorkload(name: string, fields: WorkloadFields = {}): Workload {
  const { addresses, services, ...rest } = fields;
  const namespace = rest.namespace ?? 'ns';
  return {
    kind: 'workload',
    uid: `cluster1//Pod/${namespace}/${name}`,
    name,
    namespace,
    addresses: (addresses ?? []).map(ip),
    hostname: '',
    network: '',
    protocol: 'TCP',
    networkMode: 'Standard',
    trustDomain: 'cluster.local',
    serviceAccount: 'default',
    node: 'node-1',
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 'deployment',
    workloadName: '',
    nativeTunnel: false,
    authorizationPolicies: [],
    status: 'Healthy',
    clusterId: 'Kubernetes',
    locality: emptyLocality,
    services: Object.fromEntries(Object.entries(services ?? {}).map(([key, map]) => [key, ports(map)])),
    capacity: 1,
    ...rest,
  };
}

type ServiceFields = Omit<Partial<Service>, 'addresses' | 'ports' | 'cidrAddresses' | 'loadBalancing'> & {
  /** `network/ip`, or an address of the network without a name. */
  readonly addresses?: readonly string[];
  /** `network/ip/length`. */
  readonly cidrAddresses?: readonly string[];
  readonly ports?: Readonly<Record<number, number>>;
  readonly loadBalancing?: Partial<Service['loadBalancing']>;
};

const networkAddress = (text: string) => {
  const slash = text.lastIndexOf('/');
  return { network: text.slice(0, Math.max(0, slash)), ip: ip(text.slice(slash + 1)) };
};

/** A service `ns/hostname`. */
export function aService(hostname: string, fields: ServiceFields = {}): Service {
  const { addresses, cidrAddresses, ports: map, loadBalancing, ...rest } = fields;
  return {
    kind: 'service',
    name: hostname.split('.')[0] as string,
    namespace: 'ns',
    hostname,
    addresses: (addresses ?? []).map(networkAddress),
    cidrAddresses: (cidrAddresses ?? []).map((text) => {
      const slash = text.lastIndexOf('/');
      const { network, ip: base } = networkAddress(text.slice(0, slash));
      return { network, base, length: Number(text.slice(slash + 1)) };
    }),
    ports: ports(map ?? { 80: 8080 }).map((mapping) => ({ ...mapping, appProtocol: 'UNKNOWN' })),
    subjectAltNames: [],
    ipFamilies: 'AUTOMATIC',
    loadBalancing: { ...defaultLoadBalancing, ...loadBalancing },
    canonical: false,
    visibility: 'PUBLIC',
    ingressUseWaypoint: false,
    weightedWaypoints: [],
    ...rest,
  };
}

/** A policy `ns/name` without rules. */
export function aPolicy(name: string, fields: Partial<Policy> = {}): Policy {
  return {
    name,
    namespace: 'ns',
    scope: 'WorkloadSelector',
    action: 'Deny',
    rules: [],
    dryRun: false,
    ...fields,
  };
}

/** A waypoint or gateway by address (`network/ip`, or an address alone) or by name (`ns/hostname`). */
export function gateway(text: string, hboneMtlsPort = 15008): GatewayAddress {
  const slash = text.lastIndexOf('/');
  const last = text.slice(slash + 1);
  const isAddress = last.includes(':') || /^[0-9.]+$/.test(last);
  return {
    destination: isAddress
      ? { kind: 'address', ...networkAddress(text) }
      : { kind: 'hostname', namespace: text.slice(0, slash), hostname: last },
    hboneMtlsPort,
  };
}

/** Numbers in [0, 1) that repeat for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
