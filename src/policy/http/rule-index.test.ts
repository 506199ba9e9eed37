// The index must name the rule that a look at each in turn would.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpOperation, HttpPolicyRule, PathTemplate, StringMatch } from '#/model/index.ts';
import { compileHttpPolicies, decideHttp } from './index.ts';
import { policyOf, subjectOf } from './test-subject.ts';

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

const elements = ['a', 'b', 'ab', 'c.d', 'e', 'f', ''];

test('over random paths, the first rule by order is found', () => {
  const next = generator(7);
  const pick = <T>(from: readonly T[]): T => from[next(from.length)] as T;
  const path = (): string => `/${pick(elements)}${pick(['', '/', '/x', '/x/y'])}`;
  const matchOf = (): StringMatch | PathTemplate =>
    pick<() => StringMatch | PathTemplate>([
      () => ({ kind: 'exact', value: path() }),
      () => ({ kind: 'prefix', value: pick(['/a', '/a/', '/ab/x', '/b/x/', '/z/']) }),
      () => ({ kind: 'suffix', value: pick(['z', '/z', '.d/']) }),
      () => ({ kind: 'template', value: pick(['/a/{*}', '/{*}/z', '/b/{**}', '/c.d/{*}/y']) }),
      () => ({ kind: 'exact', value: path() }),
      () => (next(40) === 0 ? { kind: 'presence' } : { kind: 'exact', value: '/none' }),
    ])();
  const operation = (): HttpOperation => ({
    ...(next(60) === 0
      ? {}
      : {
          paths: {
            values: Array.from({ length: 1 + next(2) }, matchOf),
            notValues: next(6) === 0 ? [matchOf()] : [],
          },
        }),
    ...(next(2) === 0 ? { methods: { values: [{ kind: 'exact', value: 'PUT' }], notValues: [] } } : {}),
  });
  const rule = (): HttpPolicyRule => ({
    from: [],
    to: Array.from({ length: 1 + next(2) }, operation),
    // A key that is not known: what is left of the rule matches more.
    when:
      next(3) === 0
        ? [{ key: 'request.headers[x-token]', values: [pick(['no', 'secret-1'])], notValues: [] }]
        : next(20) === 0
          ? [{ key: 'unknown', values: ['x'], notValues: [] }]
          : [],
  });
  let refused = 0;
  for (let round = 0; round < 40; round++) {
    const policies = Array.from({ length: 20 }, (_, i) =>
      policyOf('Deny', Array.from({ length: next(3) }, rule), {
        name: `shop/p${String(i).padStart(2, '0')}`,
      }),
    );
    const together = compileHttpPolicies(policies);
    const alone = policies.map((policy) => compileHttpPolicies([policy]));
    for (let i = 0; i < 40; i++) {
      const subject = subjectOf({ request: { path: path(), method: pick(['GET', 'PUT']) } });
      const expected = alone.map((one) => decideHttp(one, subject)).find(({ allow }) => !allow);
      const verdict = decideHttp(together, subject);
      assert.equal(verdict.by?.id, expected?.by?.id, subject.request.path);
      if (!verdict.allow) refused++;
    }
  }
  assert.ok(refused > 200 && refused < 1600, `${refused} of 1600: both outcomes are to be seen`);
});
