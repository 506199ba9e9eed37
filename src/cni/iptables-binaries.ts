// Which of the two iptables of a machine is in use, found out once in the node's own network namespace and then used
// in every pod: rules of both kinds in one namespace act one after the other, and none sees the other's.
import { parseSaved, type Family } from '#/capture/index.ts';
import type { RunCommand } from '#/sys/index.ts';

export interface IptablesBinaries {
  readonly kind: 'nft' | 'legacy';
  save(family: Family): string;
  restore(family: Family): string;
}

type Kind = IptablesBinaries['kind'];
const other: Readonly<Record<Kind, Kind>> = { nft: 'legacy', legacy: 'nft' };

function binaries(kind: Kind, suffix: boolean): IptablesBinaries {
  const name = (family: Family, verb: string) =>
    `${family === 4 ? 'iptables' : 'ip6tables'}${suffix ? `-${kind}` : ''}-${verb}`;
  return { kind, save: (family) => name(family, 'save'), restore: (family) => name(family, 'restore') };
}

/**
 * Of the kinds installed: the one asked for; else the one in which the kubelet or kube-proxy left its mark; else the
 * only one that holds rules; else what `iptables` itself is. Throws if there is none, saying what to install.
 */
export async function findIptables(run: RunCommand, forced?: Kind): Promise<IptablesBinaries> {
  const version = await run(['iptables', '--version']);
  if (version.code !== 0) throw new Error(`iptables --version failed: ${version.stderr.trim()}`);
  const standard: Kind = version.stdout.includes('nf_tables') ? 'nft' : 'legacy';
  if (forced === standard) return binaries(standard, false);
  const saved = async (kind: Kind): Promise<string | undefined> => {
    try {
      const { code, stdout } = await run([binaries(kind, kind !== standard).save(4)]);
      return code === 0 ? stdout : undefined;
    } catch {
      return undefined; // not installed
    }
  };
  const second = await saved(other[standard]);
  if (forced !== undefined) {
    if (second === undefined)
      throw new Error(`FORCE_IPTABLES_BINARY=${forced}: iptables-${forced}-save cannot be run on this node`);
    return binaries(forced, true);
  }
  if (second === undefined) return binaries(standard, false);
  const first = (await saved(standard)) ?? '';
  const hinted = (text: string) => /^:KUBE-(IPTABLES-HINT|KUBELET-CANARY)\b/m.test(text);
  if (hinted(first) !== hinted(second))
    return hinted(first) ? binaries(standard, false) : binaries(other[standard], true);
  const holds = (text: string) => [...parseSaved(text).values()].some((table) => table.rules.length > 0);
  return holds(second) && !holds(first) ? binaries(other[standard], true) : binaries(standard, false);
}
