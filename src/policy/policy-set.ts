// The policies that one workload stands under, sorted once into the order in which they are asked.
import type { PolicyKey } from '#/model/index.ts';
import type { CompiledPolicy } from './compile.ts';

export interface PolicySet {
  readonly deny: readonly CompiledPolicy[];
  readonly dryRunDeny: readonly CompiledPolicy[];
  readonly allow: readonly CompiledPolicy[];
  readonly dryRunAllow: readonly CompiledPolicy[];
  /** Policies that the workload lists and that are not known. */
  readonly unknown: readonly PolicyKey[];
}

const byKey = (a: { key: PolicyKey }, b: { key: PolicyKey }): number =>
  a.key < b.key ? -1 : a.key > b.key ? 1 : 0;

/** Sorts by key inside a class, so that of several policies that refuse always the same one is named. */
export function policySet(policies: Iterable<CompiledPolicy>, unknown: readonly PolicyKey[] = []): PolicySet {
  const unique = new Map<PolicyKey, CompiledPolicy>();
  for (const policy of policies) unique.set(policy.key, policy);
  const sorted = [...unique.values()].sort(byKey);
  const pick = (action: 'Allow' | 'Deny', dryRun: boolean): CompiledPolicy[] =>
    sorted.filter(({ policy }) => policy.action === action && policy.dryRun === dryRun);
  return {
    deny: pick('Deny', false),
    dryRunDeny: pick('Deny', true),
    allow: pick('Allow', false),
    dryRunAllow: pick('Allow', true),
    unknown: [...unknown].sort(),
  };
}

/** For a workload that no policy applies to. */
export const noPolicies: PolicySet = policySet([]);
