// The verdict of the policies on one connection, each rule with the place where it is written.
import {
  convertRules,
  convertedPeerAuthentication,
  staticStrictPolicy,
  type AuthorizationPolicyFacts,
  type RulesContext,
} from '#/translate/index.ts';
import type { Workload } from '#/model/index.ts';
import {
  explainDecision,
  type ExplainedField,
  type ExplainedPolicy,
  type PolicyConnection,
  type Verdict,
} from '#/policy/index.ts';
import { placeOf, type Place, type SourceDocument } from './document.ts';
import { field, items, labels } from './fields.ts';
import type { MeshModel } from './mesh-model.ts';
import { effectivePeerAuthentication } from './peer-authentication.ts';

export interface FieldReport {
  readonly field: string;
  readonly holds: boolean;
  readonly wanted: readonly string[];
  readonly got: string;
  readonly place?: Place;
}

export interface RuleReport {
  /** As in the object, from 0. Absent when the rule is not one of the object's own. */
  readonly rule?: number;
  readonly matched: boolean;
  readonly because: string;
  readonly place?: Place;
  /** What keeps it from matching: of each part that fails, the fields of the alternative that comes nearest. */
  readonly failed: readonly FieldReport[];
  /** Attributes of HTTP in the rule as it is written, which ztunnel cannot check and does not get. */
  readonly dropped?: readonly string[];
  /** What made it match. */
  readonly held: readonly FieldReport[];
}

export interface PolicyReport {
  /** `ns/name` as the proxies know it. */
  readonly policy: string;
  readonly kind: 'AuthorizationPolicy' | 'PeerAuthentication' | 'other';
  readonly action: 'ALLOW' | 'DENY';
  readonly scope: 'mesh' | 'namespace' | 'workload';
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly because: string;
  readonly place?: Place;
  readonly rules: readonly RuleReport[];
}

/** A policy of the same namespace or of the mesh that is not asked here. */
export interface UnaskedPolicy {
  readonly policy: string;
  readonly because: string;
  readonly place: Place;
}

export interface Judgement {
  readonly verdict: Verdict;
  readonly policies: readonly PolicyReport[];
  readonly unasked: readonly UnaskedPolicy[];
}

const scopes = { Global: 'mesh', Namespace: 'namespace', WorkloadSelector: 'workload' } as const;

/** Where a field of the model stands in an AuthorizationPolicy, and as what a condition. */
const written: Readonly<Record<string, readonly [group: string, name: string, condition?: string]>> = {
  namespaces: ['source', 'namespaces', 'source.namespace'],
  principals: ['source', 'principals', 'source.principal'],
  serviceAccounts: ['source', 'serviceAccounts'],
  sourceIps: ['source', 'ipBlocks', 'source.ip'],
  destinationIps: ['', '', 'destination.ip'],
  destinationPorts: ['operation', 'ports', 'destination.port'],
};

/** The path of a field in a rule as it is written. */
function fieldPath(document: SourceDocument, rule: number, failed: ExplainedField): string {
  const negative = failed.field.startsWith('not');
  const plain = negative ? failed.field.charAt(3).toLowerCase() + failed.field.slice(4) : failed.field;
  const base = `spec.rules[${rule}]`;
  const [group, name, condition] = written[plain] ?? ['', ''];
  const own = negative ? `not${name.charAt(0).toUpperCase()}${name.slice(1)}` : name;
  const value = field(document.object, 'spec', 'rules', rule);
  const list = group === 'source' ? 'from' : 'to';
  const candidates: { readonly path: string; readonly length: number }[] = [];
  if (group !== '')
    items(value, list).forEach((item, i) => {
      const values = field(item, group, own);
      if (Array.isArray(values))
        candidates.push({ path: `${base}.${list}[${i}].${group}.${own}`, length: values.length });
    });
  items(value, 'when').forEach((item, i) => {
    const values = field(item, negative ? 'notValues' : 'values');
    if (field(item, 'key') === condition && Array.isArray(values))
      candidates.push({
        path: `${base}.when[${i}].${negative ? 'notValues' : 'values'}`,
        length: values.length,
      });
  });
  const exact = candidates.find(({ length }) => length === failed.wanted.length);
  return (exact ?? candidates[0])?.path ?? base;
}

const contextOf = (model: MeshModel, facts: AuthorizationPolicyFacts): RulesContext => ({
  action: facts.action === 'DENY' ? 'Deny' : 'Allow',
  namespace: facts.namespace,
  upstreamCompat: model.settings.upstreamCompat,
});

/** For each rule as the proxies have it, the rule of the object that it was made from. */
function ruleNumbers(
  model: MeshModel,
  facts: AuthorizationPolicyFacts,
  count: number,
): readonly number[] | undefined {
  const context = contextOf(model, facts);
  const numbers = facts.rules.flatMap((rule, i) => convertRules([rule], context).rules.map(() => i));
  // A policy that cannot be read has rules that nobody has written.
  return numbers.length === count ? numbers : undefined;
}

/** The rules of the object that ztunnel does not get. */
function leftOut(
  model: MeshModel,
  document: SourceDocument,
  facts: AuthorizationPolicyFacts,
  numbers: readonly number[],
): readonly RuleReport[] {
  return facts.rules.flatMap((rule, i) => {
    if (numbers.includes(i)) return [];
    const { l7, notes } = convertRules([rule], contextOf(model, facts));
    const reason =
      l7.length > 0
        ? `ztunnel cannot check ${l7.join(', ')}, so it allows nothing (a waypoint can check it)`
        : notes.map((note) => note.reason).join('; ');
    return {
      rule: i,
      matched: false,
      because: `left out: ${reason}`,
      place: placeOf(document, `spec.rules[${i}]`),
      failed: [],
      held: [],
    };
  });
}

function nearestFailures(rule: ExplainedPolicy['rules'][number]): readonly ExplainedField[] {
  return rule.clauses
    .filter(({ matched }) => !matched)
    .flatMap(({ matches }) => {
      const failures = matches.map(({ fields }) => fields.filter(({ holds }) => !holds));
      return failures.sort((a, b) => a.length - b.length)[0] ?? [];
    });
}

const heldFields = (rule: ExplainedPolicy['rules'][number]): readonly ExplainedField[] =>
  rule.matched
    ? rule.clauses.flatMap(({ matches }) => matches.find(({ matched }) => matched)?.fields ?? [])
    : [];

function originOf(
  model: MeshModel,
  key: string,
  workload: Workload,
): { readonly kind: PolicyReport['kind']; readonly document?: SourceDocument } {
  const slash = key.indexOf('/');
  const namespace = key.slice(0, slash);
  const name = key.slice(slash + 1);
  const own = model.document('AuthorizationPolicy', namespace, name);
  if (own !== undefined) return { kind: 'AuthorizationPolicy', document: own };
  const converted = convertedPeerAuthentication('');
  const source = name.startsWith(converted)
    ? model.document('PeerAuthentication', namespace, name.slice(converted.length))
    : name === staticStrictPolicy
      ? effectivePeerAuthentication(model, workload).document
      : undefined;
  if (source !== undefined) return { kind: 'PeerAuthentication', document: source };
  return { kind: 'other' };
}

function report(model: MeshModel, explained: ExplainedPolicy, workload: Workload): PolicyReport {
  const { kind, document } = originOf(model, explained.key, workload);
  const facts =
    kind === 'AuthorizationPolicy' ? model.lookup.facts('AuthorizationPolicy', explained.key) : undefined;
  const numbers = facts === undefined ? undefined : ruleNumbers(model, facts, explained.rules.length);
  const rules = explained.rules.map((rule, i): RuleReport => {
    const number = numbers?.[i];
    const at = (path: string): { place?: Place } =>
      document === undefined ? {} : { place: placeOf(document, path) };
    const reported = (one: ExplainedField): FieldReport => ({
      field: one.field,
      holds: one.holds,
      wanted: one.wanted,
      got: one.got,
      ...(document !== undefined && number !== undefined ? at(fieldPath(document, number, one)) : {}),
    });
    const dropped =
      facts === undefined || number === undefined
        ? []
        : convertRules([facts.rules[number]], contextOf(model, facts)).l7;
    return {
      ...(number === undefined ? {} : { rule: number }),
      ...(dropped.length === 0 ? {} : { dropped }),
      matched: rule.matched,
      because: rule.because,
      ...at(number === undefined ? 'spec' : `spec.rules[${number}]`),
      failed: nearestFailures(rule).map(reported),
      held: heldFields(rule).map(reported),
    };
  });
  if (facts !== undefined && numbers !== undefined && document !== undefined)
    rules.push(...leftOut(model, document, facts, numbers));
  rules.sort((a, b) => (a.rule ?? 0) - (b.rule ?? 0));
  return {
    policy: explained.key,
    kind,
    action: explained.action === 'Deny' ? 'DENY' : 'ALLOW',
    scope: scopes[explained.scope],
    dryRun: explained.dryRun,
    matched: explained.matched,
    because: explained.because,
    ...(document === undefined ? {} : { place: placeOf(document) }),
    rules,
  };
}

/** Why an AuthorizationPolicy of the workload's namespace, or of the mesh, is not among those that are asked. */
function whyUnasked(
  model: MeshModel,
  policy: SourceDocument,
  podLabels: Readonly<Record<string, string>>,
): string {
  const facts = model.lookup.facts('AuthorizationPolicy', `${policy.namespace}/${policy.name}`);
  if (facts === undefined) return 'it cannot be read';
  if (facts.targets.length > 0)
    return `it is for ${facts.targets.map(({ kind, name }) => `${kind} ${name}`).join(', ')}: a waypoint checks it, not ztunnel`;
  if (facts.action !== 'ALLOW' && facts.action !== 'DENY')
    return `ztunnel does not know the action ${facts.action}`;
  if (facts.dryRun && !model.settings.dryRunPolicies) return 'it is a dry run, and dry runs are off';
  const missing = Object.entries(facts.selector).filter(([key, value]) => podLabels[key] !== value);
  const wanted = missing.map(([key, value]) => `${key}=${value}`).join(', ');
  const got = missing.map(([key]) =>
    podLabels[key] === undefined ? `no ${key}` : `${key}=${podLabels[key]}`,
  );
  return `its selector wants ${wanted}, the pod has ${got.join(', ')}`;
}

function unaskedPolicies(
  model: MeshModel,
  workload: Workload,
  asked: ReadonlySet<string>,
): readonly UnaskedPolicy[] {
  const pod = model.podOf(workload);
  const podLabels = pod === undefined ? {} : labels(pod.object, 'metadata', 'labels');
  return model
    .all('AuthorizationPolicy')
    .filter(
      ({ namespace, name }) =>
        (namespace === workload.namespace || namespace === model.settings.rootNamespace) &&
        !asked.has(`${namespace}/${name}`),
    )
    .map((policy) => ({
      policy: `${policy.namespace}/${policy.name}`,
      because: whyUnasked(model, policy, podLabels),
      place: placeOf(policy),
    }));
}

/** Judges a connection that has come to a workload, as its ztunnel would. */
export function judge(model: MeshModel, workload: Workload, connection: PolicyConnection): Judgement {
  const explanation = explainDecision(model.store.policiesFor(workload), connection);
  const policies = explanation.policies.map((policy) => report(model, policy, workload));
  const asked = new Set(policies.map(({ policy }) => policy));
  return { verdict: explanation.verdict, policies, unasked: unaskedPolicies(model, workload, asked) };
}
