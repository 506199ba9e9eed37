// Label selectors: the plain form of Services and Istio's policies, and the full form of the Kubernetes API.
import { labelMap, list, record, text, texts, type Labels } from './read.ts';

export interface LabelSelector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values: readonly string[];
  }[];
}

export function readLabelSelector(value: unknown): LabelSelector {
  const selector = record(value);
  return {
    matchLabels: labelMap(selector['matchLabels']),
    matchExpressions: list(selector['matchExpressions']).map((item) => {
      const expression = record(item);
      return {
        key: text(expression['key']),
        operator: text(expression['operator']),
        values: texts(expression['values']),
      };
    }),
  };
}

/** True if every pair of `wanted` is in `labels`; an empty `wanted` selects everything. */
export function selects(wanted: Labels, labels: Labels): boolean {
  for (const key in wanted) if (labels[key] !== wanted[key]) return false;
  return true;
}

export function isEmpty(labels: Labels): boolean {
  for (const _ in labels) return false;
  return true;
}

/** An empty selector matches everything; an unknown operator matches nothing. */
export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  if (!selects(selector.matchLabels, labels)) return false;
  return selector.matchExpressions.every(({ key, operator, values }) => {
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
        return false;
    }
  });
}

/** One label as text: `key=value`. */
export const pair = (key: string, value: string): string => `${key}=${value}`;

const telling = ['app', 'app.kubernetes.io/name', 'k8s-app', 'app.kubernetes.io/instance'];

/**
 * The one pair of a selector under which it is indexed: the pair that is likely to be on the fewest objects.
 * Whatever the selector matches carries this pair. Undefined for an empty selector.
 */
export function indexPair(selector: Labels): string | undefined {
  for (const key of telling) if (selector[key] !== undefined) return pair(key, selector[key]);
  let longest: string | undefined;
  for (const [key, value] of Object.entries(selector)) {
    const candidate = pair(key, value);
    if (longest === undefined || candidate.length > longest.length) longest = candidate;
  }
  return longest;
}
