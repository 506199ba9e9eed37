// Names and addresses of the nodes, as kind lays them out. Every lab uses the same ones: they are visible only
// inside its own namespaces. Pure.
import type { IpFamily } from './lab-config.ts';

export interface NodePlan {
  readonly name: string;
  readonly index: number;
  readonly controlPlane: boolean;
  /** Underlay addresses, one per family, in the order of the lab's families. */
  readonly ips: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface AddressPlan {
  readonly families: readonly IpFamily[];
  readonly nodes: readonly NodePlan[];
  /** The only control-plane node. */
  readonly controlPlane: NodePlan;
  readonly serviceCidrs: readonly string[];
  readonly podCidrs: readonly string[];
  /** Service `kubernetes` in namespace default. */
  readonly apiServiceIps: readonly string[];
  readonly dnsServiceIps: readonly string[];
}

export const underlayPrefix = { IPv4: 16, IPv6: 64 } as const;
export const apiPort = 6443;
export const kubeletPort = 10250;
export const clusterDomain = 'cluster.local';

export const familyOf = (ip: string): IpFamily => (ip.includes(':') ? 'IPv6' : 'IPv4');

function nodeName(index: number): string {
  if (index === 0) return 'ambient-control-plane';
  return index === 1 ? 'ambient-worker' : `ambient-worker${index}`;
}

export function addressPlan(nodeCount: number, families: readonly IpFamily[]): AddressPlan {
  const pick = (v4: string, v6: string): string[] => families.map((family) => (family === 'IPv4' ? v4 : v6));
  const nodes = Array.from({ length: nodeCount }, (_, index): NodePlan => {
    const host = index + 2;
    return {
      name: nodeName(index),
      index,
      controlPlane: index === 0,
      ips: pick(`172.18.0.${host}`, `fd00:172:18::${host.toString(16)}`),
      podCidrs: pick(
        `10.244.${index}.0/24`,
        `fd00:10:244:${index === 0 ? '' : index.toString(16)}::/64`.replace(':::', '::'),
      ),
    };
  });
  return {
    families,
    nodes,
    controlPlane: nodes[0] as NodePlan,
    serviceCidrs: pick('10.96.0.0/12', 'fd00:10:96::/112'),
    podCidrs: pick('10.244.0.0/16', 'fd00:10:244::/56'),
    apiServiceIps: pick('10.96.0.1', 'fd00:10:96::1'),
    dnsServiceIps: pick('10.96.0.10', 'fd00:10:96::a'),
  };
}
