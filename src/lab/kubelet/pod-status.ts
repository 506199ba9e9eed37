// A pod's status from what its containers do: phase, conditions, container states, as a kubelet reports them.
// Pure.
import type { Condition, Container, ContainerState, ContainerStatus, Pod, PodStatus } from '#/kube/index.ts';
import type { RunState } from '../runtime/container-process.ts';

export interface ContainerView {
  readonly spec: Container;
  readonly restarts: number;
  readonly current: RunState | undefined;
  /** The run before the current one. */
  readonly last: RunState | undefined;
  /** Why it does not run (again) yet. */
  readonly waiting?: { readonly reason: string; readonly message?: string } | undefined;
  /** Passed its startup and readiness probes, if it has any. */
  readonly ready: boolean;
  readonly started: boolean;
}

export interface PodView {
  readonly init: readonly ContainerView[];
  readonly containers: readonly ContainerView[];
  readonly ips: readonly string[];
  readonly hostIps: readonly string[];
  readonly startTime: number;
  readonly terminating: boolean;
}

export const isoSeconds = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

function terminated(run: RunState & { kind: 'exited' }): NonNullable<ContainerState['terminated']> {
  const signal = run.code > 128 && run.code < 160 ? run.code - 128 : undefined;
  return {
    exitCode: run.code,
    ...(signal === undefined ? {} : { signal }),
    reason: run.code === 0 ? 'Completed' : 'Error',
    startedAt: isoSeconds(run.startedAt),
    finishedAt: isoSeconds(run.at),
  };
}

function stateOf(run: RunState | undefined): ContainerState {
  switch (run?.kind) {
    case undefined:
      return {};
    case 'starting':
      return { waiting: { reason: 'ContainerCreating' } };
    case 'running':
      return { running: { startedAt: isoSeconds(run.startedAt) } };
    case 'exited':
      return { terminated: terminated(run) };
    case 'failed':
      return {
        terminated: {
          exitCode: 128,
          reason: 'StartError',
          message: run.message,
          startedAt: isoSeconds(run.at),
          finishedAt: isoSeconds(run.at),
        },
      };
  }
}

/** `aura://` and the pod's UID, container and run: unique, and shows where its files are. */
export const containerId = (uid: string, name: string, restarts: number): string =>
  `aura://${uid}/${name}/${restarts}`;

function containerStatus(view: ContainerView, uid: string): ContainerStatus {
  const { spec, current, last, restarts, waiting } = view;
  const id = containerId(uid, spec.name, restarts);
  const ended = current?.kind === 'exited' || current?.kind === 'failed';
  // While it waits for its next start, the run that ended is the last state.
  const state: ContainerState =
    waiting !== undefined && (current === undefined || ended) ? { waiting } : stateOf(current);
  const previous = waiting !== undefined && ended ? current : last;
  return {
    name: spec.name,
    ready: view.ready && current?.kind === 'running',
    started: view.started && current?.kind === 'running',
    restartCount: restarts,
    image: spec.image ?? '',
    imageID: spec.image ?? '',
    ...(current === undefined ? {} : { containerID: id }),
    state: Object.keys(state).length === 0 ? { waiting: { reason: 'ContainerCreating' } } : state,
    lastState: previous === undefined ? {} : stateOf(previous),
  };
}

const succeeded = (run: RunState | undefined): boolean => run?.kind === 'exited' && run.code === 0;
const ended = (view: ContainerView): boolean =>
  view.waiting === undefined && (view.current?.kind === 'exited' || view.current?.kind === 'failed');
/** An init container that goes on running beside the others (a native sidecar). */
export const isSidecar = (container: Container): boolean => container.restartPolicy === 'Always';

export function podPhase(pod: Pod, view: PodView): NonNullable<PodStatus['phase']> {
  const policy = pod.spec.restartPolicy ?? 'Always';
  const init = view.init.filter(({ spec }) => !isSidecar(spec));
  const initDone = init.every(({ current }) => succeeded(current));
  if (!initDone && policy === 'Never' && init.some((one) => ended(one) && !succeeded(one.current)))
    return 'Failed';
  const { containers } = view;
  if (containers.every(ended) && containers.length > 0 && (policy !== 'Always' || view.terminating)) {
    const good = containers.every(({ current }) => succeeded(current));
    if (good) return 'Succeeded';
    if (policy === 'Never' || view.terminating) return 'Failed';
  }
  const begun = containers.some(({ current }) => current !== undefined && current.kind !== 'starting');
  return initDone && begun ? 'Running' : 'Pending';
}

/** Keeps the time of a condition whose status has not changed, and the conditions that others wrote. */
function mergeConditions(
  old: readonly Condition[],
  now: readonly Omit<Condition, 'lastTransitionTime'>[],
  at: number,
): Condition[] {
  const own = now.map((condition): Condition => {
    const before = old.find(({ type }) => type === condition.type);
    const since =
      before?.status === condition.status && before.lastTransitionTime !== undefined
        ? before.lastTransitionTime
        : isoSeconds(at);
    return { ...condition, lastProbeTime: null, lastTransitionTime: since };
  });
  return [...own, ...old.filter(({ type }) => now.every((condition) => condition.type !== type))];
}

export function buildPodStatus(pod: Pod, view: PodView, now: number): PodStatus {
  const uid = pod.metadata.uid ?? '';
  const phase = podPhase(pod, view);
  const old = pod.status?.conditions ?? [];
  const initDone = view.init.every((one) =>
    isSidecar(one.spec) ? one.started && one.current?.kind === 'running' : succeeded(one.current),
  );
  const done = phase === 'Succeeded' || phase === 'Failed';
  const notReady = view.containers.filter((one) => !(one.ready && one.current?.kind === 'running'));
  const containersReady = !done && initDone && notReady.length === 0;
  const gates = (pod.spec.readinessGates ?? []).filter(
    ({ conditionType }) => !old.some(({ type, status }) => type === conditionType && status === 'True'),
  );
  const because =
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : phase === 'Failed'
        ? { reason: 'PodFailed' }
        : {
            reason: 'ContainersNotReady',
            message: `containers with unready status: [${notReady.map(({ spec }) => spec.name).join(' ')}]`,
          };
  const truth = (value: boolean): 'True' | 'False' => (value ? 'True' : 'False');
  const conditions = mergeConditions(
    old,
    [
      { type: 'PodReadyToStartContainers', status: truth(view.ips.length > 0) },
      { type: 'Initialized', status: truth(initDone || done) },
      {
        type: 'Ready',
        status: truth(containersReady && gates.length === 0),
        ...(containersReady ? (gates.length > 0 ? { reason: 'ReadinessGatesNotReady' } : {}) : because),
      },
      { type: 'ContainersReady', status: truth(containersReady), ...(containersReady ? {} : because) },
      { type: 'PodScheduled', status: 'True' },
    ],
    now,
  );
  const hostIp = view.hostIps[0];
  return {
    phase,
    conditions,
    ...(hostIp === undefined ? {} : { hostIP: hostIp, hostIPs: view.hostIps.map((ip) => ({ ip })) }),
    ...(view.ips[0] === undefined ? {} : { podIP: view.ips[0], podIPs: view.ips.map((ip) => ({ ip })) }),
    startTime: isoSeconds(view.startTime),
    ...(view.init.length === 0
      ? {}
      : { initContainerStatuses: view.init.map((one) => containerStatus(one, uid)) }),
    containerStatuses: view.containers.map((one) => containerStatus(one, uid)),
    qosClass: 'BestEffort',
  };
}
