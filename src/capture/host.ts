// The node's own network namespace: traffic from a socket of the host to a pod of the mesh gets a link-local
// source address, which the rules in the pod let pass. That is how the kubelet's probes reach the application.
import type { Family } from './rules.ts';
import { canonicalRule, cleanupInput, type SavedRules } from './saved.ts';
import { ownChains } from './iptables.ts';
import type { CaptureSettings } from './settings.ts';

/** Names of the sets of pod addresses, with the pod's UID as comment of each entry. */
export const probeSets: Readonly<Record<Family, string>> = {
  4: 'istio-inpod-probes-v4',
  6: 'istio-inpod-probes-v6',
};

const chain = ownChains.postrouting;
const jump = `-j ${chain}`;

/** Any socket of the host qualifies, not only the kubelet's: iptables cannot tell them apart by program. */
export function hostRule(settings: CaptureSettings, family: Family): string {
  const address = family === 4 ? settings.probeAddressV4 : settings.probeAddressV6;
  return `-p tcp -m owner --socket-exists -m set --match-set ${probeSets[family]} dst -j SNAT --to-source ${address}`;
}

/** True if our chain has the one rule and POSTROUTING jumps there once, before anything else. */
export function hasHostRules(saved: SavedRules, settings: CaptureSettings, family: Family): boolean {
  const nat = saved.get('nat');
  if (nat === undefined) return false;
  const own = nat.rules.filter((rule) => rule.chain === chain);
  const base = nat.rules.filter((rule) => rule.chain === 'POSTROUTING');
  return (
    own.length === 1 &&
    canonicalRule(own[0]?.text ?? '') === canonicalRule(hostRule(settings, family)) &&
    base[0]?.text === jump &&
    base.filter((rule) => rule.text === jump).length === 1
  );
}

/**
 * Input for `iptables-restore --noflush` that puts chain and jump in place, whatever was there of ours. The jump
 * stands first: masquerading by other network plugins would otherwise take the packet.
 */
export function hostRestoreInput(saved: SavedRules, settings: CaptureSettings, family: Family): string {
  const removal = cleanupInput(saved, (name) => name === chain)
    .split('\n')
    .filter((line) => line !== '' && line !== 'COMMIT' && !line.startsWith('*'));
  return [
    '*nat',
    ...removal,
    `-N ${chain}`,
    `-A ${chain} ${hostRule(settings, family)}`,
    `-I POSTROUTING 1 ${jump}`,
    'COMMIT',
    '',
  ].join('\n');
}

export function hostCleanupInput(saved: SavedRules): string {
  return cleanupInput(saved, (name) => name === chain);
}

export interface ProbeEntry {
  readonly ip: string;
  readonly uid: string;
}

const uidShape = /^[A-Za-z0-9-]{1,64}$/;

/** Argument lists for `ipset`. */
export const ipset = {
  create: (family: Family) => [
    'ipset',
    'create',
    probeSets[family],
    'hash:ip',
    'family',
    family === 4 ? 'inet' : 'inet6',
    'comment',
    '-exist',
  ],
  /** An entry that is there gets the new comment. */
  add: (family: Family, { ip, uid }: ProbeEntry) => {
    if (!uidShape.test(uid)) throw new RangeError(`${JSON.stringify(uid)} is not a pod UID`);
    return ['ipset', 'add', probeSets[family], ip, 'comment', uid, '-exist'];
  },
  remove: (family: Family, ip: string) => ['ipset', 'del', probeSets[family], ip, '-exist'],
  list: (family: Family) => ['ipset', 'save', probeSets[family]],
  destroy: (family: Family) => ['ipset', 'destroy', probeSets[family]],
} as const;

/** Reads `ipset save`: entries that have no comment get an empty UID. */
export function parseIpset(text: string): readonly ProbeEntry[] {
  return [...text.matchAll(/^add \S+ (\S+)(?:.* comment "([^"]*)")?/gm)].map((match) => ({
    ip: match[1] as string,
    uid: match[2] ?? '',
  }));
}
