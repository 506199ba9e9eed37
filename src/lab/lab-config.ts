// What a lab is asked to be: the options of `aura lab up`, checked, and kept in the lab's state file so that a
// later `up` repairs the same lab. Pure.

export type IpFamily = 'IPv4' | 'IPv6';

export interface MeshOptions {
  /** Run the node programs and the control plane at all. */
  readonly enabled: boolean;
  /** An executable in place of our ztunnel. */
  readonly ztunnel?: string;
  /** Where the ztunnels find xDS and certificates, if not at our control plane. */
  readonly xdsAddress?: string;
  readonly caAddress?: string;
  /** A PEM file, or what else ztunnel takes in XDS_ROOT_CA and CA_ROOT_CA. */
  readonly xdsRootCa?: string;
}

export interface LabConfig {
  readonly version: 1;
  readonly nodes: number;
  readonly families: readonly IpFamily[];
  readonly mesh: MeshOptions;
  /** The tour's own lab: the next tour may take it down. */
  readonly purpose?: 'demo';
  /** Port on 127.0.0.1 by which the host reaches the API; chosen at the first `up`. */
  readonly apiPort: number;
}

/** What the command line gave; undefined means "as it is, or the default". */
export interface LabRequest {
  readonly nodes?: number | undefined;
  readonly families?: readonly IpFamily[] | undefined;
  readonly mesh?: MeshOptions | undefined;
  readonly purpose?: 'demo';
}

export const maxNodes = 16;

export function parseFamilies(text: string): readonly IpFamily[] {
  switch (text) {
    case 'ipv4':
      return ['IPv4'];
    case 'ipv6':
      return ['IPv6'];
    case 'dual':
      return ['IPv4', 'IPv6'];
    default:
      throw new Error(`--ip-families ${text}: choose ipv4, ipv6 or dual`);
  }
}

export function parseNodes(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > maxNodes)
    throw new Error(`--nodes ${text}: choose a number from 1 to ${maxNodes}`);
  return count;
}

/**
 * The configuration for this `up`. A lab that exists keeps its shape: nodes and addresses are in every object
 * and every namespace. Throws an Error that says what differs.
 */
export function mergeRequest(
  existing: LabConfig | undefined,
  request: LabRequest,
  apiPort: number,
): LabConfig {
  if (existing === undefined)
    return {
      version: 1,
      nodes: request.nodes ?? 3,
      families: request.families ?? ['IPv4'],
      mesh: request.mesh ?? { enabled: true },
      ...(request.purpose === undefined ? {} : { purpose: request.purpose }),
      apiPort,
    };
  if (request.nodes !== undefined && request.nodes !== existing.nodes)
    throw new Error(
      `this lab has ${existing.nodes} nodes, not ${request.nodes}: run 'aura lab down' first, or leave --nodes out`,
    );
  if (request.families !== undefined && request.families.join() !== existing.families.join())
    throw new Error(
      `this lab speaks ${existing.families.join(' and ')}: run 'aura lab down' first, or leave --ip-families out`,
    );
  return { ...existing, mesh: request.mesh ?? existing.mesh };
}
