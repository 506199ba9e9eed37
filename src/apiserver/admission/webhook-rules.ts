// Which webhooks concern a request: the configurations in a form that is quick to ask, and the matching itself.
import { compileRule } from '../crd/cel.ts';
import {
  digList,
  digNumber,
  digText,
  dig,
  isObject,
  type Item,
  type Json,
  type JsonObject,
} from '../json.ts';
import { matches, parseSelectorObject, type Labels, type Requirement } from '../store/selectors.ts';
import type { AdmissionRequest } from '../verbs/admission.ts';

interface Rule {
  readonly operations: readonly string[];
  readonly groups: readonly string[];
  readonly versions: readonly string[];
  readonly resources: readonly string[];
  readonly scope: string;
}

export interface Webhook {
  /** `configuration/webhook`, for messages. */
  readonly title: string;
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly namespaceSelector: readonly Requirement[];
  readonly objectSelector: readonly Requirement[];
  readonly conditions: readonly { readonly name: string; readonly expression: string }[];
  readonly ignoreFailure: boolean;
  readonly timeoutMs: number;
  readonly hasSideEffects: boolean;
  readonly client: JsonObject;
}

const strings = (value: Json | undefined, key: string): string[] => digList(value, key).map(String);

/** The webhooks of one configuration. */
export function webhooksOf(configuration: Item): Webhook[] {
  return digList(configuration, 'webhooks')
    .filter(isObject)
    .map((hook): Webhook => {
      const client = dig(hook, 'clientConfig');
      return {
        title: `${configuration.metadata.name}/${digText(hook, 'name')}`,
        name: digText(hook, 'name'),
        rules: digList(hook, 'rules').map((rule) => ({
          operations: strings(rule, 'operations'),
          groups: strings(rule, 'apiGroups'),
          versions: strings(rule, 'apiVersions'),
          resources: strings(rule, 'resources'),
          scope: digText(rule, 'scope') || '*',
        })),
        namespaceSelector: parseSelectorObject(dig(hook, 'namespaceSelector')),
        objectSelector: parseSelectorObject(dig(hook, 'objectSelector')),
        conditions: digList(hook, 'matchConditions').map((condition) => ({
          name: digText(condition, 'name'),
          expression: digText(condition, 'expression'),
        })),
        ignoreFailure: digText(hook, 'failurePolicy') === 'Ignore',
        timeoutMs: Math.min(30, Math.max(1, digNumber(hook, 'timeoutSeconds') || 10)) * 1000,
        hasSideEffects: !['None', 'NoneOnDryRun'].includes(digText(hook, 'sideEffects')),
        client: isObject(client) ? client : {},
      };
    });
}

const has = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

function resourceMatches(patterns: readonly string[], plural: string, subresource: string): boolean {
  return patterns.some((pattern) => {
    const [resource = '', sub = ''] = pattern.split('/');
    return (
      (resource === '*' || resource === plural) &&
      (pattern === '*/*' || sub === '*' ? true : sub === subresource)
    );
  });
}

/** Kinds that no webhook may see, lest it make itself unchangeable; and questions, which change nothing. */
const exempt = new Set(['admissionregistration.k8s.io', 'authentication.k8s.io', 'authorization.k8s.io']);

export function concerns(hook: Webhook, request: AdmissionRequest, namespaceLabels: Labels): boolean {
  const { kind } = request;
  if (exempt.has(kind.group)) return false;
  const hit = hook.rules.some(
    (rule) =>
      has(rule.operations, request.operation) &&
      has(rule.groups, kind.group) &&
      has(rule.versions, kind.version) &&
      (rule.scope === '*' || (rule.scope === 'Namespaced') === kind.namespaced) &&
      resourceMatches(rule.resources, kind.plural, request.subresource),
  );
  if (!hit) return false;
  // A Namespace is judged by its own labels, other kinds without a namespace by none.
  const own =
    kind.collection === 'namespaces' ? (request.item ?? request.old)?.metadata.labels : namespaceLabels;
  if ((kind.namespaced || kind.collection === 'namespaces') && !matches(hook.namespaceSelector, own))
    return false;
  return (
    hook.objectSelector.length === 0 ||
    [request.item, request.old].some(
      (item) => item !== undefined && matches(hook.objectSelector, item.metadata.labels),
    )
  );
}

/** The conditions in CEL; throws if one cannot be run. */
export function conditionsHold(hook: Webhook, review: JsonObject): boolean {
  for (const { name, expression } of hook.conditions) {
    const request = review['request'];
    const context = {
      object: dig(request, 'object') ?? null,
      oldObject: dig(request, 'oldObject') ?? null,
      request: request ?? null,
    };
    try {
      if (compileRule(expression)(context) !== true) return false;
    } catch (error) {
      throw new Error(
        `matchCondition ${name}: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`,
        {
          cause: error,
        },
      );
    }
  }
  return true;
}
