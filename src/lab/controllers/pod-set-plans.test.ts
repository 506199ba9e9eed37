import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonSet, Job, Node, Pod, ReplicaSet, StatefulSet } from '#/kube/index.ts';
import { hashOf } from './object-tools.ts';
import { planDaemonSet, planJob, planReplicaSet, planStatefulSet } from './pod-set-plans.ts';

const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
const hash = hashOf(template);
const selector = { matchLabels: { app: 'a' } };
const metadata = { name: 's', namespace: 'ns', generation: 1 };

interface PodShape {
  node?: string;
  ready?: boolean;
  phase?: 'Running' | 'Succeeded' | 'Failed';
  ending?: boolean;
  revision?: string;
  born?: string;
}

const pod = (name: string, shape: PodShape = {}): Pod => ({
  metadata: {
    name,
    namespace: 'ns',
    uid: name,
    creationTimestamp: shape.born ?? '2026-01-01T00:00:00Z',
    labels: { 'controller-revision-hash': shape.revision ?? hash },
    ...(shape.ending === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
  },
  spec: { containers: [], ...(shape.node === undefined ? {} : { nodeName: shape.node }) },
  status: {
    phase: shape.phase ?? 'Running',
    conditions: [{ type: 'Ready', status: shape.ready === false ? 'False' : 'True' }],
  },
});

const node = (name: string, extra: Partial<Node> = {}): Node => ({
  metadata: { name, labels: { 'kubernetes.io/hostname': name } },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
  ...extra,
});

const names = (pods: readonly Pod[]) => pods.map((one) => one.metadata.name);

test('ReplicaSet: makes what is missing, ended and ending pods do not count', () => {
  const set: ReplicaSet = { metadata, spec: { replicas: 3, selector, template } };
  const plan = planReplicaSet(
    set,
    [
      pod('a', { node: 'n' }),
      pod('b', { node: 'n', ending: true }),
      pod('c', { node: 'n', phase: 'Failed' }),
    ],
    0,
  );
  assert.equal(plan.create, 2);
  assert.deepEqual(plan.status, {
    observedGeneration: 1,
    replicas: 1,
    fullyLabeledReplicas: 1,
    readyReplicas: 1,
    availableReplicas: 1,
  });
});

test('ReplicaSet: the least useful pods go first', () => {
  const set: ReplicaSet = { metadata, spec: { replicas: 1, selector, template } };
  const pods = [
    pod('old', { node: 'n' }),
    pod('young', { node: 'n', born: '2026-01-02T00:00:00Z' }),
    pod('unready', { node: 'n', ready: false }),
    pod('unbound'),
  ];
  assert.deepEqual(names(planReplicaSet(set, pods, 0).remove), ['unbound', 'unready', 'young']);
});

const daemon: DaemonSet = { metadata, spec: { selector, template } };

test('DaemonSet: one pod per node that suits, strays go', () => {
  const tainted = node('cp', { spec: { taints: [{ key: 'x', effect: 'NoSchedule' }] } });
  const plan = planDaemonSet(
    daemon,
    [node('n1'), node('n2'), tainted],
    [pod('a', { node: 'n1' }), pod('stray', { node: 'cp' }), pod('lost', { node: 'gone' })],
    0,
  );
  assert.deepEqual(plan.create, ['n2']);
  assert.deepEqual(names(plan.remove), ['stray', 'lost']);
  assert.equal(plan.status.desiredNumberScheduled, 2);
  assert.equal(plan.status.numberReady, 1);
});

test('DaemonSet: a node whose pod is ending waits for it to be gone', () => {
  assert.deepEqual(
    planDaemonSet(daemon, [node('n1')], [pod('a', { node: 'n1', ending: true })], 0).create,
    [],
  );
});

test('DaemonSet: a new template replaces one node’s pod at a time, broken ones at once', () => {
  const nodes = [node('n1'), node('n2')];
  const old = [pod('a', { node: 'n1', revision: 'x' }), pod('b', { node: 'n2', revision: 'x' })];
  assert.deepEqual(names(planDaemonSet(daemon, nodes, old, 0).remove), ['a']);
  const half = [pod('a2', { node: 'n1', ready: false }), old[1] as Pod];
  assert.deepEqual(planDaemonSet(daemon, nodes, half, 0).remove, []);
  const broken = old.map((one) => ({ ...one, status: { phase: 'Running' as const } }));
  assert.deepEqual(names(planDaemonSet(daemon, nodes, broken, 0).remove), ['a', 'b']);
  const manual: DaemonSet = { ...daemon, spec: { ...daemon.spec, updateStrategy: { type: 'OnDelete' } } };
  assert.deepEqual(planDaemonSet(manual, nodes, old, 0).remove, []);
});

test('StatefulSet: in order up, in reverse order down', () => {
  const set = (replicas: number): StatefulSet => ({ metadata, spec: { replicas, selector, template } });
  assert.deepEqual(planStatefulSet(set(3), [], 0).create, [0]);
  assert.deepEqual(planStatefulSet(set(3), [pod('s-0', { ready: false })], 0).create, []);
  assert.deepEqual(planStatefulSet(set(3), [pod('s-0')], 0).create, [1]);
  assert.deepEqual(names(planStatefulSet(set(1), [pod('s-0'), pod('s-1'), pod('s-2')], 0).remove), ['s-2']);
  const outdated = [pod('s-0', { revision: 'x' }), pod('s-1', { revision: 'x' })];
  assert.deepEqual(names(planStatefulSet(set(2), outdated, 0).remove), ['s-1']);
});

test('Job: until enough have succeeded, or too many failed', () => {
  const job = (spec: Partial<Job['spec']>): Job => ({ metadata, spec: { template, ...spec } });
  assert.equal(planJob(job({}), [], 0).create, 1);
  assert.equal(
    planJob(job({ completions: 3, parallelism: 2 }), [pod('a', { phase: 'Succeeded' })], 0).create,
    2,
  );
  const done = planJob(job({}), [pod('a', { phase: 'Succeeded' })], 0);
  assert.equal(done.create, 0);
  assert.equal(done.status.conditions?.[0]?.type, 'Complete');
  const failed = planJob(job({ backoffLimit: 0 }), [pod('a', { phase: 'Failed' })], 0);
  assert.equal(failed.create, 0);
  assert.equal(failed.status.conditions?.[0]?.reason, 'BackoffLimitExceeded');
});
