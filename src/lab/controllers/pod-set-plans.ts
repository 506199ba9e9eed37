// How many pods ReplicaSets, DaemonSets, StatefulSets and Jobs want, and which of those that are there should go.
// Pure.
import type { Condition, DaemonSet, Job, Node, Pod, ReplicaSet, StatefulSet } from '#/kube/index.ts';
import { isoSeconds } from '../kubelet/pod-status.ts';
import { hashOf, isPodAvailable, isPodReady, isPodTerminal } from './object-tools.ts';
import { fits } from './scheduling.ts';

const isAlive = (pod: Pod): boolean => pod.metadata.deletionTimestamp === undefined && !isPodTerminal(pod);

/** Less useful first: not bound, not ready, younger. */
function byUse(a: Pod, b: Pod): number {
  const rank = (pod: Pod): number => (pod.spec.nodeName === undefined ? 0 : isPodReady(pod) ? 2 : 1);
  const born = (pod: Pod): number => Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
  return rank(a) - rank(b) || born(b) - born(a);
}

export interface ReplicaSetPlan {
  readonly create: number;
  readonly remove: readonly Pod[];
  readonly status: NonNullable<ReplicaSet['status']>;
}

export function planReplicaSet(set: ReplicaSet, owned: readonly Pod[], now: number): ReplicaSetPlan {
  const wanted = set.metadata.deletionTimestamp === undefined ? (set.spec.replicas ?? 1) : 0;
  const alive = owned.filter(isAlive);
  const seconds = set.spec.minReadySeconds ?? 0;
  return {
    create: Math.max(0, wanted - alive.length),
    remove: [...alive].sort(byUse).slice(0, Math.max(0, alive.length - wanted)),
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      replicas: alive.length,
      fullyLabeledReplicas: alive.length,
      readyReplicas: alive.filter(isPodReady).length,
      availableReplicas: alive.filter((pod) => isPodAvailable(pod, seconds, now)).length,
    },
  };
}

export const revisionLabel = 'controller-revision-hash';

export interface DaemonSetPlan {
  /** Names of nodes that lack a pod. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  readonly hash: string;
  readonly status: NonNullable<DaemonSet['status']>;
}

export function planDaemonSet(
  set: DaemonSet,
  nodes: readonly Node[],
  owned: readonly Pod[],
  now: number,
): DaemonSetPlan {
  const hash = hashOf(set.spec.template);
  const eligible = nodes.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const deleting = set.metadata.deletionTimestamp !== undefined;
  const suited = deleting
    ? []
    : eligible.filter((node) => fits(set.spec.template.spec, node, { daemon: true }) === undefined);
  const create: string[] = [];
  const remove: Pod[] = [];
  const onNode = new Map<string, Pod[]>();
  for (const pod of owned) {
    const list = onNode.get(pod.spec.nodeName ?? '') ?? [];
    list.push(pod);
    onNode.set(pod.spec.nodeName ?? '', list);
  }
  const current: Pod[] = [];
  const outdated: Pod[] = [];
  for (const { metadata } of suited) {
    const pods = onNode.get(metadata.name) ?? [];
    onNode.delete(metadata.name);
    // A pod that ended is replaced; one that is ending still holds the node's ports and sockets.
    remove.push(...pods.filter((pod) => isPodTerminal(pod) && pod.metadata.deletionTimestamp === undefined));
    const alive = pods.filter(isAlive).sort(byUse);
    remove.push(...alive.slice(0, -1));
    const keep = alive.at(-1);
    if (keep !== undefined) {
      current.push(keep);
      if (keep.metadata.labels?.[revisionLabel] !== hash) outdated.push(keep);
    } else if (pods.every((pod) => isPodTerminal(pod))) create.push(metadata.name);
  }
  const stray = [...onNode.values()].flat().filter((pod) => pod.metadata.deletionTimestamp === undefined);
  remove.push(...stray);
  const seconds = set.spec.minReadySeconds ?? 0;
  const available = current.filter((pod) => isPodAvailable(pod, seconds, now));
  // One node at a time, and none while a node has no pod of ours; a pod that is not available is no loss.
  if (set.spec.updateStrategy?.type !== 'OnDelete' && outdated.length > 0) {
    const broken = outdated.filter((pod) => !available.includes(pod));
    remove.push(...broken);
    if (broken.length === 0 && available.length === suited.length) remove.push(outdated[0] as Pod);
  }
  return {
    create,
    remove,
    hash,
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      desiredNumberScheduled: suited.length,
      currentNumberScheduled: current.length,
      numberMisscheduled: stray.length,
      numberReady: current.filter(isPodReady).length,
      updatedNumberScheduled: current.length - outdated.length,
      numberAvailable: available.length,
      numberUnavailable: Math.max(0, suited.length - available.length),
    },
  };
}

export interface StatefulSetPlan {
  /** Ordinals. */
  readonly create: readonly number[];
  readonly remove: readonly Pod[];
  readonly hash: string;
  readonly status: NonNullable<StatefulSet['status']>;
}

export function planStatefulSet(set: StatefulSet, owned: readonly Pod[], now: number): StatefulSetPlan {
  const wanted = set.metadata.deletionTimestamp === undefined ? (set.spec.replicas ?? 1) : 0;
  const hash = hashOf(set.spec.template);
  const ordinalOf = (pod: Pod): number => Number(pod.metadata.name.slice(set.metadata.name.length + 1)) || 0;
  const byOrdinal = new Map(owned.map((pod) => [ordinalOf(pod), pod]));
  const parallel = set.spec.podManagementPolicy === 'Parallel';
  const create: number[] = [];
  const remove: Pod[] = [];
  for (let i = 0; i < wanted; i++) {
    const pod = byOrdinal.get(i);
    if (pod === undefined) create.push(i);
    else if (isPodTerminal(pod) && pod.metadata.deletionTimestamp === undefined) remove.push(pod);
    // In order: the next one waits until this one is ready.
    if (!parallel && (pod === undefined || !isPodReady(pod))) break;
  }
  const surplus = owned.filter((pod) => ordinalOf(pod) >= wanted).sort((a, b) => ordinalOf(b) - ordinalOf(a));
  const ending = owned.some(({ metadata }) => metadata.deletionTimestamp !== undefined);
  if (parallel) remove.push(...surplus.filter(({ metadata }) => metadata.deletionTimestamp === undefined));
  else if (!ending && surplus[0] !== undefined) remove.push(surplus[0]);
  const alive = owned.filter(isAlive);
  const updated = alive.filter(({ metadata }) => metadata.labels?.[revisionLabel] === hash);
  const allReady = alive.length === wanted && alive.every(isPodReady);
  if (set.spec.updateStrategy?.type !== 'OnDelete' && create.length === 0 && remove.length === 0 && !ending) {
    const outdated = alive
      .filter((pod) => !updated.includes(pod))
      .sort((a, b) => ordinalOf(b) - ordinalOf(a));
    const broken = outdated.find((pod) => !isPodReady(pod));
    if (broken !== undefined) remove.push(broken);
    else if (allReady && outdated[0] !== undefined) remove.push(outdated[0]);
  }
  return {
    create,
    remove,
    hash,
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      replicas: alive.length,
      readyReplicas: alive.filter(isPodReady).length,
      currentReplicas: updated.length,
      updatedReplicas: updated.length,
      availableReplicas: alive.filter((pod) => isPodAvailable(pod, 0, now)).length,
      currentRevision: `${set.metadata.name}-${hash}`,
      updateRevision: `${set.metadata.name}-${hash}`,
    },
  };
}

export interface JobPlan {
  readonly create: number;
  readonly remove: readonly Pod[];
  readonly status: NonNullable<Job['status']>;
}

export function planJob(job: Job, owned: readonly Pod[], now: number): JobPlan {
  const { spec, status } = job;
  const alive = owned.filter(isAlive);
  const succeeded = owned.filter((pod) => pod.status?.phase === 'Succeeded').length;
  const failed = owned.filter((pod) => pod.status?.phase === 'Failed').length;
  const parallelism = spec.parallelism ?? 1;
  const completions = spec.completions ?? (spec.parallelism === undefined ? 1 : undefined);
  const startTime = status?.startTime ?? isoSeconds(now);
  const late =
    spec.activeDeadlineSeconds !== undefined &&
    now - Date.parse(startTime) > spec.activeDeadlineSeconds * 1000;
  const tooMany = failed > (spec.backoffLimit ?? 6);
  const complete = completions === undefined ? succeeded > 0 && alive.length === 0 : succeeded >= completions;
  const over = complete || tooMany || late;
  const open = completions === undefined ? (succeeded > 0 ? 0 : parallelism) : completions - succeeded;
  const wanted = over || spec.suspend === true ? 0 : Math.min(parallelism, open);
  const end = (type: string, reason: string): Condition => {
    const before = status?.conditions?.find((known) => known.type === type);
    return {
      type,
      status: 'True',
      reason,
      lastTransitionTime: before?.lastTransitionTime ?? isoSeconds(now),
    };
  };
  return {
    create: Math.max(0, wanted - alive.length),
    remove: [...alive].sort(byUse).slice(0, Math.max(0, alive.length - wanted)),
    status: {
      startTime,
      active: Math.min(alive.length, wanted),
      ready: alive.filter(isPodReady).length,
      succeeded,
      failed,
      ...(complete ? { completionTime: status?.completionTime ?? isoSeconds(now) } : {}),
      conditions: complete
        ? [end('Complete', 'CompletionsReached')]
        : over
          ? [end('Failed', late ? 'DeadlineExceeded' : 'BackoffLimitExceeded')]
          : [],
    },
  };
}
