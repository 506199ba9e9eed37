// Which of the two iptables of a machine is in use, found out once in the node's own network namespace and then used
// in every pod: rules of both kinds in one namespace act one after the other, and none sees the other's.
import type { Family } from '#/capture/index.ts';
import type { RunCommand } from '#/sys/index.ts';

type Kind = 'nft' | 'legacy';

export interface IptablesBinaries {
  readonly kind: Kind;
  command(family: Family): string;
  save(family: Family): string;
  restore(family: Family): string;
}

const other: Readonly<Record<Kind, Kind>> = { nft: 'legacy', legacy: 'nft' };

function binaries(kind: Kind, suffix: boolean): IptablesBinaries {
  const command = (family: Family) => `${family === 4 ? 'iptables' : 'ip6tables'}${suffix ? `-${kind}` : ''}`;
  return {
    kind,
    command,
    save: (family) => `${command(family)}-save`,
    restore: (family) => `${command(family)}-restore`,
  };
}

/** Chains in which the kubelet or kube-proxy leave their mark. */
const marks = ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY'];
/** Where rules begin. Not all of them are read: kube-proxy's are megabytes on a large cluster. */
const baseChains = [
  ['nat', 'PREROUTING'],
  ['nat', 'POSTROUTING'],
  ['nat', 'OUTPUT'],
  ['filter', 'INPUT'],
  ['filter', 'FORWARD'],
  ['filter', 'OUTPUT'],
] as const;

/**
 * Of the kinds installed: the one asked for; else the one in which the kubelet or kube-proxy left its mark; else the
 * only one that holds rules; else what `iptables` itself is. Throws if there is none, saying what to install.
 */
export async function findIptables(run: RunCommand, forced?: Kind): Promise<IptablesBinaries> {
  const version = await run(['iptables', '--version']);
  if (version.code !== 0) throw new Error(`iptables --version failed: ${version.stderr.trim()}`);
  const standard: Kind = version.stdout.includes('nf_tables') ? 'nft' : 'legacy';
  const first = binaries(standard, false);
  if (forced === standard) return first;
  const second = binaries(other[standard], true);
  const installed = await run([second.command(4), '--version']).then(
    ({ code }) => code === 0,
    () => false,
  );
  if (forced !== undefined) {
    if (installed) return second;
    throw new Error(`FORCE_IPTABLES_BINARY=${forced}: ${second.command(4)} cannot be run on this node`);
  }
  if (!installed) return first;
  const [mine, theirs] = [await inspect(run, first), await inspect(run, second)];
  if (mine.marked !== theirs.marked) return mine.marked ? first : second;
  return theirs.holds && !mine.holds ? second : first;
}

async function inspect(
  run: RunCommand,
  { kind, command }: IptablesBinaries,
): Promise<{ marked: boolean; holds: boolean }> {
  // To ask legacy iptables for a table that is not there would make it.
  const names = kind === 'legacy' ? (await run(['cat', '/proc/net/ip_tables_names'])).stdout : undefined;
  const list = async (table: string, chain: string): Promise<string | undefined> => {
    if (names?.split('\n').includes(table) === false) return undefined;
    const { code, stdout } = await run([command(4), '-w', '30', '-t', table, '-S', chain]);
    return code === 0 ? stdout : undefined;
  };
  let marked = false;
  for (const chain of marks) marked ||= (await list('mangle', chain)) !== undefined;
  let holds = false;
  for (const [table, chain] of baseChains) holds ||= /^-A /m.test((await list(table, chain)) ?? '');
  return { marked, holds };
}
