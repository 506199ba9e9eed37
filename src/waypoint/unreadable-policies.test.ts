import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpPolicy } from '#/model/index.ts';
import { UnreadablePolicies } from './unreadable-policies.ts';

const policy: HttpPolicy = {
  kind: 'http-policy',
  name: 'shop/allow',
  targets: [],
  action: 'Allow',
  rules: [],
  dryRun: false,
};
const broken = { name: 'http-policy:shop/allow', reason: 'rules: expected an array' };

test('a policy that was never read refuses everything', () => {
  const [standIn, ...more] = new UnreadablePolicies().standIns([], [broken], []);
  assert.deepEqual(more, []);
  assert.equal(standIn?.name, 'shop/allow');
  assert.equal(standIn.action, 'Deny');
  assert.deepEqual(standIn.rules, [{ from: [], to: [], when: [] }], 'a rule that matches everything');
});

test('one that was read before keeps its last good form; one that came anew after it had gone does not', () => {
  const policies = new UnreadablePolicies();
  assert.deepEqual(policies.standIns([policy], [], []), []);
  assert.deepEqual(policies.standIns([], [broken], []), []);
  assert.deepEqual(policies.standIns([], [], ['http-policy:shop/allow']), []);
  assert.equal(policies.standIns([], [broken], []).length, 1);
});

test('other resources that cannot be read stand for nobody', () => {
  const route = { name: 'http-route:HTTPRoute/shop/web', reason: 'x' };
  assert.deepEqual(new UnreadablePolicies().standIns([], [route], []), []);
});
