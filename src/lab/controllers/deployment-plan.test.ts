import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Deployment, ReplicaSet } from '#/kube/index.ts';
import { planDeployment } from './deployment-plan.ts';

const deployment = (image: string, spec: Partial<Deployment['spec']> = {}): Deployment => ({
  metadata: { name: 'd', namespace: 'ns', uid: 'u', generation: 2 },
  spec: {
    replicas: 4,
    selector: { matchLabels: { app: 'a' } },
    template: { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image }] } },
    ...spec,
  },
});

/** The ReplicaSets after the API and the ReplicaSet controller did what was planned, all pods ready at once. */
function play(target: Deployment, sets: readonly ReplicaSet[], steps = 30): readonly ReplicaSet[] {
  let current = [...sets];
  for (let i = 0; i < steps; i++) {
    const plan = planDeployment(target, current, 0);
    const total = current.reduce((sum, set) => sum + (set.status?.availableReplicas ?? 0), 0);
    if (sets.length > 0) {
      assert.ok(total >= 3, `never fewer than 3 of 4 available, was ${total}`);
      const wanted = current.reduce((sum, set) => sum + (set.spec.replicas ?? 0), 0);
      assert.ok(wanted <= 5, `never more than 5 wanted, was ${wanted}`);
    }
    if (plan.create !== undefined) current.push(plan.create);
    current = current
      .map((set) => {
        const scale = plan.scale.find(({ name }) => name === set.metadata.name);
        const replicas = scale?.replicas ?? set.spec.replicas ?? 0;
        return {
          ...set,
          spec: { ...set.spec, replicas },
          status: { replicas, readyReplicas: replicas, availableReplicas: replicas },
        };
      })
      .filter((set) => !plan.remove.includes(set.metadata.name));
  }
  return current;
}

const sizes = (sets: readonly ReplicaSet[]): number[] =>
  sets.map(({ spec }) => spec.replicas ?? 0).sort((a, b) => a - b);

test('a new Deployment gets one ReplicaSet, named and labelled by the hash of its template', () => {
  const { create } = planDeployment(deployment('a'), [], 0);
  assert.match(create?.metadata.name ?? '', /^d-[bcdfghjklmnpqrstvwxz2456789]{10}$/);
  const hash = create?.metadata.name.slice(2);
  assert.equal(create?.spec.template.metadata?.labels?.['pod-template-hash'], hash);
  assert.equal(create?.spec.selector.matchLabels?.['pod-template-hash'], hash);
  assert.equal(create?.spec.replicas, 4);
  assert.equal(create?.metadata.ownerReferences?.[0]?.uid, 'u');
});

test('a new template rolls out within its limits and leaves the old set empty', () => {
  const first = play(deployment('a'), []);
  const second = play(deployment('b'), first);
  assert.deepEqual(sizes(second), [0, 4]);
  const { status } = planDeployment(deployment('b'), second, 0);
  assert.equal(status.updatedReplicas, 4);
  assert.equal(
    status.conditions?.find(({ type }) => type === 'Progressing')?.reason,
    'NewReplicaSetAvailable',
  );
});

test('going back to an old template uses its set again, with a new revision', () => {
  const sets = play(deployment('b'), play(deployment('a'), []));
  const back = planDeployment(deployment('a'), sets, 0);
  assert.equal(back.create, undefined);
  assert.equal(back.revision?.value, '3');
  assert.deepEqual(sizes(play(deployment('a'), sets)), [0, 4]);
});

test('scaling changes the current set only', () => {
  const sets = play(deployment('a'), []);
  assert.deepEqual(planDeployment(deployment('a', { replicas: 1 }), sets, 0).scale, [
    { name: sets[0]?.metadata.name, replicas: 1 },
  ]);
});

test('Recreate waits until the old pods are gone', () => {
  const recreate = { strategy: { type: 'Recreate' } };
  const [old] = play(deployment('a'), []);
  assert.ok(old !== undefined);
  const stopping = planDeployment(deployment('b', recreate), [old], 0);
  assert.equal(stopping.create, undefined);
  assert.deepEqual(stopping.scale, [{ name: old.metadata.name, replicas: 0 }]);
  const gone = { ...old, spec: { ...old.spec, replicas: 0 }, status: { replicas: 0 } };
  assert.equal(planDeployment(deployment('b', recreate), [gone], 0).create?.spec.replicas, 4);
});

test('an old set that is not available is given up first', () => {
  const [old] = play(deployment('a'), []);
  assert.ok(old !== undefined);
  const broken = { ...old, status: { replicas: 4, readyReplicas: 0, availableReplicas: 0 } };
  const { create } = planDeployment(deployment('b'), [broken], 0);
  assert.equal(create?.spec.replicas, 1);
  const { scale } = planDeployment(deployment('b'), [broken, create], 0);
  // One new one is wanted and not yet there: one of the four may go.
  assert.deepEqual(scale, [{ name: old.metadata.name, replicas: 3 }]);
});

test('beyond the history limit old sets are removed', () => {
  const sets = play(deployment('b'), play(deployment('a'), []));
  const { remove } = planDeployment(deployment('b', { revisionHistoryLimit: 0 }), sets, 0);
  assert.equal(remove.length, 1);
});
