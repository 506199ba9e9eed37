import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCidr, type Cidr, type Ip } from '#/kit/index.ts';
import {
  emptyMatch,
  parseIdentity,
  type Identity,
  type Policy,
  type PolicyMatch,
  type StringMatch,
} from '#/model/index.ts';
import { compilePolicy, decide, explainDecision, policySet, type PolicyConnection } from './index.ts';

const cidr = (text: string): Cidr => parseCidr(text) as Cidr;
const exact = (value: string): StringMatch => ({ kind: 'exact', value });
const prefix = (value: string): StringMatch => ({ kind: 'prefix', value });
const suffix = (value: string): StringMatch => ({ kind: 'suffix', value });
const presence: StringMatch = { kind: 'presence' };
const match = (fields: Partial<PolicyMatch>): PolicyMatch => ({ ...emptyMatch, ...fields });

/** rules → clauses → matches */
type Shape = readonly (readonly (readonly Partial<PolicyMatch>[])[])[];

function policy(name: string, action: Policy['action'], rules: Shape, dryRun = false): Policy {
  return {
    name,
    namespace: 'ns',
    scope: 'WorkloadSelector',
    action,
    dryRun,
    rules: rules.map((clauses) => ({
      clauses: clauses.map((matches) => ({ matches: matches.map((fields) => match(fields)) })),
    })),
  };
}

const allow = (name: string, rules: Shape): Policy => policy(name, 'Allow', rules);
const deny = (name: string, rules: Shape): Policy => policy(name, 'Deny', rules);
const set = (policies: readonly Policy[], unknown: readonly string[] = []) =>
  policySet(policies.map(compilePolicy), unknown);

const web = parseIdentity('spiffe://td/ns/shop/sa/web') as Identity;
const from = (fields: Partial<PolicyConnection> = {}): PolicyConnection => ({
  sourceIp: '10.1.0.5' as Ip,
  destinationIp: '10.1.2.9' as Ip,
  destinationPort: 8080,
  identity: web,
  ...fields,
});
const plaintext = from({ identity: undefined });

const rejection = 'connection closed due to policy rejection';

test('each field of a match', () => {
  const rows: readonly [string, Partial<PolicyMatch>, PolicyConnection, boolean][] = [
    ['port', { destinationPorts: [80, 8080] }, from(), true],
    ['other port', { destinationPorts: [80] }, from(), false],
    ['not port', { notDestinationPorts: [80] }, from(), true],
    ['not that port', { notDestinationPorts: [8080] }, from(), false],
    ['many ports', { destinationPorts: [1, 2, 3, 4, 5, 8080] }, from(), true],
    ['wanted and refused port', { destinationPorts: [8080], notDestinationPorts: [8080] }, from(), false],
    ['principal', { principals: [exact('td/ns/shop/sa/web')] }, from(), true],
    ['principal with the scheme', { principals: [exact('spiffe://td/ns/shop/sa/web')] }, from(), false],
    ['principal by prefix', { principals: [prefix('td/ns/shop/')] }, from(), true],
    ['principal by suffix', { principals: [suffix('/sa/web')] }, from(), true],
    [
      'one of many principals',
      { principals: ['a', 'b', 'c', 'd', 'td/ns/shop/sa/web'].map(exact) },
      from(),
      true,
    ],
    ['other principal', { principals: [exact('td/ns/shop/sa/api')] }, from(), false],
    ['any principal', { principals: [presence] }, from(), true],
    ['any principal, plaintext', { principals: [presence] }, plaintext, false],
    ['empty prefix, plaintext', { principals: [prefix('')] }, plaintext, false],
    ['no principal, plaintext', { notPrincipals: [presence] }, plaintext, true],
    ['no principal', { notPrincipals: [presence] }, from(), false],
    ['not SPIFFE', { principals: [presence] }, from({ identity: 'https://td/x' as Identity }), false],
    ['namespace', { namespaces: [exact('shop')] }, from(), true],
    ['namespace by suffix', { namespaces: [suffix('op')] }, from(), true],
    ['namespace is not the trust domain', { namespaces: [exact('td')] }, from(), false],
    ['namespace, plaintext', { namespaces: [exact('shop')] }, plaintext, false],
    ['not namespace, plaintext', { notNamespaces: [exact('shop')] }, plaintext, true],
    ['any namespace, plaintext', { namespaces: [presence] }, plaintext, false],
    ['service account', { serviceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, from(), true],
    [
      'account of other namespace',
      { serviceAccounts: [{ namespace: 'x', serviceAccount: 'web' }] },
      from(),
      false,
    ],
    ['account, plaintext', { serviceAccounts: [{ namespace: '', serviceAccount: '' }] }, plaintext, false],
    ['not account', { notServiceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] }, from(), false],
    [
      'not account, plaintext',
      { notServiceAccounts: [{ namespace: 'shop', serviceAccount: 'web' }] },
      plaintext,
      true,
    ],
    [
      'many accounts',
      {
        serviceAccounts: ['a', 'b', 'c', 'd', 'web'].map((serviceAccount) => ({
          namespace: 'shop',
          serviceAccount,
        })),
      },
      from(),
      true,
    ],
    ['source', { sourceIps: [cidr('10.1.0.0/24')] }, from(), true],
    ['source elsewhere', { sourceIps: [cidr('10.2.0.0/16')] }, from(), false],
    ['not source', { notSourceIps: [cidr('10.1.0.5/32')] }, from(), false],
    ['source of other family', { sourceIps: [cidr('::/0')] }, from(), false],
    ['source in v6', { sourceIps: [cidr('fd00::/8')] }, from({ sourceIp: 'fd00::1' as Ip }), true],
    ['destination', { destinationIps: [cidr('10.1.2.9')] }, from(), true],
    ['not destination', { notDestinationIps: [cidr('10.1.2.0/24')] }, from(), false],
    ['not an address', { sourceIps: [cidr('0.0.0.0/0')] }, from({ sourceIp: 'x' as Ip }), false],
    ['all must hold', { destinationPorts: [8080], namespaces: [exact('other')] }, from(), false],
    [
      'all hold',
      { destinationPorts: [8080], namespaces: [exact('shop')], sourceIps: [cidr('10.0.0.0/8')] },
      from(),
      true,
    ],
  ];
  for (const [name, fields, connection, wanted] of rows) {
    const denied = decide(set([deny('p', [[[fields]]])]), connection);
    assert.equal(denied.allow, !wanted, name);
    const allowed = decide(set([allow('p', [[[fields]]])]), connection);
    assert.equal(allowed.allow, wanted, name);
  }
});

test('rules, clauses and matches, and what an empty one means', () => {
  const yes: Partial<PolicyMatch> = { destinationPorts: [8080] };
  const no: Partial<PolicyMatch> = { destinationPorts: [1] };
  const rows: readonly [string, Shape, boolean][] = [
    ['no rules match nothing', [], false],
    ['a rule without clauses matches all', [[]], true],
    ['a clause without matches matches all', [[[]]], true],
    ['an empty match never matches', [[[{}]]], false],
    ['an empty match is passed over', [[[{}, yes]]], true],
    ['an empty match does not help its clause', [[[{}, no]]], false],
    ['rules are alternatives', [[[no]], [[yes]]], true],
    ['clauses must all match', [[[yes], [no]]], false],
    ['clauses all match', [[[yes], [yes]]], true],
    ['three clauses', [[[yes], [yes], [no]]], false],
    ['a clause with an empty match fails its rule', [[[yes], [{}]]], false],
    ['matches are alternatives', [[[no, no, yes]]], true],
    ['no alternative', [[[no, no, no]], [[no]]], false],
  ];
  for (const [name, rules, wanted] of rows) {
    assert.equal(decide(set([deny('p', rules)]), from()).allow, !wanted, name);
    assert.equal(decide(set([allow('p', rules)]), from()).allow, wanted, name);
  }
});

test('the order of asking, and the words', () => {
  const all: Shape = [[]];
  const none: Shape = [];
  const dry = (name: string, action: Policy['action'], rules: Shape) => policy(name, action, rules, true);
  const rows: readonly [string, readonly Policy[], string | undefined, readonly string[]][] = [
    ['no policies', [], undefined, ['no allow policies, allow']],
    [
      'a deny that matches',
      [deny('d', all)],
      `${rejection}: explicitly denied by: ns/d`,
      ['deny policy match ns/d'],
    ],
    ['a deny that does not', [deny('d', none)], undefined, ['no allow policies, allow']],
    ['an allow that matches', [allow('a', all)], undefined, ['allow policy match ns/a']],
    [
      'an allow that does not',
      [allow('a', none)],
      `${rejection}: allow policies exist, but none allowed`,
      ['no allow policies matched'],
    ],
    [
      'deny before allow',
      [allow('a', all), deny('d', all)],
      `${rejection}: explicitly denied by: ns/d`,
      ['deny policy match ns/d'],
    ],
    ['one allow is enough', [allow('a', none), allow('b', all)], undefined, ['allow policy match ns/b']],
    [
      'the first by name is named',
      [deny('z', all), deny('d', all)],
      `${rejection}: explicitly denied by: ns/d`,
      ['deny policy match ns/d'],
    ],
    [
      'a dry-run deny is only noted',
      [dry('d', 'Deny', all)],
      undefined,
      ['dry-run: deny policy match ns/d', 'no allow policies, allow'],
    ],
    [
      'a dry-run allow that matches',
      [dry('a', 'Allow', all)],
      undefined,
      ['dry-run: allow policy match ns/a', 'no allow policies, allow'],
    ],
    [
      'a dry-run allow that does not',
      [dry('a', 'Allow', none)],
      undefined,
      ['dry-run: no allow policies match', 'no allow policies, allow'],
    ],
    [
      'a dry-run allow allows nothing',
      [dry('a', 'Allow', all), allow('b', none)],
      `${rejection}: allow policies exist, but none allowed`,
      ['dry-run: allow policy match ns/a', 'no allow policies matched'],
    ],
    [
      'a deny ends it before dry-run allows are asked',
      [dry('a', 'Allow', all), dry('e', 'Deny', all), deny('d', all)],
      `${rejection}: explicitly denied by: ns/d`,
      ['dry-run: deny policy match ns/e', 'deny policy match ns/d'],
    ],
  ];
  for (const [name, policies, reason, notes] of rows) {
    const verdict = decide(set(policies), from());
    assert.equal(verdict.allow ? undefined : verdict.reason, reason, name);
    assert.deepEqual(
      verdict.notes.map((note) =>
        note.policy === undefined ? note.message : `${note.message} ${note.policy}`,
      ),
      notes,
      name,
    );
  }
});

test('STRICT is a policy that refuses those without an identity', () => {
  const strict = deny('istio_converted_static_strict', [[[{ notPrincipals: [presence] }]]]);
  const verdict = decide(set([strict]), plaintext);
  assert.equal(verdict.allow, false);
  assert.equal(
    verdict.allow ? '' : verdict.reason,
    `${rejection}: explicitly denied by: ns/istio_converted_static_strict`,
  );
  assert.equal(decide(set([strict]), from()).allow, true);

  const onPort = deny('port', [[[{ notPrincipals: [presence] }], [{ destinationPorts: [8080] }]]]);
  assert.equal(decide(set([onPort]), plaintext).allow, false);
  assert.equal(decide(set([onPort]), from({ identity: undefined, destinationPort: 9090 })).allow, true);
});

test('a listed policy that is not known refuses, unless told to skip it', () => {
  const verdict = decide(set([allow('a', [[]])], ['ns/z', 'ns/gone']), from());
  assert.deepEqual(verdict, {
    allow: false,
    code: 'POLICY_UNKNOWN',
    by: 'ns/gone',
    reason: `${rejection}: a policy that the workload lists is not known: ns/gone`,
    notes: [
      { message: 'unknown policy, deny', policy: 'ns/gone' },
      { message: 'unknown policy, deny', policy: 'ns/z' },
    ],
  });
  const known = decide(set([deny('d', [[]])], ['ns/gone']), from());
  assert.equal(known.allow ? '' : known.by, 'ns/d', 'a refusal that has a reason is named first');
  const skipped = decide(set([], ['ns/gone']), from(), { unknownPolicy: 'skip' });
  assert.equal(skipped.allow, true);
  assert.equal(skipped.notes[0]?.message, 'skipping unknown policy');
});

test('a policy that applies twice is asked once', () => {
  const compiled = compilePolicy(deny('d', [[]]));
  assert.equal(policySet([compiled, compiled]).deny.length, 1);
});

test('an explanation shows every policy and the field that decided', () => {
  const explanation = explainDecision(
    set([
      deny('ports', [[[{ destinationPorts: [9090] }]]]),
      allow('web', [
        [[{ principals: [exact('td/ns/shop/sa/api')] }]],
        [[{}]],
        [[{ namespaces: [prefix('sh')] }]],
      ]),
      allow('nothing', []),
    ]),
    from(),
  );
  assert.equal(explanation.verdict.allow, true);
  assert.deepEqual(
    explanation.policies.map(({ key, matched, because }) => [key, matched, because]),
    [
      ['ns/ports', false, 'does not match: rule 1 does not match: destinationPorts [9090] against 8080'],
      ['ns/nothing', false, 'does not match: a policy without rules matches nothing'],
      ['ns/web', true, 'rule 3 matches: every clause has a match that holds'],
    ],
  );
  assert.deepEqual(
    explanation.policies[2]?.rules.map(({ because }) => because),
    [
      'does not match: principals [td/ns/shop/sa/api] against td/ns/shop/sa/web',
      'does not match: an empty match never matches',
      'matches: every clause has a match that holds',
    ],
  );
});
