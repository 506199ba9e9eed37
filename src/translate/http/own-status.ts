// The Accepted condition of our own kinds.
import { targetCondition } from '../authorization-targets.ts';
import type { TargetRef } from '../authorization-policy.ts';
import type { Lookup } from '../lookup.ts';
import { describeProblems, type Problem, type WantedCondition } from '../translation.ts';
import type { SpecFacts } from './spec-facts.ts';

export function acceptedCondition(
  facts: SpecFacts,
  targets: readonly TargetRef[],
  problems: readonly Problem[],
  meanwhile: string,
  lookup: Lookup,
): WantedCondition {
  const condition = { ...targetCondition({ ...facts, targets }, lookup), type: 'Accepted' };
  if (problems.length === 0) return condition;
  return {
    ...condition,
    status: false,
    reason: 'Invalid',
    message: `${describeProblems(problems)}. ${meanwhile}`,
  };
}
