// The verdict on one connection. Order, as upstream: dry-run DENY (noted only), DENY, dry-run ALLOW (noted only),
// no ALLOW policy at all, ALLOW. A listed policy that is not known refuses (upstream passes over it).
import { errorRegistry } from '#/errors/index.ts';
import type { PolicyKey } from '#/model/index.ts';
import type { PolicySet } from './policy-set.ts';
import { Subject, type PolicyConnection } from './subject.ts';

export interface DecideOptions {
  /** What a listed policy that is not known means. Default: `deny`. `skip` is upstream's behaviour. */
  readonly unknownPolicy?: 'deny' | 'skip';
}

/** A line for the policy log (debug, or info on request): what a policy did or, in dry run, would have done. */
export interface DecisionNote {
  readonly message: string;
  readonly policy?: PolicyKey;
}

export type Verdict =
  | { readonly allow: true; readonly by?: PolicyKey; readonly notes: readonly DecisionNote[] }
  | {
      readonly allow: false;
      readonly code: 'POLICY_DENIED' | 'POLICY_UNKNOWN';
      /** The policy that refuses, or that is not known. Absent when ALLOW policies exist and none matched. */
      readonly by?: PolicyKey;
      /** What stands after `error=` in the access log. */
      readonly reason: string;
      readonly notes: readonly DecisionNote[];
    };

const noAllowNotes: readonly DecisionNote[] = [{ message: 'no allow policies, allow' }];
const allowedByDefault: Verdict = { allow: true, notes: noAllowNotes };

export const explicitlyDenied = (key: PolicyKey): string =>
  `${errorRegistry.POLICY_DENIED.text}: explicitly denied by: ${key}`;
export const notAllowed = `${errorRegistry.POLICY_DENIED.text}: allow policies exist, but none allowed`;
export const unknownPolicy = (key: PolicyKey): string => `${errorRegistry.POLICY_UNKNOWN.text}: ${key}`;

/** Judges a connection under a workload's policies. */
export function decide(set: PolicySet, connection: PolicyConnection, options?: DecideOptions): Verdict {
  if (isEmpty(set)) return allowedByDefault;

  const subject = new Subject(connection);
  let notes: DecisionNote[] | undefined;
  for (const policy of set.dryRunDeny)
    if (policy.matches(subject))
      (notes ??= []).push({ message: 'dry-run: deny policy match', policy: policy.key });

  for (const policy of set.deny)
    if (policy.matches(subject)) {
      (notes ??= []).push({ message: 'deny policy match', policy: policy.key });
      return {
        allow: false,
        code: 'POLICY_DENIED',
        by: policy.key,
        reason: explicitlyDenied(policy.key),
        notes,
      };
    }

  if (set.unknown.length > 0 && options?.unknownPolicy !== 'skip') {
    const missing = set.unknown[0] as PolicyKey;
    for (const key of set.unknown) (notes ??= []).push({ message: 'unknown policy, deny', policy: key });
    return {
      allow: false,
      code: 'POLICY_UNKNOWN',
      by: missing,
      reason: unknownPolicy(missing),
      notes: notes ?? [],
    };
  }
  for (const key of set.unknown) (notes ??= []).push({ message: 'skipping unknown policy', policy: key });

  let dryRunAllowed = false;
  for (const policy of set.dryRunAllow)
    if (policy.matches(subject)) {
      dryRunAllowed = true;
      (notes ??= []).push({ message: 'dry-run: allow policy match', policy: policy.key });
    }
  if (set.allow.length === 0) {
    if (set.dryRunAllow.length > 0 && !dryRunAllowed)
      (notes ??= []).push({ message: 'dry-run: no allow policies match' });
    if (notes === undefined) return allowedByDefault;
    notes.push({ message: 'no allow policies, allow' });
    return { allow: true, notes };
  }

  for (const policy of set.allow)
    if (policy.matches(subject)) {
      (notes ??= []).push({ message: 'allow policy match', policy: policy.key });
      return { allow: true, by: policy.key, notes };
    }
  (notes ??= []).push({ message: 'no allow policies matched' });
  return { allow: false, code: 'POLICY_DENIED', reason: notAllowed, notes };
}

const isEmpty = (set: PolicySet): boolean =>
  set.deny.length === 0 &&
  set.allow.length === 0 &&
  set.unknown.length === 0 &&
  set.dryRunDeny.length === 0 &&
  set.dryRunAllow.length === 0;
