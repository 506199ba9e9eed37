import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressPlan } from './address-plan.ts';

test('three nodes have the names and addresses of the tour', () => {
  const plan = addressPlan(3, ['IPv4']);
  assert.deepEqual(
    plan.nodes.map(({ name, ips, podCidrs, controlPlane }) => [name, ips, podCidrs, controlPlane]),
    [
      ['ambient-control-plane', ['172.18.0.2'], ['10.244.0.0/24'], true],
      ['ambient-worker', ['172.18.0.3'], ['10.244.1.0/24'], false],
      ['ambient-worker2', ['172.18.0.4'], ['10.244.2.0/24'], false],
    ],
  );
  assert.equal(plan.controlPlane.name, 'ambient-control-plane');
  assert.deepEqual(plan.dnsServiceIps, ['10.96.0.10']);
});

test('dual stack gives both families, the first one first', () => {
  const { nodes, serviceCidrs } = addressPlan(2, ['IPv4', 'IPv6']);
  assert.deepEqual(nodes[0]?.podCidrs, ['10.244.0.0/24', 'fd00:10:244::/64']);
  assert.deepEqual(nodes[1]?.podCidrs, ['10.244.1.0/24', 'fd00:10:244:1::/64']);
  assert.deepEqual(nodes[1]?.ips, ['172.18.0.3', 'fd00:172:18::3']);
  assert.equal(serviceCidrs.length, 2);
});

test('IPv6 alone has no IPv4 address anywhere', () => {
  assert.doesNotMatch(JSON.stringify(addressPlan(3, ['IPv6'])), /\d+\.\d+\.\d+\.\d+/);
});

test('no two nodes share an address or a range', () => {
  const { nodes } = addressPlan(16, ['IPv4', 'IPv6']);
  const all = nodes.flatMap(({ name, ips, podCidrs }) => [name, ...ips, ...podCidrs]);
  assert.equal(new Set(all).size, all.length);
});
