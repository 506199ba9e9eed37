// What a Deployment needs next: a ReplicaSet for its template, more of the new, less of the old, within its limits.
// Pure, and one step at a time: every change of a ReplicaSet's status leads to the next look.
import type { Condition, Deployment, ReplicaSet } from '#/kube/index.ts';
import { apiVersionOf, deployments } from '#/kube/index.ts';
import { hashOf, ownerReference, shareOf } from './object-tools.ts';
import { isoSeconds } from '../kubelet/pod-status.ts';

export const revisionAnnotation = 'deployment.kubernetes.io/revision';
const hashLabel = 'pod-template-hash';

export interface DeploymentPlan {
  readonly create?: ReplicaSet;
  readonly scale: readonly { readonly name: string; readonly replicas: number }[];
  readonly remove: readonly string[];
  /** Of the ReplicaSet with the current template, and of the Deployment. */
  readonly revision: { readonly name: string; readonly value: string } | undefined;
  readonly status: NonNullable<Deployment['status']>;
}

const wantedOf = ({ spec }: ReplicaSet): number => spec.replicas ?? 1;
const availableOf = ({ status }: ReplicaSet): number => status?.availableReplicas ?? 0;
const sum = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number): number =>
  sets.reduce((total, set) => total + of(set), 0);
const revisionOf = (set: ReplicaSet): number => Number(set.metadata.annotations?.[revisionAnnotation] ?? 0);

export function planDeployment(
  deployment: Deployment,
  owned: readonly ReplicaSet[],
  now: number,
): DeploymentPlan {
  const { metadata, spec } = deployment;
  const desired = spec.replicas ?? 1;
  const hash = hashOf(spec.template);
  const name = `${metadata.name}-${hash}`;
  const current = owned.find((set) => set.metadata.name === name);
  const old = owned.filter((set) => set !== current);
  const status = statusOf(deployment, owned, current, desired, now);
  const newest = Math.max(0, ...old.map(revisionOf));
  const revision =
    current === undefined || revisionOf(current) > newest
      ? current === undefined
        ? undefined
        : { name, value: String(revisionOf(current)) }
      : { name, value: String(newest + 1) };
  const nothing = { scale: [], remove: [], revision, status };
  const recreate = spec.strategy?.type === 'Recreate';
  const { maxSurge, maxUnavailable } = limitsOf(deployment, desired);
  if (spec.paused === true && current !== undefined) return nothing;

  if (current === undefined) {
    // With Recreate the old ones must be gone before the first new one.
    if (recreate && sum(old, ({ status: s }) => s?.replicas ?? 0) > 0)
      return { ...nothing, scale: toZero(old) };
    const total = sum(old, wantedOf);
    const first =
      old.length === 0 || recreate ? desired : Math.max(0, Math.min(desired, desired + maxSurge - total));
    return {
      ...nothing,
      create: {
        metadata: {
          name,
          namespace: metadata.namespace ?? 'default',
          labels: { ...spec.template.metadata?.labels, [hashLabel]: hash },
          annotations: { [revisionAnnotation]: String(newest + 1) },
          ownerReferences: [ownerReference(deployment, apiVersionOf(deployments), 'Deployment')],
        },
        spec: {
          replicas: first,
          ...(spec.minReadySeconds === undefined ? {} : { minReadySeconds: spec.minReadySeconds }),
          selector: {
            ...spec.selector,
            matchLabels: { ...spec.selector.matchLabels, [hashLabel]: hash },
          },
          template: {
            ...spec.template,
            metadata: {
              ...spec.template.metadata,
              labels: { ...spec.template.metadata?.labels, [hashLabel]: hash },
            },
          },
        },
      },
    };
  }
  const active = old.filter((set) => wantedOf(set) > 0);
  const scale = new Map<string, number>();
  if (recreate) {
    for (const { name: oldName } of toZero(active)) scale.set(oldName, 0);
    if (
      active.length === 0 &&
      sum(old, ({ status: s }) => s?.replicas ?? 0) === 0 &&
      wantedOf(current) !== desired
    )
      scale.set(name, desired);
  } else if (active.length === 0) {
    if (wantedOf(current) !== desired) scale.set(name, desired);
  } else {
    const total = sum(owned, wantedOf);
    if (wantedOf(current) > desired) scale.set(name, desired);
    else {
      const more = Math.min(desired - wantedOf(current), desired + maxSurge - total);
      if (more > 0) scale.set(name, wantedOf(current) + more);
    }
    shrinkOld(active, current, owned, desired - maxUnavailable, scale);
  }
  const history = spec.revisionHistoryLimit ?? 10;
  const idle = old
    .filter((set) => wantedOf(set) === 0 && (set.status?.replicas ?? 0) === 0)
    .sort((a, b) => revisionOf(b) - revisionOf(a));
  return {
    ...nothing,
    scale: [...scale].map(([setName, replicas]) => ({ name: setName, replicas })),
    remove: idle.slice(history).map((set) => set.metadata.name),
  };
}

const toZero = (sets: readonly ReplicaSet[]): { name: string; replicas: number }[] =>
  sets.filter((set) => wantedOf(set) > 0).map((set) => ({ name: set.metadata.name, replicas: 0 }));

/** Takes from the old sets as many as availability allows, first those that are not available anyway. */
function shrinkOld(
  active: readonly ReplicaSet[],
  current: ReplicaSet,
  owned: readonly ReplicaSet[],
  minAvailable: number,
  scale: Map<string, number>,
): void {
  const newUnavailable = wantedOf(current) - availableOf(current);
  let budget = sum(owned, wantedOf) - minAvailable - newUnavailable;
  const left = new Map(active.map((set) => [set.metadata.name, wantedOf(set)]));
  const take = (set: ReplicaSet, count: number): number => {
    const taken = Math.max(0, Math.min(count, left.get(set.metadata.name) ?? 0));
    if (taken > 0) {
      left.set(set.metadata.name, (left.get(set.metadata.name) ?? 0) - taken);
      scale.set(set.metadata.name, left.get(set.metadata.name) ?? 0);
    }
    return taken;
  };
  for (const set of active) {
    const broken = wantedOf(set) - availableOf(set);
    budget -= take(set, Math.min(broken, budget));
  }
  let spare = Math.min(budget, sum(owned, availableOf) - minAvailable);
  for (const set of active) spare -= take(set, spare);
}

function limitsOf({ spec }: Deployment, desired: number): { maxSurge: number; maxUnavailable: number } {
  const rolling = spec.strategy?.rollingUpdate;
  const maxSurge = shareOf(rolling?.maxSurge, desired, true);
  const maxUnavailable = shareOf(rolling?.maxUnavailable, desired, false);
  // Both zero would never move.
  return maxSurge === 0 && maxUnavailable === 0
    ? { maxSurge: 0, maxUnavailable: 1 }
    : { maxSurge, maxUnavailable };
}

function statusOf(
  deployment: Deployment,
  owned: readonly ReplicaSet[],
  current: ReplicaSet | undefined,
  desired: number,
  now: number,
): NonNullable<Deployment['status']> {
  const replicas = sum(owned, ({ status }) => status?.replicas ?? 0);
  const available = sum(owned, availableOf);
  const updated = current?.status?.replicas ?? 0;
  const { maxUnavailable } = limitsOf(deployment, desired);
  const enough = available >= desired - maxUnavailable;
  const complete = updated === desired && replicas === desired && available === desired;
  const condition = (type: string, ok: boolean, reason: string, message: string): Condition => {
    const status = ok ? 'True' : 'False';
    const before = deployment.status?.conditions?.find((known) => known.type === type);
    const since = before?.status === status ? before.lastTransitionTime : undefined;
    return { type, status, reason, message, lastTransitionTime: since ?? isoSeconds(now) };
  };
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas,
    updatedReplicas: updated,
    readyReplicas: sum(owned, ({ status }) => status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, Math.max(desired, replicas) - available),
    conditions: [
      enough
        ? condition('Available', true, 'MinimumReplicasAvailable', 'Deployment has minimum availability.')
        : condition(
            'Available',
            false,
            'MinimumReplicasUnavailable',
            'Deployment does not have minimum availability.',
          ),
      complete
        ? condition(
            'Progressing',
            true,
            'NewReplicaSetAvailable',
            `ReplicaSet "${current?.metadata.name}" has successfully progressed.`,
          )
        : condition(
            'Progressing',
            true,
            'ReplicaSetUpdated',
            `ReplicaSet "${current?.metadata.name ?? ''}" is progressing.`,
          ),
    ],
  };
}
