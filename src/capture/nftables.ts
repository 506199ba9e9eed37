// The same rules for nft: one script is one transaction, so replacing them needs no guardrail and no clean-up.
import { bindsFamily, captureFamilies, podRules, type Action, type Match, type Rule } from './rules.ts';
import { probeSets, type ProbeEntry } from './host.ts';
import type { Family } from './rules.ts';
import type { CaptureSettings, Mark } from './settings.ts';

export const nftTables = {
  nat: 'istio-ambient-nat',
  mangle: 'istio-ambient-mangle',
  raw: 'istio-ambient-raw',
} as const;
type NftTable = keyof typeof nftTables;
type PodHook = 'prerouting' | 'output';

// `route` makes the kernel choose the route again after the mark has changed, which mangle OUTPUT does by itself.
const baseChain: Readonly<Record<NftTable, Readonly<Record<PodHook, string>>>> = {
  nat: {
    prerouting: 'type nat hook prerouting priority -100',
    output: 'type nat hook output priority -100',
  },
  mangle: {
    prerouting: 'type filter hook prerouting priority -150',
    output: 'type route hook output priority -150',
  },
  raw: {
    prerouting: 'type filter hook prerouting priority -300',
    output: 'type filter hook output priority -300',
  },
};

const hex = (n: number) => `0x${n.toString(16)}`;
const masked = (key: string, mark: Mark, not = false) =>
  `${key} & ${hex(mark.mask)} ${not ? '!=' : '=='} ${hex(mark.value)}`;

function matchText(match: Match, family: Family): string[] {
  const ip = family === 4 ? 'ip' : 'ip6';
  const out: string[] = [];
  if (match.inInterface !== undefined) out.push(`iifname "${match.inInterface}"`);
  if (match.outInterface !== undefined) out.push(`oifname "${match.outInterface}"`);
  if (match.notOutInterface !== undefined) out.push(`oifname != "${match.notOutInterface}"`);
  if (match.source !== undefined) out.push(`${ip} saddr ${match.source}`);
  if (match.destination !== undefined) out.push(`${ip} daddr ${match.destination}`);
  if (match.notDestination !== undefined) out.push(`${ip} daddr != ${match.notDestination}`);
  if (match.protocol !== undefined) {
    out.push(`meta l4proto ${match.protocol}`);
    if (match.sourcePort !== undefined) out.push(`${match.protocol} sport ${match.sourcePort}`);
    if (match.destinationPort !== undefined) out.push(`${match.protocol} dport ${match.destinationPort}`);
    if (match.notDestinationPort !== undefined)
      out.push(`${match.protocol} dport != ${match.notDestinationPort}`);
  }
  if (match.mark !== undefined) out.push(masked('meta mark', match.mark));
  if (match.notMark !== undefined) out.push(masked('meta mark', match.notMark, true));
  if (match.connectionMark !== undefined) out.push(masked('ct mark', match.connectionMark));
  return out;
}

function actionText(action: Action): string {
  switch (action.kind) {
    case 'accept':
    case 'return':
    case 'drop':
      return action.kind;
    case 'redirect':
      return `redirect to :${action.port}`;
    case 'mark-connection':
      return `ct mark set ct mark & ${hex(~action.mark.mask >>> 0)} | ${hex(action.mark.value)}`;
    case 'restore-mark':
      return 'meta mark set ct mark';
    case 'conntrack-zone':
      return `ct zone set ${action.zone}`;
  }
}

const ruleLine = (rule: Rule, family: Family) =>
  [...matchText(rule.match, family), 'counter', actionText(rule.action)].join(' ');

/** Input for `nft -f -`: sets the tables to exactly these rules, from any state, in one transaction. */
export function nftPodScript(settings: CaptureSettings): string {
  const families = captureFamilies(settings);
  const first = families[0];
  if (first === undefined) return nftPodCleanup();
  const lists = families.map((family) => ({ family, rules: podRules(settings, family) }));
  const lines: string[] = [];
  for (const table of ['nat', 'mangle', 'raw'] as const) {
    const name = nftTables[table];
    const own = podRules(settings, first).flatMap((rule, i) => {
      if (rule.table !== table) return [];
      // A rule without an address serves both families; one with an address has a twin at the same place.
      const twins = bindsFamily(rule)
        ? lists.map(({ family, rules }) => ruleLine(rules[i] as Rule, family))
        : [ruleLine(rule, first)];
      return twins.map((text) => ({ hook: rule.hook, text }));
    });
    lines.push(`add table inet ${name}`);
    if (own.length === 0) {
      lines.push(`delete table inet ${name}`);
      continue;
    }
    lines.push(`flush table inet ${name}`);
    for (const hook of ['prerouting', 'output'] as const)
      lines.push(
        `add chain inet ${name} ${hook} { ${baseChain[table][hook]}; }`,
        `add chain inet ${name} istio-${hook}`,
        `add rule inet ${name} ${hook} jump istio-${hook}`,
      );
    for (const { hook, text } of own) lines.push(`add rule inet ${name} istio-${hook} ${text}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Removes the tables, whether they are there or not. */
export function nftPodCleanup(): string {
  return Object.values(nftTables)
    .map((name) => `add table inet ${name}\ndelete table inet ${name}\n`)
    .join('');
}

/**
 * The host's side. Only sockets of this user are exempted: the kubelet's, so that another user of the node does
 * not pass as a probe. The sets keep what they hold.
 */
export function nftHostScript(settings: CaptureSettings, kubeletUid: number): string {
  const name = nftTables.nat;
  const lines = [
    `add table inet ${name}`,
    ...captureFamilies(settings).map(
      (family) =>
        `add set inet ${name} ${probeSets[family]} { type ${family === 4 ? 'ipv4' : 'ipv6'}_addr; }`,
    ),
    `add chain inet ${name} postrouting { type nat hook postrouting priority 100; }`,
    `flush chain inet ${name} postrouting`,
    ...captureFamilies(settings).map((family) => {
      const [ip, address] = family === 4 ? ['ip', settings.probeAddressV4] : ['ip6', settings.probeAddressV6];
      return `add rule inet ${name} postrouting meta l4proto tcp meta skuid ${kubeletUid} ${ip} daddr @${probeSets[family]} counter snat ${ip} to ${address}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}

export function nftHostCleanup(): string {
  return `add table inet ${nftTables.nat}\ndelete table inet ${nftTables.nat}\n`;
}

const uidShape = /^[A-Za-z0-9-]{1,64}$/;

/** An element cannot change its comment: it is added (a no-op if there), deleted and added again. */
export function nftAddProbe(family: Family, { ip, uid }: ProbeEntry): string {
  if (!uidShape.test(uid)) throw new RangeError(`${JSON.stringify(uid)} is not a pod UID`);
  const set = `inet ${nftTables.nat} ${probeSets[family]}`;
  return `add element ${set} { ${ip} }\ndelete element ${set} { ${ip} }\nadd element ${set} { ${ip} comment "${uid}" }\n`;
}

export function nftRemoveProbe(family: Family, ip: string): string {
  const set = `inet ${nftTables.nat} ${probeSets[family]}`;
  return `add element ${set} { ${ip} }\ndelete element ${set} { ${ip} }\n`;
}

/** Reads the answer of `nft -j list set inet istio-ambient-nat NAME`. */
export function parseNftSet(json: string): readonly ProbeEntry[] {
  const answer = JSON.parse(json) as { nftables?: { set?: { elem?: unknown[] } }[] };
  const elements = answer.nftables?.flatMap((item) => item.set?.elem ?? []) ?? [];
  return elements.flatMap((element) => {
    if (typeof element === 'string') return [{ ip: element, uid: '' }];
    const { elem } = element as { elem?: { val?: unknown; comment?: unknown } };
    return typeof elem?.val === 'string' ? [{ ip: elem.val, uid: String(elem.comment ?? '') }] : [];
  });
}
