// The same verdict with every step shown, for people.
import type { ConnectionFacts, HttpPolicy, HttpSubject } from '#/model/index.ts';
import {
  all,
  ruleMatches,
  type CompiledHttpPolicies,
  type CompiledHttpPolicy,
  type CompiledHttpRule,
} from './compile-http.ts';
import { decideHttp, decideTcp, type HttpVerdict } from './decide-http.ts';
import type { Field } from './field.ts';
import { HttpView } from './http-view.ts';

export interface ExplainedHttpField {
  readonly field: string;
  readonly holds: boolean;
  readonly wanted: readonly string[];
  readonly got: string;
  /** Why it cannot be checked, here or at all. */
  readonly unchecked?: string;
}

export interface ExplainedHttpRule {
  readonly matched: boolean;
  /** Alternatives. */
  readonly from: readonly (readonly ExplainedHttpField[])[];
  readonly to: readonly (readonly ExplainedHttpField[])[];
  readonly when: readonly ExplainedHttpField[];
  /** One sentence. */
  readonly because: string;
}

export interface ExplainedHttpPolicy {
  /** `ns/name`. */
  readonly policy: string;
  readonly action: HttpPolicy['action'];
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly rules: readonly ExplainedHttpRule[];
  readonly because: string;
}

export interface HttpExplanation {
  readonly verdict: HttpVerdict;
  /** In the order of asking, all of them, also those that the verdict did not need. */
  readonly policies: readonly ExplainedHttpPolicy[];
}

const noHttp = 'a field of HTTP, on a connection without it';

function explainField(field: Field, view: HttpView): ExplainedHttpField {
  const unchecked = field.broken ?? (field.httpOnly && view.request === undefined ? noHttp : undefined);
  return {
    field: field.name,
    holds: unchecked === undefined && field.holds(view),
    wanted: field.wanted,
    got: unchecked === undefined ? field.got(view) : '',
    ...(unchecked !== undefined && { unchecked }),
  };
}

const reasonOf = ({ field, wanted, got, unchecked }: ExplainedHttpField): string =>
  unchecked === undefined ? `${field} [${wanted.join(', ')}] against ${got}` : `${field}: ${unchecked}`;

function whyNone(name: string, alternatives: readonly (readonly ExplainedHttpField[])[]): string {
  const reasons = alternatives.map((fields) => fields.find((field) => !field.holds));
  return `${name}: ${reasons.map((field) => (field === undefined ? '' : reasonOf(field))).join('; ')}`;
}

function explainRule(
  action: HttpPolicy['action'],
  rule: CompiledHttpRule,
  view: HttpView,
): ExplainedHttpRule {
  const show = (fields: readonly Field[]): ExplainedHttpField[] =>
    fields.map((field) => explainField(field, view));
  const from = rule.written.from.map(show);
  const to = rule.written.to.map(show);
  const when = show(rule.written.when);
  const matched = ruleMatches(rule, view);
  return { matched, from, to, when, because: because() };

  function because(): string {
    const lost = [...from, ...to, when].flat().find((field) => field.unchecked !== undefined);
    if (matched) {
      if (lost !== undefined) return `matches, leaving out what cannot be checked (${reasonOf(lost)})`;
      return [...from, ...to, when].flat().length === 0
        ? 'matches: a rule without fields matches all'
        : 'matches: from, to and when hold';
    }
    if (lost !== undefined && action === 'Allow')
      return `does not match: it has what cannot be checked (${reasonOf(lost)})`;
    const form = view.request === undefined ? rule.tcp : rule.http;
    const condition = when.find((field) => field.unchecked === undefined && !field.holds);
    if (condition !== undefined) return `does not match: ${reasonOf(condition)}`;
    const toHolds = form?.to.length === 0 || form?.to.some((fields) => all(fields, view));
    return `does not match: ${toHolds === true ? whyNone('from', from) : whyNone('to', to)}`;
  }
}

function explainPolicy({ policy, rules }: CompiledHttpPolicy, view: HttpView): ExplainedHttpPolicy {
  const explained = rules.map((rule) => explainRule(policy.action, rule, view));
  const index = explained.findIndex((rule) => rule.matched);
  const because =
    explained.length === 0
      ? 'does not match: a policy without rules matches nothing'
      : index >= 0
        ? `rule ${index + 1} ${(explained[index] as ExplainedHttpRule).because}`
        : `does not match: ${explained.map((rule, i) => `rule ${i + 1} ${rule.because}`).join('; ')}`;
  return {
    policy: policy.name,
    action: policy.action,
    dryRun: policy.dryRun,
    matched: index >= 0,
    rules: explained,
    because,
  };
}

function explain(set: CompiledHttpPolicies, view: HttpView, verdict: HttpVerdict): HttpExplanation {
  const asked = [...set.custom, ...set.deny, ...set.allow, ...set.audit, ...set.dryRun];
  return { verdict, policies: asked.map((policy) => explainPolicy(policy, view)) };
}

export function explainHttp(set: CompiledHttpPolicies, subject: HttpSubject): HttpExplanation {
  return explain(set, HttpView.ofRequest(subject), decideHttp(set, subject));
}

export function explainTcp(set: CompiledHttpPolicies, connection: ConnectionFacts): HttpExplanation {
  return explain(set, HttpView.ofConnection(connection), decideTcp(set, connection));
}
