// AuthorizationPolicy → `istio.security.Authorization`, and what its status says of it.
import type { Policy } from '#/model/index.ts';
import { canMatch, convertRules, type ConvertedRules } from './authorization-rules.ts';
import { translateHttpPolicy } from './http/http-policy.ts';
import type { Lookup } from './lookup.ts';
import { annotation } from './names.ts';
import { annotationsOf, objectFacts, specOf, type ObjectFacts, type SourceObject } from './object.ts';
import { integer, isTrue, labelMap, list, optionalText, record, text, type Labels } from './read.ts';
import { isEmpty } from './selector.ts';
import type { MeshSettings } from './settings.ts';
import { conditionType, describeProblems, type Translation, type WantedCondition } from './translation.ts';

export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string | undefined;
}

export interface AuthorizationPolicyFacts extends ObjectFacts {
  readonly generation: number;
  readonly action: string;
  /** Empty: the whole namespace. An empty selector of the object counts as none. */
  readonly selector: Labels;
  readonly targets: readonly TargetRef[];
  readonly dryRun: boolean;
  /** Name of the extension provider, for CUSTOM. */
  readonly provider: string;
  /** As they stand in the object: they are read when they are translated. */
  readonly rules: readonly unknown[];
}

function readTarget(value: unknown): TargetRef {
  const target = record(value);
  return {
    group: text(target['group']),
    kind: text(target['kind']),
    name: text(target['name']),
    namespace: optionalText(target['namespace']),
  };
}

export function readAuthorizationPolicy(object: SourceObject): AuthorizationPolicyFacts {
  const spec = specOf(object);
  const single = spec['targetRef'] === undefined || spec['targetRef'] === null ? [] : [spec['targetRef']];
  const several = list(spec['targetRefs']);
  return {
    ...objectFacts(object),
    generation: integer(object.metadata.generation),
    action: optionalText(spec['action']) ?? 'ALLOW',
    selector: labelMap(record(spec['selector'])['matchLabels']),
    targets: (several.length > 0 ? several : single).map(readTarget),
    dryRun: isTrue(annotationsOf(object)[annotation.dryRun]),
    provider: text(record(spec['provider'])['name']),
    rules: list(spec['rules']),
  };
}

/** False for policies of waypoints, for actions that ztunnel has not, and for dry runs where they are off. */
export function isSentToZtunnel(policy: AuthorizationPolicyFacts, mesh: MeshSettings): boolean {
  return (
    policy.targets.length === 0 &&
    (policy.action === 'ALLOW' || policy.action === 'DENY') &&
    (!policy.dryRun || mesh.dryRunPolicies)
  );
}

const unsupported = 'UnsupportedValue';

function l7Message(converted: ConvertedRules, action: 'Allow' | 'Deny', compat: boolean): string {
  const found = `ztunnel does not support HTTP attributes (found: ${converted.l7.join(', ')}), a waypoint does: `;
  if (action === 'Allow')
    return `${found}the rules that have them allow nothing, which is stricter than asked for`;
  if (compat && !canMatch(converted.rules))
    return `${found}nothing is left of this DENY policy, it has no effect`;
  return `${found}they are left out of this DENY policy, which is stricter than asked for`;
}

function accepted(
  policy: AuthorizationPolicyFacts,
  status: boolean,
  reason: string,
  message: string,
): WantedCondition {
  return {
    type: conditionType.ztunnelAccepted,
    status,
    reason,
    message,
    observedGeneration: policy.generation,
  };
}

export function translateAuthorizationPolicy(policy: AuthorizationPolicyFacts, lookup: Lookup): Translation {
  const { mesh } = lookup;
  if (policy.targets.length > 0) return translateHttpPolicy(policy, lookup);
  if (policy.dryRun && !mesh.dryRunPolicies)
    return refused(policy, 'dry runs are not enabled (AMBIENT_ENABLE_DRY_RUN_AUTHORIZATION_POLICY)');
  if (policy.action !== 'ALLOW' && policy.action !== 'DENY')
    return refused(policy, `ztunnel does not support the action ${policy.action}`);

  const action = policy.action === 'DENY' ? 'Deny' : 'Allow';
  const converted = convertRules(policy.rules, {
    action,
    namespace: policy.namespace,
    upstreamCompat: mesh.upstreamCompat,
  });
  const broken = converted.bad.length > 0 && !mesh.upstreamCompat;
  const record: Policy = {
    name: policy.name,
    namespace: policy.namespace,
    scope: !isEmpty(policy.selector)
      ? 'WorkloadSelector'
      : policy.namespace === mesh.rootNamespace
        ? 'Global'
        : 'Namespace',
    action,
    // A policy that is not understood refuses all that it selects: ALLOW by no rule, DENY by one that takes anything.
    rules: broken ? (action === 'Allow' ? [] : [{ clauses: [] }]) : converted.rules,
    dryRun: policy.dryRun,
  };
  const problems = [...converted.bad, ...converted.notes];
  return { records: [record], conditions: [conditionOf(policy, action, converted, broken, mesh)], problems };
}

function refused(policy: AuthorizationPolicyFacts, reason: string): Translation {
  return {
    records: [],
    conditions: [accepted(policy, false, unsupported, `${reason}; the policy is not enforced by ztunnel`)],
    problems: [{ field: 'spec', reason }],
  };
}

function conditionOf(
  policy: AuthorizationPolicyFacts,
  action: 'Allow' | 'Deny',
  converted: ConvertedRules,
  broken: boolean,
  mesh: MeshSettings,
): WantedCondition {
  if (broken)
    return accepted(
      policy,
      false,
      unsupported,
      `${describeProblems(converted.bad)}. Until this is corrected, the policy refuses all connections to what it selects`,
    );
  const messages: string[] = [];
  if (converted.l7.length > 0) messages.push(l7Message(converted, action, mesh.upstreamCompat));
  if (converted.bad.length > 0) messages.push(`left out: ${describeProblems(converted.bad)}`);
  if (converted.notes.length > 0) messages.push(describeProblems(converted.notes));
  return messages.length === 0
    ? accepted(policy, true, 'Accepted', 'attached to ztunnel')
    : accepted(policy, true, unsupported, messages.join('. '));
}
