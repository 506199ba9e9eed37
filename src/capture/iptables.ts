// Rules as iptables text, in the form in which iptables-save prints them, and as input of iptables-restore.
import { hostPrefix, type Action, type Hook, type Rule, type Table } from './rules.ts';
import type { Mark } from './settings.ts';

/** Our own chain for each hook; nothing else is ever written into a chain of the system but the jump there. */
export const ownChains: Readonly<Record<Hook, string>> = {
  prerouting: 'ISTIO_PRERT',
  output: 'ISTIO_OUTPUT',
  postrouting: 'ISTIO_POSTRT',
  input: 'ISTIO_INPUT',
  forward: 'ISTIO_FORWARD',
};

export const baseChains: Readonly<Record<Hook, string>> = {
  prerouting: 'PREROUTING',
  output: 'OUTPUT',
  postrouting: 'POSTROUTING',
  input: 'INPUT',
  forward: 'FORWARD',
};

export const tableOrder: readonly Table[] = ['mangle', 'nat', 'raw', 'filter'];

const hex = (n: number) => `0x${n.toString(16)}`;
const markText = (mark: Mark) => `${hex(mark.value)}/${hex(mark.mask)}`;

function actionText(action: Action): string {
  switch (action.kind) {
    case 'accept':
      return '-j ACCEPT';
    case 'return':
      return '-j RETURN';
    case 'drop':
      return '-j DROP';
    case 'redirect':
      return `-j REDIRECT --to-ports ${action.port}`;
    case 'mark-connection':
      return `-j CONNMARK --set-xmark ${markText(action.mark)}`;
    case 'restore-mark':
      return '-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff';
    case 'conntrack-zone':
      return `-j CT --zone ${action.zone}`;
  }
}

/** The specification of a rule without `-A CHAIN`. */
export function ruleText({ match, action }: Rule): string {
  const words: string[] = [];
  if (match.source !== undefined) words.push(`-s ${hostPrefix(match.source)}`);
  if (match.destination !== undefined) words.push(`-d ${hostPrefix(match.destination)}`);
  if (match.notDestination !== undefined) words.push(`! -d ${hostPrefix(match.notDestination)}`);
  if (match.inInterface !== undefined) words.push(`-i ${match.inInterface}`);
  if (match.outInterface !== undefined) words.push(`-o ${match.outInterface}`);
  if (match.notOutInterface !== undefined) words.push(`! -o ${match.notOutInterface}`);
  if (match.protocol !== undefined) {
    words.push(`-p ${match.protocol}`);
    const ports = [
      ...(match.sourcePort === undefined ? [] : [`--sport ${match.sourcePort}`]),
      ...(match.destinationPort === undefined ? [] : [`--dport ${match.destinationPort}`]),
      ...(match.notDestinationPort === undefined ? [] : [`! --dport ${match.notDestinationPort}`]),
    ];
    if (ports.length > 0) words.push(`-m ${match.protocol}`, ...ports);
  }
  if (match.mark !== undefined) words.push(`-m mark --mark ${markText(match.mark)}`);
  if (match.notMark !== undefined) words.push(`-m mark ! --mark ${markText(match.notMark)}`);
  if (match.connectionMark !== undefined) words.push(`-m connmark --mark ${markText(match.connectionMark)}`);
  words.push(actionText(action));
  return words.join(' ');
}

/** The rules of a pod by table, each with the chains it needs. Both chains exist wherever the table is used. */
export function rulesByTable(rules: readonly Rule[]): ReadonlyMap<Table, readonly Rule[]> {
  const tables = new Map<Table, Rule[]>();
  for (const table of tableOrder) {
    const own = rules.filter((rule) => rule.table === table);
    if (own.length > 0) tables.set(table, own);
  }
  return tables;
}

export const podHooks: readonly Hook[] = ['prerouting', 'output'];

/**
 * Input for `iptables-restore --noflush` that puts the rules into a namespace without rules of ours. Chains are
 * created, not declared: if one is there already the whole input is refused, and nothing is applied twice.
 */
export function restoreInput(rules: readonly Rule[]): string {
  const lines: string[] = [];
  for (const [table, own] of rulesByTable(rules)) {
    lines.push(`*${table}`);
    for (const hook of podHooks) lines.push(`-N ${ownChains[hook]}`);
    for (const hook of podHooks) lines.push(`-A ${baseChains[hook]} -j ${ownChains[hook]}`);
    for (const rule of own) lines.push(`-A ${ownChains[rule.hook]} ${ruleText(rule)}`);
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
