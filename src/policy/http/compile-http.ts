// Turns L7 policies into lists of fields, once. What cannot be checked is turned to the safe side (D8): of an ALLOW the
// rule never matches; of any other action the field is left out, so that the rule matches more. The same holds for
// fields of HTTP on a connection without it, as upstream documents for TCP.
import type { HttpPolicy, HttpPolicyRule } from '#/model/index.ts';
import { conditionFields } from './condition-fields.ts';
import type { Field } from './field.ts';
import type { HttpView } from './http-view.ts';
import { operationFields } from './operation-fields.ts';
import { sourceFields } from './source-fields.ts';

export interface HttpCompileOptions {
  /** The mesh's trust domain and its aliases: a principal of one of them, or of `cluster.local`, stands for all. */
  readonly trustDomains?: readonly string[];
}

/** A rule by name, for logs. */
export interface MatchedRule {
  /** `ns/name`. */
  readonly policy: string;
  /** From 0. */
  readonly rule: number;
  /** `ns[n]-policy[p]-rule[0]`, as in upstream's response code details. */
  readonly id: string;
}

/** Something that cannot be checked as it is written. */
export interface PolicyProblem {
  readonly policy: string;
  readonly rule: number;
  readonly field: string;
  readonly reason: string;
}

/** The fields of a rule that are checked: alternatives of from, alternatives of to, and conditions. */
interface RuleForm {
  readonly from: readonly (readonly Field[])[];
  readonly to: readonly (readonly Field[])[];
  readonly when: readonly Field[];
}

export interface CompiledHttpRule extends MatchedRule {
  /** As written, for explanations. */
  readonly written: RuleForm;
  /** Undefined: never matches. */
  readonly http: RuleForm | undefined;
  readonly tcp: RuleForm | undefined;
}

export interface CompiledHttpPolicy {
  readonly policy: HttpPolicy;
  readonly rules: readonly CompiledHttpRule[];
  readonly problems: readonly PolicyProblem[];
}

/** The policies that apply to one target. Sorted by name inside a class. */
export interface CompiledHttpPolicies {
  readonly custom: readonly CompiledHttpPolicy[];
  readonly deny: readonly CompiledHttpPolicy[];
  readonly allow: readonly CompiledHttpPolicy[];
  readonly audit: readonly CompiledHttpPolicy[];
  readonly dryRun: readonly CompiledHttpPolicy[];
  readonly problems: readonly PolicyProblem[];
}

export function ruleMatches(rule: CompiledHttpRule, view: HttpView): boolean {
  const form = view.request === undefined ? rule.tcp : rule.http;
  return form !== undefined && all(form.when, view) && anyOf(form.to, view) && anyOf(form.from, view);
}

export function all(fields: readonly Field[], view: HttpView): boolean {
  for (const field of fields) if (!field.holds(view)) return false;
  return true;
}

/** An empty list of alternatives does not restrict. */
function anyOf(alternatives: readonly (readonly Field[])[], view: HttpView): boolean {
  if (alternatives.length === 0) return true;
  for (const fields of alternatives) if (all(fields, view)) return true;
  return false;
}

export function compileHttpPolicy(policy: HttpPolicy, options: HttpCompileOptions = {}): CompiledHttpPolicy {
  const slash = policy.name.indexOf('/');
  const namespace = policy.name.slice(0, Math.max(slash, 0));
  const context = { namespace, trustDomains: options.trustDomains ?? [] };
  const problems: PolicyProblem[] = [];
  const rules = policy.rules.map((rule, index): CompiledHttpRule => {
    const written = writtenForm(rule, context);
    for (const field of [...written.from, ...written.to, written.when].flat()) {
      const reason = uncheckable(policy, field);
      if (reason !== undefined)
        problems.push({ policy: policy.name, rule: index, field: field.name, reason });
    }
    return {
      policy: policy.name,
      rule: index,
      id: `ns[${namespace}]-policy[${policy.name.slice(slash + 1)}]-rule[${index}]`,
      written,
      http: checkedForm(policy, written, (field) => uncheckable(policy, field) !== undefined),
      tcp: checkedForm(
        policy,
        written,
        (field) => field.httpOnly || uncheckable(policy, field) !== undefined,
      ),
    };
  });
  return { policy, rules, problems };
}

function uncheckable(policy: HttpPolicy, field: Field): string | undefined {
  if (field.broken !== undefined) return field.broken;
  return policy.action === 'Custom' && field.needsToken
    ? 'tokens are read after CUSTOM policies have been asked'
    : undefined;
}

function writtenForm(
  rule: HttpPolicyRule,
  context: { readonly namespace: string; readonly trustDomains: readonly string[] },
): RuleForm {
  return {
    from: rule.from.map((source) => sourceFields(source, context.trustDomains)),
    to: rule.to.map(operationFields),
    when: rule.when.flatMap((condition) => conditionFields(condition, context)),
  };
}

/** Upstream drops an ALLOW rule as a whole, also if another alternative of it could be checked. */
function checkedForm(
  policy: HttpPolicy,
  written: RuleForm,
  isLost: (field: Field) => boolean,
): RuleForm | undefined {
  const fields = [...written.from, ...written.to, written.when].flat();
  if (!fields.some(isLost)) return written;
  if (policy.action === 'Allow') return undefined;
  const kept = (list: readonly Field[]): Field[] => list.filter((field) => !isLost(field));
  return { from: written.from.map(kept), to: written.to.map(kept), when: kept(written.when) };
}

/** Sorts by name, so that of several policies that refuse always the same one is named. */
export function httpPolicySet(policies: Iterable<CompiledHttpPolicy>): CompiledHttpPolicies {
  const unique = new Map<string, CompiledHttpPolicy>();
  for (const compiled of policies) unique.set(compiled.policy.name, compiled);
  const sorted = [...unique.values()].sort((a, b) => (a.policy.name < b.policy.name ? -1 : 1));
  const enforced = (action: HttpPolicy['action']): CompiledHttpPolicy[] =>
    sorted.filter(({ policy }) => policy.action === action && !policy.dryRun);
  return {
    custom: enforced('Custom'),
    deny: enforced('Deny'),
    allow: enforced('Allow'),
    audit: enforced('Audit'),
    dryRun: sorted.filter(({ policy }) => policy.dryRun),
    problems: sorted.flatMap(({ problems }) => problems),
  };
}

export function compileHttpPolicies(
  policies: Iterable<HttpPolicy>,
  options?: HttpCompileOptions,
): CompiledHttpPolicies {
  return httpPolicySet([...policies].map((policy) => compileHttpPolicy(policy, options)));
}
