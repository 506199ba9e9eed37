// Why the agent ends: because a new one takes over, or because the mesh leaves the node. In doubt it is the first: what
// stays keeps new pods from starting outside of the mesh, and an agent that comes back takes it over.
import { errorText } from '#/errors/index.ts';
import { daemonSets, isNotFound, KubeError, nodes, type KubeClient } from '#/kube/index.ts';

export type ShutdownApi = Pick<KubeClient, 'get'>;

export interface Leaving {
  readonly cleanUp: boolean;
  readonly reason: string;
}

interface Requirement {
  readonly key?: string;
  readonly operator?: string;
  readonly values?: readonly string[];
}

interface SelectorTerm {
  readonly matchExpressions?: readonly Requirement[];
  readonly matchFields?: readonly Requirement[];
}

/** Whether a pod with this placement may run on the node. */
export function placementMatches(
  spec: {
    readonly nodeSelector?: Readonly<Record<string, string>>;
    readonly affinity?: Readonly<Record<string, unknown>>;
  },
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> },
): boolean {
  for (const [key, value] of Object.entries(spec.nodeSelector ?? {}))
    if (node.labels[key] !== value) return false;
  const affinity = spec.affinity?.['nodeAffinity'] as
    | { requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms?: readonly SelectorTerm[] } }
    | undefined;
  const terms = affinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;
  if (terms === undefined) return true;
  return terms.some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length + matchFields.length === 0) return false;
    return (
      matchExpressions.every((requirement) => holds(requirement, node.labels)) &&
      matchFields.every((requirement) => holds(requirement, { 'metadata.name': node.name }))
    );
  });
}

function holds(
  { key = '', operator, values = [] }: Requirement,
  from: Readonly<Record<string, string>>,
): boolean {
  const value = from[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return Number(value) > Number(values[0]);
    case 'Lt':
      return Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** Asks the API what became of the agent's DaemonSet. Never fails. */
export async function leaving(
  api: ShutdownApi,
  config: { readonly systemNamespace: string; readonly daemonSet: string; readonly nodeName: string },
  signal?: AbortSignal,
): Promise<Leaving> {
  const what = `DaemonSet ${config.systemNamespace}/${config.daemonSet}`;
  try {
    const set = await api.get(daemonSets, config.systemNamespace, config.daemonSet, { signal });
    if (set.metadata.deletionTimestamp !== undefined)
      return { cleanUp: true, reason: `${what} is being deleted` };
    const node = await api.get(nodes, undefined, config.nodeName, { signal });
    const labels = node.metadata.labels ?? {};
    if (!placementMatches(set.spec.template.spec, { name: config.nodeName, labels }))
      return { cleanUp: true, reason: `${what} no longer runs on this node` };
    return { cleanUp: false, reason: `${what} stays, so another agent will take over` };
  } catch (error) {
    if (isNotFound(error)) return { cleanUp: true, reason: `${what} does not exist` };
    // The service account went first: an uninstallation.
    if (error instanceof KubeError && error.code === 401)
      return { cleanUp: true, reason: `the agent's credentials are no longer valid` };
    return { cleanUp: false, reason: `the API does not say what became of ${what}: ${errorText(error)}` };
  }
}
