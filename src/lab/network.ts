// The wires of the lab: one namespace with a bridge (the switch), one per node, a veth pair between each node and
// the switch, and routes between the nodes' pod ranges. No link, route or rule is made in the host's namespace,
// and no way leads out of the switch. Every step looks first, so that the same call builds and repairs.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { familyOf, underlayPrefix, type AddressPlan, type NodePlan } from './address-plan.ts';
import { inNetns, must, run } from './command.ts';
import { isMounted } from './mounts.ts';
import { nodePaths, type LabPaths } from './paths.ts';

/** Makes a network namespace that is held by a bind mount at `path`. False if it is there already. */
export async function makeNetns(path: string): Promise<boolean> {
  if (isMounted(path, 'nsfs')) return false;
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path)) writeFileSync(path, '');
  await must(['unshare', `--net=${path}`, '/bin/sh', '-c', initNetns]);
  return true;
}

// No duplicate address detection: addresses are ours, and an address must not stay tentative for a second.
const initNetns = `ip link set lo up
for f in all default; do
  echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad
  echo 0 > /proc/sys/net/ipv6/conf/$f/accept_ra
done 2>/dev/null
exit 0`;

export async function removeNetns(path: string): Promise<void> {
  if (isMounted(path, 'nsfs')) await must(['umount', '--lazy', path]);
  if (existsSync(path)) await must(['rm', '-f', path]);
}

/** The folder of all namespaces and sockets: a tmpfs whose mounts and unmounts reach the pods' mount namespaces. */
export async function ensureRunDir(paths: LabPaths): Promise<void> {
  mkdirSync(paths.run, { recursive: true });
  if (!isMounted(paths.run, 'tmpfs'))
    await must(['mount', '-t', 'tmpfs', '-o', 'mode=0755', `aura-${paths.id}`, paths.run]);
  await must(['mount', '--make-shared', paths.run]);
  mkdirSync(paths.netnsDir, { recursive: true });
}

/** Settings inside a node: it routes, and traffic between pods on one bridge passes the service rules too. */
const nodeSettings = `set -e
cd /proc/sys/net
echo 1 > ipv4/ip_forward
echo 1 > ipv4/conf/all/forwarding
echo 0 > ipv4/conf/all/rp_filter
echo 0 > ipv4/conf/default/rp_filter
if [ -d ipv6 ]; then echo 1 > ipv6/conf/all/forwarding; echo 1 > ipv6/conf/default/forwarding; fi
for f in bridge-nf-call-iptables bridge-nf-call-ip6tables; do
  [ ! -e bridge/$f ] || echo 1 > bridge/$f
done
`;

const addressArgs = (ip: string): string[] =>
  familyOf(ip) === 'IPv6'
    ? [`${ip}/${underlayPrefix.IPv6}`, 'dev', 'eth0', 'nodad']
    : [`${ip}/${underlayPrefix.IPv4}`, 'dev', 'eth0'];

/** Commands for `ip -batch` inside the node: its address, the other nodes' pods, the services' range. */
export function nodeBatch(plan: AddressPlan, node: NodePlan): string {
  const lines = [
    'link set lo up',
    'link set eth0 up',
    ...node.ips.map((ip) => `address replace ${addressArgs(ip).join(' ')}`),
  ];
  for (const other of plan.nodes) {
    if (other === node) continue;
    other.podCidrs.forEach((cidr, family) =>
      lines.push(`route replace ${cidr} via ${other.ips[family]} dev eth0`),
    );
  }
  // The kernel looks for a route before the service rules turn the address into an endpoint's.
  plan.serviceCidrs.forEach((cidr, family) =>
    lines.push(`route replace ${cidr} dev eth0 src ${node.ips[family]}`),
  );
  return `${lines.join('\n')}\n`;
}

async function hasLink(netns: string, link: string): Promise<boolean> {
  const result = await run(inNetns(netns, ['ip', 'link', 'show', 'dev', link]));
  return result.code === 0;
}

async function ensureSwitch(paths: LabPaths): Promise<void> {
  await makeNetns(paths.switchNetns);
  if (!(await hasLink(paths.switchNetns, 'br0')))
    await must(
      inNetns(paths.switchNetns, [
        'ip',
        'link',
        'add',
        'br0',
        'type',
        'bridge',
        'forward_delay',
        '0',
        'mcast_snooping',
        '0',
      ]),
    );
  await must(inNetns(paths.switchNetns, ['ip', 'link', 'set', 'br0', 'up']));
}

async function ensureNode(paths: LabPaths, plan: AddressPlan, node: NodePlan): Promise<void> {
  const { netns, run: runDir, cniConf, cniBin, cniState } = nodePaths(paths, node.name);
  for (const dir of [runDir, cniConf, cniBin, cniState]) mkdirSync(dir, { recursive: true });
  await makeNetns(netns);
  const port = `node${node.index}`;
  // The pair is made and placed by one request to the kernel: either both ends exist, or none.
  if (!(await hasLink(netns, 'eth0')))
    await must(
      inNetns(paths.switchNetns, [
        'ip',
        'link',
        'add',
        port,
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        netns,
      ]),
    );
  await must(inNetns(paths.switchNetns, ['ip', '-batch', '-']), {
    input: `link set ${port} master br0\nlink set ${port} up\n`,
  });
  await must(inNetns(netns, ['/bin/sh', '-c', nodeSettings]));
  await must(inNetns(netns, ['ip', '-batch', '-']), { input: nodeBatch(plan, node) });
}

/** Builds what is missing of the switch and the nodes. Throws CommandError on the first thing that fails. */
export async function ensureNetwork(
  paths: LabPaths,
  plan: AddressPlan,
  progress: (text: string) => void = () => {},
): Promise<void> {
  await ensureRunDir(paths);
  await ensureSwitch(paths);
  for (const node of plan.nodes) {
    progress(`node ${node.name} (${node.ips.join(', ')})`);
    await ensureNode(paths, plan, node);
  }
}
