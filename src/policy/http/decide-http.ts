// The verdict on one request or connection. Order, as upstream: CUSTOM (who else must be asked), DENY, ALLOW; AUDIT and
// dry run are reported and change nothing.
import type { ConnectionFacts, HttpSubject } from '#/model/index.ts';
import {
  ruleMatches,
  type CompiledHttpPolicies,
  type CompiledHttpPolicy,
  type MatchedRule,
} from './compile-http.ts';
import { HttpView } from './http-view.ts';
import { RuleIndex } from './rule-index.ts';

/** A provider that must allow the request as well. An unknown provider must count as a refusal. */
export interface CustomCheck extends MatchedRule {
  /** Name of the extension provider; empty if the policy names none. */
  readonly provider: string;
}

/** What a policy in dry run would have done. */
export interface HttpNote {
  readonly message: string;
  readonly by?: MatchedRule;
}

export interface HttpVerdict {
  /** Holds only if every provider in `ask` allows. */
  readonly allow: boolean;
  /** The rule that decided. Absent: allowed by default, or refused because no ALLOW rule matched. */
  readonly by?: MatchedRule;
  /** Response code details of a refusal: `rbac_access_denied_matched_policy[…]`; empty if allowed. */
  readonly details: string;
  /** One entry for each provider. */
  readonly ask: readonly CustomCheck[];
  readonly audit: readonly MatchedRule[];
  readonly dryRun: readonly HttpNote[];
}

/** What the client of a refused request gets. */
export const httpDenial = { status: 403, body: 'RBAC: access denied' } as const;

const nothing: readonly never[] = [];
const allowedByDefault: HttpVerdict = {
  allow: true,
  details: '',
  ask: nothing,
  audit: nothing,
  dryRun: nothing,
};
const deniedBy = (id: string): string => `rbac_access_denied_matched_policy[${id}]`;

function matching({ rules }: CompiledHttpPolicy, view: HttpView): MatchedRule | undefined {
  for (const rule of rules) if (ruleMatches(rule, view)) return rule;
  return undefined;
}

/** Made when a set is first asked about, and kept as long as the set. */
const indexes = new WeakMap<readonly CompiledHttpPolicy[], RuleIndex>();

function firstMatching(policies: readonly CompiledHttpPolicy[], view: HttpView): MatchedRule | undefined {
  if (policies.length === 0) return undefined;
  let index = indexes.get(policies);
  if (index === undefined) indexes.set(policies, (index = new RuleIndex(policies)));
  return index.first(view);
}

function asks(custom: readonly CompiledHttpPolicy[], view: HttpView): readonly CustomCheck[] {
  if (custom.length === 0) return nothing;
  let checks: CustomCheck[] | undefined;
  for (const compiled of custom) {
    const rule = matching(compiled, view);
    if (rule === undefined) continue;
    const provider = compiled.policy.provider ?? '';
    checks ??= [];
    if (!checks.some((check) => check.provider === provider))
      checks.push({ policy: rule.policy, rule: rule.rule, id: rule.id, provider });
  }
  return checks ?? nothing;
}

function audited(audit: readonly CompiledHttpPolicy[], view: HttpView): readonly MatchedRule[] {
  if (audit.length === 0) return nothing;
  return audit.flatMap((compiled) => matching(compiled, view) ?? []);
}

function dryRunNotes(policies: readonly CompiledHttpPolicy[], view: HttpView): readonly HttpNote[] {
  if (policies.length === 0) return nothing;
  const notes: HttpNote[] = [];
  let allows = 0;
  let allowed = false;
  for (const compiled of policies) {
    const by = matching(compiled, view);
    if (compiled.policy.action === 'Allow') {
      allows++;
      allowed ||= by !== undefined;
    }
    if (by !== undefined)
      notes.push({ message: `dry-run: ${compiled.policy.action.toLowerCase()} policy match`, by });
  }
  if (allows > 0 && !allowed) notes.push({ message: 'dry-run: no allow policies match' });
  return notes;
}

function decide(set: CompiledHttpPolicies, view: HttpView): HttpVerdict {
  const ask = asks(set.custom, view);
  const audit = audited(set.audit, view);
  const dryRun = dryRunNotes(set.dryRun, view);
  const denied = firstMatching(set.deny, view);
  if (denied !== undefined)
    return { allow: false, by: denied, details: deniedBy(denied.id), ask, audit, dryRun };
  if (set.allow.length > 0) {
    const by = firstMatching(set.allow, view);
    return by === undefined
      ? { allow: false, details: deniedBy('none'), ask, audit, dryRun }
      : { allow: true, by, details: '', ask, audit, dryRun };
  }
  if (ask === nothing && audit === nothing && dryRun === nothing) return allowedByDefault;
  return { allow: true, details: '', ask, audit, dryRun };
}

/** Judges a request. */
export function decideHttp(set: CompiledHttpPolicies, subject: HttpSubject): HttpVerdict {
  return decide(set, HttpView.ofRequest(subject));
}

/**
 * Judges a connection that does not speak HTTP. Fields of HTTP make an ALLOW rule not match, and are left out of any
 * other rule.
 */
export function decideTcp(set: CompiledHttpPolicies, connection: ConnectionFacts): HttpVerdict {
  return decide(set, HttpView.ofConnection(connection));
}

/** Only the providers to ask, which comes before the token is read. */
export function customChecks(set: CompiledHttpPolicies, subject: HttpSubject): readonly CustomCheck[] {
  return set.custom.length === 0 ? nothing : asks(set.custom, HttpView.ofRequest(subject));
}

export function customChecksTcp(
  set: CompiledHttpPolicies,
  connection: ConnectionFacts,
): readonly CustomCheck[] {
  return set.custom.length === 0 ? nothing : asks(set.custom, HttpView.ofConnection(connection));
}
