import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpCondition, HttpPolicy, HttpPolicyRule } from '#/model/index.ts';
import {
  compileHttpPolicies,
  customChecks,
  customChecksTcp,
  decideHttp,
  decideTcp,
  explainHttp,
  explainTcp,
} from './index.ts';
import { policyOf, subjectOf, token } from './test-subject.ts';

const subject = subjectOf();
const path = (value: string): Partial<HttpPolicyRule> => ({
  to: [{ paths: { values: [{ kind: 'exact', value }], notValues: [] } }],
});
const hit = path('/api/items/7');
const miss = path('/other');
const when = (key: string, ...values: string[]): HttpCondition => ({ key, values, notValues: [] });
const verdict = (...policies: HttpPolicy[]) => decideHttp(compileHttpPolicies(policies), subject);

test('no policy allows; an ALLOW without rules denies all; a DENY without rules denies nothing', () => {
  assert.equal(verdict().allow, true);
  assert.equal(verdict(policyOf('Allow', [])).allow, false);
  assert.equal(verdict(policyOf('Deny', [])).allow, true);
});

test('DENY goes before ALLOW, and the verdict names the rule', () => {
  const denied = verdict(
    policyOf('Allow', [hit], { name: 'shop/a' }),
    policyOf('Deny', [miss, hit], { name: 'shop/d' }),
  );
  assert.equal(denied.allow, false);
  assert.equal(denied.by?.policy, 'shop/d');
  assert.equal(denied.by?.rule, 1);
  assert.equal(denied.details, 'rbac_access_denied_matched_policy[ns[shop]-policy[d]-rule[1]]');
  const allowed = verdict(policyOf('Allow', [hit], { name: 'shop/a' }));
  assert.equal(allowed.by?.id, 'ns[shop]-policy[a]-rule[0]');
  assert.equal(allowed.details, '');
  assert.equal(verdict(policyOf('Allow', [miss])).details, 'rbac_access_denied_matched_policy[none]');
});

test('of several policies that deny, the first by name is named', () => {
  const policies = ['shop/c', 'shop/a', 'shop/b'].map((name) => policyOf('Deny', [{}], { name }));
  assert.equal(verdict(...policies).by?.policy, 'shop/a');
});

test('AUDIT is reported and changes nothing', () => {
  const result = verdict(policyOf('Audit', [hit], { name: 'shop/audit' }));
  assert.equal(result.allow, true);
  assert.deepEqual(
    result.audit.map(({ id }) => id),
    ['ns[shop]-policy[audit]-rule[0]'],
  );
});

test('CUSTOM names each provider once, also when a DENY refuses', () => {
  const set = compileHttpPolicies([
    policyOf('Custom', [hit], { name: 'shop/c1', provider: 'one' }),
    policyOf('Custom', [hit], { name: 'shop/c2', provider: 'one' }),
    policyOf('Custom', [miss], { name: 'shop/c3', provider: 'two' }),
    policyOf('Custom', [{}], { name: 'shop/c4', provider: 'three' }),
    policyOf('Deny', [hit], { name: 'shop/d' }),
  ]);
  const wanted = ['one by shop/c1', 'three by shop/c4'];
  const shown = (checks: ReturnType<typeof customChecks>) =>
    checks.map(({ provider, policy }) => `${provider} by ${policy}`);
  assert.deepEqual(shown(customChecks(set, subject)), wanted);
  const result = decideHttp(set, subject);
  assert.deepEqual(shown(result.ask), wanted);
  assert.equal(result.allow, false);
});

test('a CUSTOM rule cannot see the token, so it asks more often', () => {
  const set = compileHttpPolicies([
    policyOf('Custom', [{ when: [when('request.auth.claims[a]', 'b')] }], { provider: 'p' }),
  ]);
  assert.match(set.problems[0]?.reason ?? '', /tokens are read after/);
  assert.equal(customChecks(set, subject).length, 1);
});

test('dry run is reported and never enforced', () => {
  const result = verdict(
    policyOf('Deny', [hit], { name: 'shop/d', dryRun: true }),
    policyOf('Allow', [miss], { name: 'shop/a', dryRun: true }),
    policyOf('Custom', [hit], { name: 'shop/c', dryRun: true, provider: 'p' }),
  );
  assert.equal(result.allow, true);
  assert.deepEqual(result.ask, []);
  assert.deepEqual(
    result.dryRun.map(({ message, by }) => `${message} ${by?.policy ?? ''}`),
    [
      'dry-run: custom policy match shop/c',
      'dry-run: deny policy match shop/d',
      'dry-run: no allow policies match ',
    ],
  );
});

const unreadable: readonly (readonly [string, HttpCondition])[] = [
  ['an unknown key', when('source.colour', 'red')],
  ['a filter of Envoy', when('experimental.envoy.filters.network.mysql_proxy[db.table]', '[update]')],
  ['a header without its name', when('request.headers', 'x')],
  ['two headers', when('request.headers[a][b]', 'x')],
  ['a claim without its name', when('request.auth.claims[]', 'x')],
  ['text after a claim', when('request.auth.claims[a]b', 'x')],
  ['a range that is none', when('source.ip', '10.0.0.0/8', 'ten')],
  ['a port that is none', when('destination.port', '80000')],
  ['an empty value', when('source.namespace', '')],
  ['no values', when('source.namespace')],
  ['a service account that is none', when('source.serviceAccount', 'a/b/c')],
];

for (const [name, condition] of unreadable)
  test(`${name} is a problem; ALLOW never matches, DENY matches without it`, () => {
    const allow = compileHttpPolicies([policyOf('Allow', [{ when: [condition] }, miss])]);
    assert.equal(allow.problems.length, 1);
    assert.equal(allow.problems[0]?.rule, 0);
    assert.equal(allow.problems[0]?.field, `when ${condition.key}`);
    assert.equal(decideHttp(allow, subject).allow, false);
    const deny = compileHttpPolicies([policyOf('Deny', [{ when: [condition] }])]);
    assert.equal(decideHttp(deny, subject).allow, false);
    const narrower = compileHttpPolicies([policyOf('Deny', [{ ...miss, when: [condition] }])]);
    assert.equal(decideHttp(narrower, subject).allow, true, 'the fields that can be read still hold');
  });

for (const value of ['api/{*}', '/a/{**}/{*}', '/a/{**}/b/{**}', '/a/x{*}', '/a/{x}', '/a/{*', '/a/*/{*}'])
  test(`the template ${value} is refused`, () => {
    const rule = { to: [{ paths: { values: [{ kind: 'template' as const, value }], notValues: [] } }] };
    const set = compileHttpPolicies([policyOf('Allow', [rule])]);
    assert.match(set.problems[0]?.reason ?? '', /is not a path template/);
    assert.equal(decideHttp(set, subject).allow, false);
    assert.equal(verdict(policyOf('Deny', [rule])).allow, false);
  });

test('without HTTP, an ALLOW rule with a field of HTTP does not match, as a whole', () => {
  const rule = {
    from: [
      { namespaces: { values: [{ kind: 'presence' as const }], notValues: [] } },
      { requestPrincipals: { values: [{ kind: 'presence' as const }], notValues: [] } },
    ],
  };
  const set = compileHttpPolicies([policyOf('Allow', [rule])]);
  assert.equal(decideHttp(set, subject).allow, true);
  assert.equal(decideTcp(set, subject.connection).allow, false);
});

test('without HTTP, a DENY rule matches without its fields of HTTP', () => {
  const set = compileHttpPolicies([
    policyOf('Deny', [{ ...path('/x'), when: [when('destination.port', '80')] }], { name: 'shop/a' }),
    policyOf('Deny', [{ ...path('/x'), when: [when('destination.port', '81')] }], { name: 'shop/b' }),
  ]);
  assert.equal(decideHttp(set, subject).allow, true);
  assert.equal(decideTcp(set, subject.connection).by?.policy, 'shop/a');
  const port81 = { ...subject.connection, destination: { ...subject.connection.destination, port: 81 } };
  assert.equal(decideTcp(set, port81).by?.policy, 'shop/b');
  assert.equal(decideTcp(compileHttpPolicies([policyOf('Allow', [{}])]), subject.connection).allow, true);
  const custom = compileHttpPolicies([policyOf('Custom', [miss], { provider: 'p' })]);
  assert.equal(customChecksTcp(custom, subject.connection).length, 1);
});

test('the explanation says why each policy did or did not match', () => {
  const set = compileHttpPolicies([
    policyOf('Deny', [miss], { name: 'shop/d' }),
    policyOf('Allow', [hit, { when: [when('colour', 'x')] }], { name: 'shop/a' }),
    policyOf('Audit', [], { name: 'shop/n' }),
  ]);
  const explained = explainHttp(set, subjectOf({ token: token() }));
  assert.equal(explained.verdict.allow, true);
  assert.deepEqual(
    explained.policies.map(({ policy, because }) => `${policy} ${because}`),
    [
      'shop/d does not match: rule 1 does not match: to: paths [/other] against /api/items/7',
      'shop/a rule 1 matches: from, to and when hold',
      'shop/n does not match: a policy without rules matches nothing',
    ],
  );
  assert.match(
    explained.policies[1]?.rules[1]?.because ?? '',
    /cannot be checked \(when colour: unknown key\)/,
  );
  const tcp = explainTcp(set, subject.connection);
  assert.match(tcp.policies[0]?.because ?? '', /leaving out what cannot be checked \(paths: a field of HTTP/);
});
