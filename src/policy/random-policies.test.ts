// Random policies, judged by the compiled form, by the explanation, and by a slow evaluator that is written from the
// rules alone and shares nothing with either.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCidr, parseCidr, type Cidr, type Ip } from '#/kit/index.ts';
import { parseIdentity, type Policy, type PolicyMatch, type StringMatch } from '#/model/index.ts';
import { compilePolicy, decide, explainDecision, policySet, type PolicyConnection } from './index.ts';

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const namespaces = ['a', 'ab', 'b'];
const accounts = ['x', 'xy', 'y'];
const ips = ['10.0.0.1', '10.0.1.1', '10.1.0.1', 'fd00::1', 'fd01::1'];
const ranges = ['10.0.0.0/24', '10.0.0.0/16', '10.1.0.1', '0.0.0.0/0', 'fd00::/16', '::/0'];
const ports = [80, 443, 8080];

function makers(next: (below: number) => number) {
  const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
  const some = <T>(make: () => T): T[] => (next(4) > 0 ? [] : Array.from({ length: 1 + next(6) }, make));
  const text = (values: readonly string[]) => (): StringMatch => {
    const kind = pick(['exact', 'prefix', 'suffix', 'presence'] as const);
    if (kind === 'presence') return { kind };
    const value = pick(values);
    return {
      kind,
      value: kind === 'exact' ? value : kind === 'prefix' ? value.slice(0, 3) : value.slice(-2),
    };
  };
  const principals = namespaces.flatMap((ns) => accounts.map((sa) => `td/ns/${ns}/sa/${sa}`));
  const account = () => ({ namespace: pick(namespaces), serviceAccount: pick(accounts) });
  const range = (): Cidr => parseCidr(pick(ranges)) as Cidr;
  const match = (): PolicyMatch => ({
    namespaces: some(text(namespaces)),
    notNamespaces: some(text(namespaces)),
    serviceAccounts: some(account),
    notServiceAccounts: some(account),
    principals: some(text(principals)),
    notPrincipals: some(text(principals)),
    sourceIps: some(range),
    notSourceIps: some(range),
    destinationIps: some(range),
    notDestinationIps: some(range),
    destinationPorts: some(() => pick(ports)),
    notDestinationPorts: some(() => pick(ports)),
  });
  const list = <T>(most: number, make: () => T): T[] => Array.from({ length: next(most + 1) }, make);
  let count = 0;
  const policy = (): Policy => ({
    name: `p${count++}`,
    namespace: 'ns',
    scope: 'Namespace',
    action: pick(['Allow', 'Deny']),
    dryRun: next(4) === 0,
    rules: list(3, () => ({ clauses: list(2, () => ({ matches: list(3, match) })) })),
  });
  const connection = (): PolicyConnection => ({
    sourceIp: pick(ips) as Ip,
    destinationIp: pick(ips) as Ip,
    destinationPort: pick(ports),
    identity: next(4) === 0 ? undefined : parseIdentity(`spiffe://${pick(principals)}`),
  });
  return { policies: () => list(4, policy), connection };
}

// The slow evaluator.
const bits = (address: string): string => {
  if (!address.includes(':'))
    return `4${address
      .split('.')
      .map((part) => Number(part).toString(2).padStart(8, '0'))
      .join('')}`;
  const [head, tail] = address.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = [
    ...(head ?? []),
    ...Array(8 - (head?.length ?? 0) - (tail?.length ?? 0)).fill('0'),
    ...(tail ?? []),
  ];
  return `6${groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('')}`;
};

function slowMatches(policy: Policy, connection: PolicyConnection): boolean {
  const parts = connection.identity?.split('/');
  const namespace = parts?.[4] ?? '';
  const serviceAccount = parts?.[6] ?? '';
  const principal = parts?.slice(2).join('/');
  const stringHolds = (wanted: StringMatch, text: string): boolean => {
    const pattern = { exact: '^$$', prefix: '^$', suffix: '$$', presence: '.' }[wanted.kind];
    return new RegExp(pattern.replace('$', () => ('value' in wanted ? wanted.value : ''))).test(text);
  };
  const inRange = (range: Cidr, ip: string): boolean => {
    const [base, length] = formatCidr(range).split('/') as [string, string];
    return bits(ip).startsWith(bits(base).slice(0, 1 + Number(length)));
  };
  const tests: { [K in keyof PolicyMatch]: (value: PolicyMatch[K][number]) => boolean } = {
    namespaces: (value) => stringHolds(value, namespace),
    notNamespaces: (value) => stringHolds(value, namespace),
    principals: (value) => principal !== undefined && stringHolds(value, principal),
    notPrincipals: (value) => principal !== undefined && stringHolds(value, principal),
    serviceAccounts: (value) =>
      principal !== undefined && value.namespace === namespace && value.serviceAccount === serviceAccount,
    notServiceAccounts: (value) =>
      principal !== undefined && value.namespace === namespace && value.serviceAccount === serviceAccount,
    sourceIps: (value) => inRange(value, connection.sourceIp),
    notSourceIps: (value) => inRange(value, connection.sourceIp),
    destinationIps: (value) => inRange(value, connection.destinationIp),
    notDestinationIps: (value) => inRange(value, connection.destinationIp),
    destinationPorts: (value) => value === connection.destinationPort,
    notDestinationPorts: (value) => value === connection.destinationPort,
  };
  const matchHolds = (match: PolicyMatch): boolean => {
    let restricted = false;
    for (const [name, values] of Object.entries(match) as [keyof PolicyMatch, readonly never[]][]) {
      if (values.length === 0) continue;
      restricted = true;
      const found = values.filter((value) => tests[name](value)).length > 0;
      if (found === name.startsWith('not')) return false;
    }
    return restricted;
  };
  return (
    policy.rules.filter(
      ({ clauses }) =>
        clauses.filter(({ matches }) => matches.length === 0 || matches.filter(matchHolds).length > 0)
          .length === clauses.length,
    ).length > 0
  );
}

function slowVerdict(policies: readonly Policy[], connection: PolicyConnection): string {
  const enforced = policies.filter(({ dryRun }) => !dryRun);
  const matching = (action: Policy['action']) =>
    enforced.filter((policy) => policy.action === action && slowMatches(policy, connection));
  const denied = matching('Deny');
  if (denied.length > 0)
    return `denied by ${denied.map(({ namespace, name }) => `${namespace}/${name}`).sort()[0]}`;
  if (enforced.every(({ action }) => action === 'Deny')) return 'allowed';
  return matching('Allow').length > 0 ? 'allowed' : 'not allowed';
}

test('compiled, explained and slow verdicts agree', () => {
  const outcomes = new Map<string, number>();
  for (let seed = 1; seed <= 300; seed++) {
    const { policies, connection } = makers(generator(seed));
    const some = policies();
    const set = policySet(some.map(compilePolicy));
    for (let i = 0; i < 10; i++) {
      const one = connection();
      const verdict = decide(set, one);
      const shown = verdict.allow
        ? 'allowed'
        : verdict.by === undefined
          ? 'not allowed'
          : `denied by ${verdict.by}`;
      const context = JSON.stringify({ seed, one, some });
      assert.equal(shown, slowVerdict(some, one), context);
      const explanation = explainDecision(set, one);
      for (const explained of explanation.policies) {
        const policy = some.find(({ name }) => `ns/${name}` === explained.key) as Policy;
        assert.equal(explained.matched, slowMatches(policy, one), context);
      }
      const kind = shown.split(' by')[0] as string;
      outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
    }
  }
  for (const kind of ['allowed', 'not allowed', 'denied'])
    assert.ok((outcomes.get(kind) ?? 0) > 100, `too few connections were ${kind}: ${outcomes.get(kind)}`);
});
