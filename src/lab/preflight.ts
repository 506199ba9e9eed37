// What a machine must have for a lab, looked at before anything is made. Every complaint says what to install.
import { accessSync, constants, existsSync } from 'node:fs';
import { cgroupRoot } from './cgroups.ts';
import { run, toolPath } from './command.ts';

const tools: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nft: 'nftables',
  iptables: 'iptables',
  ipset: 'ipset',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  script: 'bsdutils',
  curl: 'curl',
  tcpdump: 'tcpdump',
};

export interface Machine {
  readonly uid: number;
  hasTool(name: string): boolean;
  hasFile(path: string): boolean;
}

export const thisMachine: Machine = {
  uid: process.getuid?.() ?? 0,
  hasTool: (name) =>
    toolPath.split(':').some((dir) => {
      try {
        accessSync(`${dir}/${name}`, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  hasFile: existsSync,
};

/** One sentence that says what is missing; undefined if nothing is. */
export function missingParts(machine: Machine): string | undefined {
  if (machine.uid !== 0) return 'a lab makes network namespaces, which needs root: run this as root';
  const packages = Object.entries(tools)
    .filter(([tool]) => !machine.hasTool(tool))
    .map(([, name]) => name);
  if (!machine.hasFile('/usr/lib/cni/bridge') || !machine.hasFile('/usr/lib/cni/host-local'))
    packages.push('containernetworking-plugins');
  if (packages.length === 0) return undefined;
  return `the lab needs Debian packages that are not installed: apt-get install ${[...new Set(packages)].join(' ')}`;
}

/** Throws an Error with one sentence on what to do. Loads br_netfilter if the kernel has it as a module. */
export async function checkMachine(): Promise<void> {
  const missing = missingParts(thisMachine);
  if (missing !== undefined) throw new Error(missing);
  cgroupRoot();
  const bridgeFilter = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  if (!existsSync(bridgeFilter)) {
    await run(['modprobe', 'br_netfilter']);
    if (!existsSync(bridgeFilter))
      throw new Error(
        'the kernel has no br_netfilter, without which answers of services on the same node are lost: ' +
          'install the package kmod and run: modprobe br_netfilter',
      );
  }
}
