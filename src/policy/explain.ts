// The same verdict with every step shown, for people. Reads the policies as they were written, not as compiled.
import { cidrContains, formatCidr } from '#/kit/index.ts';
import {
  policyKey,
  type Policy,
  type PolicyClause,
  type PolicyKey,
  type PolicyMatch,
  type StringMatch,
} from '#/model/index.ts';
import { stringMatches, type CompiledPolicy } from './compile.ts';
import { decide, type DecideOptions, type Verdict } from './decide.ts';
import type { PolicySet } from './policy-set.ts';
import { Subject, type PolicyConnection } from './subject.ts';

export interface ExplainedField {
  /** The name of the field, such as `principals` or `notSourceIps`. */
  readonly field: keyof PolicyMatch;
  readonly holds: boolean;
  readonly wanted: readonly string[];
  readonly got: string;
}

export interface ExplainedMatch {
  readonly matched: boolean;
  /** No entry: the match is empty, and an empty match never matches. */
  readonly fields: readonly ExplainedField[];
}

export interface ExplainedClause {
  readonly matched: boolean;
  readonly matches: readonly ExplainedMatch[];
}

export interface ExplainedRule {
  readonly matched: boolean;
  readonly clauses: readonly ExplainedClause[];
  /** One sentence: why the rule did or did not match. */
  readonly because: string;
}

export interface ExplainedPolicy {
  readonly key: PolicyKey;
  readonly action: Policy['action'];
  readonly scope: Policy['scope'];
  readonly dryRun: boolean;
  readonly matched: boolean;
  readonly rules: readonly ExplainedRule[];
  /** One sentence: why the policy did or did not match. */
  readonly because: string;
}

export interface Explanation {
  readonly verdict: Verdict;
  /** In the order of asking, all of them, also those that the verdict did not need. */
  readonly policies: readonly ExplainedPolicy[];
  /** Listed by the workload and not known. */
  readonly unknown: readonly PolicyKey[];
}

const showString = (match: StringMatch): string => {
  switch (match.kind) {
    case 'exact':
      return match.value;
    case 'prefix':
      return `${match.value}*`;
    case 'suffix':
      return `*${match.value}`;
    case 'presence':
      return '*';
  }
};

function explainMatch(match: PolicyMatch, subject: Subject): ExplainedMatch {
  const fields: ExplainedField[] = [];
  const add = <T>(
    field: keyof PolicyMatch,
    values: readonly T[],
    got: string,
    show: (value: T) => string,
    holds: (value: T) => boolean,
  ): void => {
    if (values.length === 0) return;
    const found = values.some(holds);
    fields.push({ field, holds: field.startsWith('not') ? !found : found, wanted: values.map(show), got });
  };
  const { connection, principal, namespace, serviceAccount } = subject;
  const nobody = '(no identity)';
  const account = { got: principal === undefined ? nobody : `${namespace}/${serviceAccount}` };
  const port = String(connection.destinationPort);
  for (const field of ['destinationPorts', 'notDestinationPorts'] as const)
    add(field, match[field], port, String, (value) => value === connection.destinationPort);
  for (const field of ['principals', 'notPrincipals'] as const)
    add(field, match[field], principal ?? nobody, showString, (value) =>
      principal === undefined ? false : stringMatches(value, principal),
    );
  for (const field of ['namespaces', 'notNamespaces'] as const)
    add(field, match[field], principal === undefined ? nobody : namespace, showString, (value) =>
      stringMatches(value, namespace),
    );
  for (const field of ['serviceAccounts', 'notServiceAccounts'] as const)
    add(
      field,
      match[field],
      account.got,
      (value) => `${value.namespace}/${value.serviceAccount}`,
      (value) => `${value.namespace}/${value.serviceAccount}` === account.got,
    );
  for (const field of ['sourceIps', 'notSourceIps'] as const)
    add(field, match[field], connection.sourceIp, formatCidr, (value) =>
      cidrContains(value, subject.sourceBytes),
    );
  for (const field of ['destinationIps', 'notDestinationIps'] as const)
    add(field, match[field], connection.destinationIp, formatCidr, (value) =>
      cidrContains(value, subject.destinationBytes),
    );
  return { matched: fields.length > 0 && fields.every((field) => field.holds), fields };
}

function explainClause(clause: PolicyClause, subject: Subject): ExplainedClause {
  const matches = clause.matches.map((match) => explainMatch(match, subject));
  return { matched: matches.length === 0 || matches.some((match) => match.matched), matches };
}

function whyNot(clause: ExplainedClause): string {
  const reasons = clause.matches.map(({ fields }) => {
    if (fields.length === 0) return 'an empty match never matches';
    const failed = fields.find((field) => !field.holds) as ExplainedField;
    return `${failed.field} [${failed.wanted.join(', ')}] against ${failed.got}`;
  });
  return reasons.join('; ');
}

function explainPolicy({ policy }: CompiledPolicy, subject: Subject): ExplainedPolicy {
  const rules = policy.rules.map((rule): ExplainedRule => {
    const clauses = rule.clauses.map((clause) => explainClause(clause, subject));
    const failed = clauses.find((clause) => !clause.matched);
    const because =
      failed !== undefined
        ? `does not match: ${whyNot(failed)}`
        : clauses.length === 0
          ? 'matches: a rule without clauses matches all'
          : 'matches: every clause has a match that holds';
    return { matched: failed === undefined, clauses, because };
  });
  const index = rules.findIndex((rule) => rule.matched);
  const because =
    rules.length === 0
      ? 'does not match: a policy without rules matches nothing'
      : index >= 0
        ? `rule ${index + 1} ${(rules[index] as ExplainedRule).because}`
        : `does not match: ${rules.map((rule, i) => `rule ${i + 1} ${rule.because}`).join('; ')}`;
  const { action, scope, dryRun } = policy;
  return { key: policyKey(policy), action, scope, dryRun, matched: index >= 0, rules, because };
}

/** The verdict, and for each policy of the set why it matched or did not. */
export function explainDecision(
  set: PolicySet,
  connection: PolicyConnection,
  options?: DecideOptions,
): Explanation {
  const subject = new Subject(connection);
  const asked = [...set.dryRunDeny, ...set.deny, ...set.dryRunAllow, ...set.allow];
  return {
    verdict: decide(set, connection, options),
    policies: asked.map((policy) => explainPolicy(policy, subject)),
    unknown: set.unknown,
  };
}
