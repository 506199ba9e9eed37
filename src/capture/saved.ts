// What a namespace holds, from the text of iptables-save: read, compared with what it should hold, and turned
// into input that removes or replaces it. Reading first makes every change exact: one command, no errors ignored.
import { isV6, parseCidr, formatCidr } from '#/kit/index.ts';
import { baseChains, ownChains, podHooks, restoreInput, ruleText, rulesByTable } from './iptables.ts';
import type { Rule } from './rules.ts';

export interface SavedTable {
  readonly chains: readonly string[];
  readonly rules: readonly { readonly chain: string; readonly text: string }[];
}
export type SavedRules = ReadonlyMap<string, SavedTable>;

/** Reads the output of iptables-save, legacy or nft. Lines that are not understood are left out. */
export function parseSaved(text: string): SavedRules {
  const tables = new Map<string, { chains: string[]; rules: { chain: string; text: string }[] }>();
  let table: { chains: string[]; rules: { chain: string; text: string }[] } | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = { chains: [], rules: [] };
      tables.set(line.slice(1).trim(), table);
      continue;
    }
    const chain = /^:(\S+)/.exec(line);
    if (chain !== null) table?.chains.push(chain[1] as string);
    const rule = /^(?:\[\d+:\d+\] )?-A (\S+) (.*)$/.exec(line);
    if (rule !== null) table?.rules.push({ chain: rule[1] as string, text: (rule[2] as string).trim() });
  }
  return tables;
}

/** Splits at blanks outside of double quotes. */
function words(text: string): string[] {
  return text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
}

const addressOptions = new Set(['-s', '-d']);

function canonicalValue(option: string, value: string): string {
  if (addressOptions.has(option)) {
    const range = parseCidr(value.includes('/') ? value : `${value}/${isV6(value) ? 128 : 32}`);
    return range === undefined ? value : formatCidr(range);
  }
  return /^0x[0-9a-fA-F]+(\/0x[0-9a-fA-F]+)?$/.test(value)
    ? value
        .split('/')
        .map((part) => `0x${BigInt(part).toString(16)}`)
        .join('/')
    : value;
}

/**
 * One text for all spellings of a rule: options sorted, addresses with their length, hexadecimal numbers without
 * leading zeros, and `-m tcp` left out, which the two kinds of iptables print or not as they like.
 */
export function canonicalRule(text: string): string {
  const groups: string[] = [];
  let not = '';
  const tokens = words(text);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] as string;
    if (token === '!') {
      not = '! ';
      continue;
    }
    const values: string[] = [];
    while (i + 1 < tokens.length && tokens[i + 1] !== '!' && !(tokens[i + 1] as string).startsWith('-'))
      values.push(tokens[++i] as string);
    if (token !== '-m')
      groups.push([`${not}${token}`, ...values.map((value) => canonicalValue(token, value))].join(' '));
    not = '';
  }
  return groups.sort().join(' ');
}

const isOwn = (chain: string) => chain.startsWith('ISTIO_');
const jumpTarget = (text: string): string | undefined => /(?:^|\s)(?:-j|-g) (\S+)/.exec(text)?.[1];
type IsOwn = (chain: string) => boolean;

const ownChainsOf = (table: SavedTable, own: IsOwn) => table.chains.filter(own);
const jumpsInto = (table: SavedTable, own: IsOwn) =>
  table.rules.filter(({ chain, text }) => !own(chain) && own(jumpTarget(text) ?? ''));

export type Comparison =
  /** Nothing of ours is there. */
  | { readonly state: 'absent' }
  | { readonly state: 'equal' }
  | { readonly state: 'different'; readonly reasons: readonly string[] };

/**
 * Whether a namespace holds exactly these rules: the same rules in the same order in our chains, one jump to
 * each of them, and no other chain of ours. Rules of others are not looked at. (Upstream ignores the order.)
 */
export function compareSaved(saved: SavedRules, rules: readonly Rule[]): Comparison {
  const reasons: string[] = [];
  let found = false;
  const expected = rulesByTable(rules);
  for (const [name, table] of saved) {
    const chains = ownChainsOf(table, isOwn);
    found ||= chains.length > 0;
    const known = expected.has(name as never) ? podHooks.map((hook) => ownChains[hook]) : [];
    for (const chain of chains)
      if (!known.includes(chain)) reasons.push(`unexpected chain ${chain} in ${name}`);
  }
  if (!found) return rules.length === 0 ? { state: 'equal' } : { state: 'absent' };
  for (const [name, own] of expected) {
    const table = saved.get(name) ?? { chains: [], rules: [] };
    for (const hook of podHooks) {
      const chain = ownChains[hook];
      if (!table.chains.includes(chain)) {
        reasons.push(`no chain ${chain} in ${name}`);
        continue;
      }
      const jumps = jumpsInto(table, (other) => other === chain).map((rule) => `${rule.chain} ${rule.text}`);
      if (jumps.length !== 1 || jumps[0] !== `${baseChains[hook]} -j ${chain}`)
        reasons.push(`${jumps.length === 0 ? 'no jump' : 'other jumps than one'} to ${chain} in ${name}`);
      const want = own.filter((rule) => rule.hook === hook).map(ruleText);
      const have = table.rules.filter((rule) => rule.chain === chain).map((rule) => rule.text);
      const same =
        want.length === have.length &&
        want.every((text, i) => canonicalRule(text) === canonicalRule(have[i] as string));
      if (!same) reasons.push(...ruleReasons(`${chain} in ${name}`, want, have));
    }
  }
  return reasons.length === 0 ? { state: 'equal' } : { state: 'different', reasons };
}

function ruleReasons(where: string, want: readonly string[], have: readonly string[]): string[] {
  const wanted = new Set(want.map(canonicalRule));
  const held = new Set(have.map(canonicalRule));
  const reasons = [
    ...want.filter((text) => !held.has(canonicalRule(text))).map((text) => `missing from ${where}: ${text}`),
    ...have
      .filter((text) => !wanted.has(canonicalRule(text)))
      .map((text) => `unexpected in ${where}: ${text}`),
  ];
  return reasons.length > 0 ? reasons : [`order or number of the rules of ${where}`];
}

/** Lines by table that remove every chain of ours that is there, and every jump to one. */
function removal(saved: SavedRules, own: IsOwn): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const [name, table] of saved) {
    const chains = ownChainsOf(table, own);
    const lines = [
      ...jumpsInto(table, own).map(({ chain, text }) => `-D ${chain} ${text}`),
      ...chains.map((chain) => `-F ${chain}`),
      ...chains.map((chain) => `-X ${chain}`),
    ];
    if (lines.length > 0) out.set(name, lines);
  }
  return out;
}

const render = (tables: ReadonlyMap<string, readonly string[]>) =>
  [...tables].map(([name, lines]) => `*${name}\n${lines.join('\n')}\nCOMMIT\n`).join('');

/** Input for `iptables-restore --noflush` that removes what is ours; empty if there is nothing. */
export function cleanupInput(saved: SavedRules, own: IsOwn = isOwn): string {
  return render(removal(saved, own));
}

/**
 * Input that replaces whatever is ours by these rules, each table in one transaction. The guardrail is left
 * alone: it stands until the replacement is known to have worked.
 */
export function replaceInput(saved: SavedRules, rules: readonly Rule[], guard: string): string {
  const tables = removal(saved, (chain) => isOwn(chain) && chain !== guard);
  for (const block of restoreInput(rules).split('COMMIT\n')) {
    const [head, ...lines] = block.trimEnd().split('\n');
    if (head === undefined || head === '') continue;
    const name = head.slice(1);
    tables.set(name, [...(tables.get(name) ?? []), ...lines]);
  }
  return render(tables);
}
