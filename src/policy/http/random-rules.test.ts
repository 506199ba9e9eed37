// Random rules: what the compiled form, the explanation and the written rules of AND and OR say must agree. Whether a
// single field holds is taken from a rule of that field alone, which the table of fields checks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  HttpCondition,
  HttpOperation,
  HttpPolicy,
  HttpPolicyRule,
  HttpSource,
  HttpSubject,
} from '#/model/index.ts';
import { parseMatch } from './field.ts';
import { compileHttpPolicies, decideHttp, decideTcp, explainHttp, explainTcp } from './index.ts';
import { policyOf, subjectOf, token } from './test-subject.ts';

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const either = (value: string, not: boolean) => {
  const match = parseMatch(value);
  const values = match === undefined ? [] : [match];
  return not ? { values: [], notValues: values } : { values, notValues: [] };
};

function makers(next: (below: number) => number) {
  const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
  const list = <T>(most: number, make: () => T): T[] => Array.from({ length: next(most + 1) }, make);
  const maybe = next.bind(undefined, 2);
  const source = (): HttpSource => ({
    ...(maybe() === 0 && { namespaces: either(pick(['front', 'f*', 'x']), maybe() === 0) }),
    ...(maybe() === 0 && { requestPrincipals: either(pick(['*', '*/alice', 'x']), maybe() === 0) }),
  });
  const operation = (): HttpOperation => ({
    ...(maybe() === 0 && { methods: either(pick(['GET', 'PUT']), maybe() === 0) }),
    ...(maybe() === 0 && { ports: { values: [pick([80, 81])], notValues: [] } }),
  });
  const condition = (): HttpCondition => ({
    key: pick(['source.namespace', 'request.headers[x-token]', 'destination.port', 'unknown']),
    values: [pick(['front', 'secret-1', '80'])],
    notValues: [],
  });
  let count = 0;
  return (): HttpPolicy =>
    policyOf(
      pick(['Allow', 'Deny']),
      list(3, () => ({ from: list(2, source), to: list(2, operation), when: list(1, condition) })),
      { name: `shop/${count++}` },
    );
}

/** Judges one rule by the letter. `judge` says whether a rule of one field, under the same action, matches. */
function ruleHolds(
  rule: HttpPolicyRule,
  action: HttpPolicy['action'],
  isLost: (one: object) => boolean,
  judge: (rule: Partial<HttpPolicyRule>) => boolean,
): boolean {
  const parts = (fields: object): object[] =>
    Object.entries(fields).map(([name, value]) => ({ [name]: value as unknown }));
  const lost = [...rule.from.flatMap(parts), ...rule.to.flatMap(parts), ...rule.when].some(isLost);
  if (lost && action === 'Allow') return false;
  const whole = (fields: object, make: (one: object) => Partial<HttpPolicyRule>): boolean =>
    parts(fields).every((one) => isLost(one) || judge(make(one)));
  return (
    rule.when.every((one) => isLost(one) || judge({ when: [one] })) &&
    (rule.from.length === 0 || rule.from.some((fields) => whole(fields, (one) => ({ from: [one] })))) &&
    (rule.to.length === 0 || rule.to.some((fields) => whole(fields, (one) => ({ to: [one] }))))
  );
}

const unknown = (one: object): boolean => {
  if (!('key' in one)) return false;
  const { key, values } = one as HttpCondition;
  return key === 'unknown' || (key === 'destination.port' && values[0] !== '80');
};
const ofHttp = (one: object): boolean =>
  'requestPrincipals' in one ||
  'methods' in one ||
  ('key' in one && (one as HttpCondition).key.startsWith('request.'));

const subjects: readonly HttpSubject[] = [
  subjectOf(),
  subjectOf({ token: token() }),
  subjectOf({ request: { method: 'PUT' }, connection: { identity: undefined } }),
];

test('compiled rules, explanations and the written rules agree', () => {
  const outcomes = new Map<string, number>();
  for (let seed = 1; seed <= 400; seed++) {
    const policy = makers(generator(seed));
    const policies = Array.from({ length: 1 + (seed % 3) }, policy);
    const set = compileHttpPolicies(policies);
    for (const subject of subjects)
      for (const tcp of [false, true]) {
        const isLost = (one: object): boolean => unknown(one) || (tcp && ofHttp(one));
        const judge = (rule: Partial<HttpPolicyRule>): boolean => {
          const one = compileHttpPolicies([policyOf('Allow', [rule])]);
          return (tcp ? decideTcp(one, subject.connection) : decideHttp(one, subject)).allow;
        };
        const matches = (one: HttpPolicy): boolean =>
          one.rules.some((rule) => ruleHolds(rule, one.action, isLost, judge));
        const allows = policies.filter(({ action }) => action === 'Allow');
        const expected =
          !policies.some((one) => one.action === 'Deny' && matches(one)) &&
          (allows.length === 0 || allows.some(matches));
        const { verdict, policies: explained } = tcp
          ? explainTcp(set, subject.connection)
          : explainHttp(set, subject);
        const context = JSON.stringify({ seed, tcp, policies });
        assert.equal(verdict.allow, expected, context);
        for (const one of policies)
          assert.equal(
            explained.find(({ policy: name }) => name === one.name)?.matched,
            matches(one),
            context,
          );
        const kind = `${tcp ? 'tcp' : 'http'} ${expected ? 'allowed' : 'refused'}`;
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
      }
  }
  for (const kind of ['http allowed', 'http refused', 'tcp allowed', 'tcp refused'])
    assert.ok((outcomes.get(kind) ?? 0) > 50, `too few were ${kind}: ${outcomes.get(kind)}`);
});
