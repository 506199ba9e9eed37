// The records that stand for several clusters: a service with the addresses of all of them, and one workload for all
// that a service has on another network.
import { parseIp } from '#/kit/index.ts';
import { emptyLocality, serviceKey } from '#/model/index.ts';
import type { GatewayAddress, Service, Workload } from '#/model/index.ts';
import { compareText } from './object.ts';
import type { NetworkGateway } from './translation.ts';

/** Names a gateway's Gateway object and address: `ns/name/address`. */
export const sourceOf = ({ namespace, name, address }: NetworkGateway): string =>
  `${namespace}/${name}/${address}`;

function gatewayAddress(network: string, address: string, port: number, namespace: string): GatewayAddress {
  const ip = parseIp(address);
  return {
    destination:
      ip === undefined
        ? { kind: 'hostname', namespace, hostname: address }
        : { kind: 'address', network, ip },
    hboneMtlsPort: port,
  };
}

/** `sharing`: the service as each cluster has it. `names`: all that its workloads may be known by. */
export function mergedService(
  base: Service,
  sharing: readonly Service[],
  names: ReadonlySet<string>,
): Service {
  if (sharing.length < 2 && names.size === base.subjectAltNames.length) return base;
  return {
    ...base,
    ...(sharing.length < 2 ? {} : addressesOf(sharing)),
    subjectAltNames: [...names].sort(compareText),
  };
}

/** Of all that a service has behind a gateway. */
export interface FarCapacity {
  readonly all: number;
  readonly healthy: number;
}

export function withCapacityOf(
  { capacity, status }: Workload,
  { all, healthy }: FarCapacity = { all: 0, healthy: 0 },
): FarCapacity {
  const own = Math.max(1, capacity);
  return { all: all + own, healthy: status === 'Healthy' ? healthy + own : healthy };
}

export function farWorkload(
  service: Service,
  gateway: NetworkGateway,
  { all, healthy }: FarCapacity,
  trustDomain: string,
): Workload {
  const { network, address, port } = gateway;
  const key = serviceKey(service);
  const uid = `${network}/SplitHorizonWorkload/${sourceOf(gateway)}/${key}`;
  return {
    kind: 'workload',
    uid,
    name: uid,
    namespace: service.namespace,
    addresses: [],
    hostname: '',
    network,
    protocol: 'HBONE',
    networkMode: 'Standard',
    trustDomain,
    serviceAccount: 'default',
    node: '',
    canonicalName: '',
    canonicalRevision: '',
    workloadType: 'pod',
    workloadName: '',
    nativeTunnel: false,
    authorizationPolicies: [],
    // Upstream counts what is not ready, too, and never calls it unhealthy; then nobody fails over from there.
    status: healthy > 0 ? 'Healthy' : 'Unhealthy',
    clusterId: gateway.clusterId,
    locality: emptyLocality,
    services: {
      // The far side resolves the name again; a port that is named there has no number here.
      [key]: service.ports.map(({ servicePort, targetPort }) => ({
        servicePort,
        targetPort: targetPort === 0 ? servicePort : targetPort,
      })),
    },
    capacity: healthy > 0 && service.loadBalancing.healthPolicy !== 'ALLOW_ALL' ? healthy : all,
    networkGateway: gatewayAddress(network, address, port, gateway.namespace),
  };
}

/** The addresses of all clusters, each on its own network. */
function addressesOf(records: readonly Service[]): Pick<Service, 'addresses' | 'cidrAddresses'> {
  const addresses = new Map(
    records.flatMap((record) => record.addresses.map((one) => [`${one.network}/${one.ip}`, one])),
  );
  const ranges = new Map(
    records.flatMap((record) =>
      record.cidrAddresses.map((one) => [`${one.network}/${one.base}/${one.length}`, one]),
    ),
  );
  const sorted = <T>(map: ReadonlyMap<string, T>): readonly T[] =>
    [...map].sort(([a], [b]) => compareText(a, b)).map(([, value]) => value);
  return { addresses: sorted(addresses), cidrAddresses: sorted(ranges) };
}
