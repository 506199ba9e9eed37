import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod } from '#/kube/index.ts';
import type { RunState } from '../runtime/container-process.ts';
import { buildPodStatus, podPhase, type ContainerView, type PodView } from './pod-status.ts';

const now = Date.parse('2026-01-02T03:04:05Z');
const running: RunState = { kind: 'running', pid: 5, startedAt: now - 1000 };
const exited = (code: number): RunState => ({ kind: 'exited', code, startedAt: now - 2000, at: now - 1000 });

const one = (
  current: RunState | undefined,
  extra: Partial<ContainerView> = {},
  spec: Partial<Container> = {},
) => ({
  spec: { name: 'c', image: 'i', ...spec },
  restarts: 0,
  current,
  last: undefined,
  ready: current?.kind === 'running',
  started: current?.kind === 'running',
  ...extra,
});

const pod = (restartPolicy = 'Always', extra: Partial<Pod> = {}): Pod => ({
  metadata: { name: 'p', namespace: 'ns', uid: 'u' },
  spec: { containers: [], restartPolicy },
  ...extra,
});

const view = (containers: ContainerView[], extra: Partial<PodView> = {}): PodView => ({
  init: [],
  containers,
  ips: ['10.0.0.5'],
  hostIps: ['172.18.0.3'],
  startTime: now - 5000,
  terminating: false,
  ...extra,
});

const phases: readonly (readonly [title: string, phase: string, policy: string, PodView])[] = [
  ['nothing started', 'Pending', 'Always', view([one(undefined)])],
  ['starting', 'Pending', 'Always', view([one({ kind: 'starting' })])],
  ['running', 'Running', 'Always', view([one(running)])],
  ['ended, to be restarted', 'Running', 'Always', view([one(exited(1))])],
  ['ended well, for good', 'Succeeded', 'Never', view([one(exited(0))])],
  ['ended badly, for good', 'Failed', 'Never', view([one(exited(3))])],
  ['ended well, on failure only', 'Succeeded', 'OnFailure', view([one(exited(0))])],
  ['ended badly, tried again', 'Running', 'OnFailure', view([one(exited(1))])],
  ['one of two ended', 'Running', 'Never', view([one(exited(0)), one(running)])],
  ['ending pod', 'Failed', 'Always', view([one(exited(143))], { terminating: true })],
  ['init not done', 'Pending', 'Always', view([one(undefined)], { init: [one(running)] })],
  ['init failed for good', 'Failed', 'Never', view([one(undefined)], { init: [one(exited(1))] })],
  [
    'sidecar runs on',
    'Running',
    'Always',
    view([one(running)], { init: [one(running, {}, { restartPolicy: 'Always' })] }),
  ],
];
for (const [title, phase, policy, state] of phases)
  test(`phase: ${title}`, () => assert.equal(podPhase(pod(policy), state), phase));

const conditionOf = (status: ReturnType<typeof buildPodStatus>, type: string) =>
  status.conditions?.find((condition) => condition.type === type);

test('a running, ready pod', () => {
  const status = buildPodStatus(pod(), view([one(running)]), now);
  assert.equal(conditionOf(status, 'Ready')?.status, 'True');
  assert.equal(status.podIP, '10.0.0.5');
  assert.equal(status.hostIP, '172.18.0.3');
  assert.deepEqual(status.containerStatuses?.[0]?.state, { running: { startedAt: '2026-01-02T03:04:04Z' } });
});

test('a container that waits for its restart shows why, and how it ended', () => {
  const waiting = { reason: 'CrashLoopBackOff', message: 'back-off 2s' };
  const status = buildPodStatus(pod(), view([one(exited(7), { waiting, restarts: 2 })]), now);
  const container = status.containerStatuses?.[0];
  assert.deepEqual(container?.state, { waiting });
  assert.equal(container?.lastState?.terminated?.exitCode, 7);
  assert.equal(container?.restartCount, 2);
  assert.equal(conditionOf(status, 'Ready')?.reason, 'ContainersNotReady');
});

test('a command that could not be started says so', () => {
  const failed: RunState = { kind: 'failed', message: 'mount: no', at: now };
  const status = buildPodStatus(pod('Never'), view([one(failed)]), now);
  assert.equal(status.containerStatuses?.[0]?.state?.terminated?.message, 'mount: no');
});

test('a signal shows as one', () => {
  const status = buildPodStatus(pod('Never'), view([one(exited(137))]), now);
  assert.equal(status.containerStatuses?.[0]?.state?.terminated?.signal, 9);
});

test('unchanged conditions keep their time; conditions of others stay', () => {
  const before = buildPodStatus(pod(), view([one(running)]), now);
  const foreign = { type: 'example.com/x', status: 'True' } as const;
  const known = pod('Always', { status: { ...before, conditions: [...(before.conditions ?? []), foreign] } });
  const after = buildPodStatus(known, view([one(running)]), now + 60_000);
  assert.equal(conditionOf(after, 'Ready')?.lastTransitionTime, '2026-01-02T03:04:05Z');
  assert.deepEqual(conditionOf(after, 'example.com/x'), foreign);
});

test('a readiness gate holds the pod back', () => {
  const gated: Pod = {
    ...pod(),
    spec: { containers: [], readinessGates: [{ conditionType: 'example.com/x' }] },
  };
  assert.equal(conditionOf(buildPodStatus(gated, view([one(running)]), now), 'Ready')?.status, 'False');
});
