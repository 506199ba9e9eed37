// Which node a pod may go to, and which it should: taints, selectors, node affinity; then spread. Pure.
import type { LabelSelector, Node, Pod, PodSpec, Toleration } from '#/kube/index.ts';
import { controllerOf, isPodTerminal, matchesSelector } from './object-tools.ts';

export const controlPlaneTaint = {
  key: 'node-role.kubernetes.io/control-plane',
  effect: 'NoSchedule',
} as const;

interface NodeSelectorTerm {
  readonly matchExpressions?: LabelSelector['matchExpressions'];
  readonly matchFields?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

interface PodAffinityTerm {
  readonly labelSelector?: LabelSelector;
  readonly topologyKey?: string;
}

interface Affinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly NodeSelectorTerm[];
    };
  };
  readonly podAntiAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly PodAffinityTerm[];
  };
}

type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];

function tolerates(tolerations: readonly Toleration[], taint: Taint): boolean {
  return tolerations.some((one) => {
    if (one.effect !== undefined && one.effect !== '' && one.effect !== taint.effect) return false;
    if (one.operator === 'Exists') return one.key === undefined || one.key === '' || one.key === taint.key;
    return one.key === taint.key && (one.value ?? '') === (taint.value ?? '');
  });
}

const isReady = (node: Node): boolean =>
  node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;

function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = term.matchExpressions;
  if (expressions !== undefined && !matchesSelector({ matchExpressions: expressions }, node.metadata.labels))
    return false;
  return (term.matchFields ?? []).every(
    ({ key, operator, values = [] }) =>
      key === 'metadata.name' && values.includes(node.metadata.name) === (operator === 'In'),
  );
}

/** Why the pod cannot go to the node, in the scheduler's words; undefined if it can. */
export function fits(spec: PodSpec, node: Node, options: { daemon?: boolean } = {}): string | undefined {
  // A daemon's pods tolerate a node that is not ready or closed, as the real controller lets them.
  if (options.daemon !== true) {
    if (!isReady(node)) return 'node(s) were not ready';
    if (node.spec?.unschedulable === true) return 'node(s) were unschedulable';
  }
  const taint = (node.spec?.taints ?? []).find(
    (one) =>
      one.effect !== 'PreferNoSchedule' &&
      !(options.daemon === true && one.key.startsWith('node.kubernetes.io/')) &&
      !tolerates(spec.tolerations ?? [], one),
  );
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesSelector({ matchLabels: spec.nodeSelector ?? {} }, node.metadata.labels))
    return "node(s) didn't match Pod's node affinity/selector";
  const terms = (spec.affinity as Affinity | undefined)?.nodeAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (terms !== undefined && !terms.some((term) => matchesTerm(term, node)))
    return "node(s) didn't match Pod's node affinity/selector";
  return undefined;
}

function repels(pod: Pod, other: Pod): boolean {
  const terms = (pod.spec.affinity as Affinity | undefined)?.podAntiAffinity
    ?.requiredDuringSchedulingIgnoredDuringExecution;
  return (terms ?? []).some(
    ({ labelSelector, topologyKey }) =>
      topologyKey === 'kubernetes.io/hostname' &&
      other.metadata.namespace === pod.metadata.namespace &&
      matchesSelector(labelSelector, other.metadata.labels),
  );
}

/** Pods that belong together: of one controller, or with the same labels. */
function siblings(pod: Pod, other: Pod): boolean {
  const owner = controllerOf(pod)?.uid;
  return owner !== undefined && controllerOf(other)?.uid === owner;
}

/** The node for a pod, or why there is none. `placed`: all pods with the node each one is on or about to go to. */
export function chooseNode(
  pod: Pod,
  nodes: readonly Node[],
  placed: readonly { readonly pod: Pod; readonly node: string }[],
): { readonly node: string } | { readonly reason: string } {
  const reasons = new Map<string, number>();
  const candidates: { name: string; own: number; all: number }[] = [];
  for (const node of nodes) {
    const { name } = node.metadata;
    const here = placed.filter((one) => one.node === name && !isPodTerminal(one.pod));
    const reason =
      fits(pod.spec, node) ??
      (here.some((one) => repels(pod, one.pod)) ? "node(s) didn't match pod anti-affinity rules" : undefined);
    if (reason === undefined)
      candidates.push({ name, own: here.filter((one) => siblings(pod, one.pod)).length, all: here.length });
    else reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  candidates.sort((a, b) => a.own - b.own || a.all - b.all || (a.name < b.name ? -1 : 1));
  const best = candidates[0];
  if (best !== undefined) return { node: best.name };
  const why = [...reasons].map(([text, count]) => `${count} ${text}`).join(', ');
  return { reason: `0/${nodes.length} nodes are available: ${why}` };
}
