import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod } from '#/kube/index.ts';
import { chooseNode, controlPlaneTaint } from './scheduling.ts';

const node = (name: string, extra: Partial<Node['spec']> = {}, ready = 'True' as 'True' | 'False'): Node => ({
  metadata: { name, labels: { 'kubernetes.io/hostname': name, disk: name === 'w1' ? 'ssd' : 'hdd' } },
  spec: extra,
  status: { conditions: [{ type: 'Ready', status: ready }] },
});
const nodes = [node('cp', { taints: [controlPlaneTaint] }), node('w1'), node('w2')];

const pod = (name: string, spec: Partial<Pod['spec']> = {}, owner = 'set'): Pod => ({
  metadata: {
    name,
    namespace: 'ns',
    labels: { app: 'a' },
    ownerReferences: [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true },
    ],
  },
  spec: { containers: [], ...spec },
});

test('replicas of one owner are spread over the workers', () => {
  assert.deepEqual(chooseNode(pod('a'), nodes, []), { node: 'w1' });
  assert.deepEqual(chooseNode(pod('b'), nodes, [{ pod: pod('a'), node: 'w1' }]), { node: 'w2' });
  // Whose pods they are counts more than how many there are.
  const others = ['x', 'y', 'z'].map((name) => ({ pod: pod(name, {}, 'other'), node: 'w2' }));
  assert.deepEqual(chooseNode(pod('b'), nodes, [{ pod: pod('a'), node: 'w1' }, ...others]), { node: 'w2' });
});

test('a taint keeps pods off that do not tolerate it', () => {
  const tolerant = pod('a', {
    tolerations: [{ operator: 'Exists' }],
    nodeSelector: { 'kubernetes.io/hostname': 'cp' },
  });
  assert.deepEqual(chooseNode(tolerant, nodes, []), { node: 'cp' });
});

test('selector, affinity and anti-affinity', () => {
  assert.deepEqual(chooseNode(pod('a', { nodeSelector: { disk: 'hdd' } }), nodes, []), { node: 'w2' });
  const affinity = {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'NotIn', values: ['ssd'] }] }],
      },
    },
  };
  assert.deepEqual(chooseNode(pod('a', { affinity }), nodes, []), { node: 'w2' });
  const apart = {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { labelSelector: { matchLabels: { app: 'a' } }, topologyKey: 'kubernetes.io/hostname' },
      ],
    },
  };
  const both = [
    { pod: pod('x'), node: 'w1' },
    { pod: pod('y'), node: 'w2' },
  ];
  assert.match(JSON.stringify(chooseNode(pod('a', { affinity: apart }), nodes, both)), /anti-affinity/);
});

test('when no node suits, each reason is counted', () => {
  assert.deepEqual(
    chooseNode(pod('a', { nodeSelector: { disk: 'tape' } }), [...nodes, node('w3', {}, 'False')], []),
    {
      reason:
        "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 node(s) didn't match Pod's node affinity/selector, 1 node(s) were not ready",
    },
  );
});
