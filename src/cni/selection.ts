// Which pods belong to the mesh. Shared by the agent and the plugin, which is started once per pod: so this file
// has no imports but types, and asks nobody.
import type { LabelSelector } from '#/kube/index.ts';

export const dataplaneLabel = 'istio.io/dataplane-mode';
export const redirectionAnnotation = 'ambient.istio.io/redirection';
export const sidecarStatusAnnotation = 'sidecar.istio.io/status';

/** What is given must hold: of the pod's labels, of its namespace's labels. */
export interface EnablementSelector {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
}

export const defaultSelectors: readonly EnablementSelector[] = [
  { podSelector: { matchLabels: { [dataplaneLabel]: 'ambient' } } },
  {
    namespaceSelector: { matchLabels: { [dataplaneLabel]: 'ambient' } },
    podSelector: { matchExpressions: [{ key: dataplaneLabel, operator: 'NotIn', values: ['none'] }] },
  },
];

export interface SelectionRules {
  readonly selectors: readonly EnablementSelector[];
  readonly excludeNamespaces: readonly string[];
}

/** The parts of a pod that decide; of a Kubernetes object or of a bare API answer. */
export interface SelectablePod {
  readonly metadata: {
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly hostNetwork?: boolean };
  readonly status?: { readonly phase?: string };
}

type Labels = Readonly<Record<string, string>>;

/** Kubernetes' rules: all requirements must hold; NotIn and DoesNotExist hold for a label that is not there. */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        // From a hand-written file. No pod is taken on a guess; the parser has refused it before.
        return false;
    }
  });
}

export type Eligibility =
  | { readonly enabled: true; readonly by: 'pod' | 'namespace' }
  | { readonly enabled: false; readonly reason: string };

const no = (reason: string): Eligibility => ({ enabled: false, reason });

/** Whether a pod belongs to the mesh, with the reason. Says nothing of whether it still runs: see `isTerminal`. */
export function eligibility(pod: SelectablePod, namespaceLabels: Labels, rules: SelectionRules): Eligibility {
  const { namespace = 'default', labels = {}, annotations = {} } = pod.metadata;
  if (rules.excludeNamespaces.includes(namespace)) return no(`namespace ${namespace} is excluded`);
  // The host's network belongs to all: redirecting it would capture the node.
  if (pod.spec?.hostNetwork === true) return no('it uses the network of the host');
  if (annotations[sidecarStatusAnnotation] !== undefined) return no('it has a sidecar');
  for (const { podSelector, namespaceSelector } of rules.selectors) {
    if (podSelector === undefined && namespaceSelector === undefined) continue;
    if (podSelector !== undefined && !matchesSelector(podSelector, labels)) continue;
    if (namespaceSelector !== undefined && !matchesSelector(namespaceSelector, namespaceLabels)) continue;
    return { enabled: true, by: namespaceSelector === undefined ? 'pod' : 'namespace' };
  }
  return no(
    labels[dataplaneLabel] === 'none'
      ? `its label ${dataplaneLabel} is none`
      : `no label ${dataplaneLabel}=ambient selects it`,
  );
}

export function isTerminal(pod: SelectablePod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** A node's ztunnel must not be captured into itself, whatever its namespace says. */
export function isZtunnel(pod: SelectablePod, systemNamespace: string): boolean {
  return pod.metadata.namespace === systemNamespace && pod.metadata.labels?.['app'] === 'ztunnel';
}

/** Throws, naming the entry, unless the value is a list of selectors as in AMBIENT_ENABLEMENT_SELECTOR. */
export function checkSelectors(value: unknown, what: string): readonly EnablementSelector[] {
  if (!Array.isArray(value)) throw new TypeError(`${what} is not a list of selectors`);
  value.forEach((entry: unknown, i) => {
    const where = `${what}[${i}]`;
    if (!isRecord(entry)) throw new TypeError(`${where} is not an object`);
    if (entry['podSelector'] === undefined && entry['namespaceSelector'] === undefined)
      throw new TypeError(`${where} has neither podSelector nor namespaceSelector`);
    for (const [key, selector] of Object.entries(entry)) {
      if (key !== 'podSelector' && key !== 'namespaceSelector')
        throw new TypeError(`${where} has the unknown field ${JSON.stringify(key)}`);
      checkLabelSelector(selector, `${where}.${key}`);
    }
  });
  return value as readonly EnablementSelector[];
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function checkLabelSelector(selector: unknown, where: string): void {
  if (!isRecord(selector)) throw new TypeError(`${where} is not an object`);
  for (const [key, value] of Object.entries(selector)) {
    if (key === 'matchLabels') {
      if (!isRecord(value) || Object.values(value).some((label) => typeof label !== 'string'))
        throw new TypeError(`${where}.matchLabels is not a map of strings`);
    } else if (key === 'matchExpressions') {
      if (!Array.isArray(value)) throw new TypeError(`${where}.matchExpressions is not a list`);
      for (const expression of value as unknown[]) {
        const operator = isRecord(expression) ? expression['operator'] : undefined;
        const operators = ['In', 'NotIn', 'Exists', 'DoesNotExist'];
        if (!isRecord(expression) || typeof expression['key'] !== 'string')
          throw new TypeError(`${where}.matchExpressions has an entry without a key`);
        if (typeof operator !== 'string' || !operators.includes(operator))
          throw new TypeError(
            `${where}: operator ${JSON.stringify(operator)} is not one of ${operators.join(', ')}`,
          );
        const values = expression['values'];
        if ((operator === 'In' || operator === 'NotIn') && (!Array.isArray(values) || values.length === 0))
          throw new TypeError(`${where}: operator ${operator} needs values`);
      }
    } else throw new TypeError(`${where} has the unknown field ${JSON.stringify(key)}`);
  }
}
