// L4 authorization as the wire has it (`istio.security.Authorization`): rules OR, clauses AND, matches OR,
// fields of a match AND, values of a field OR.
import type { Cidr } from '#/kit/index.ts';

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Absent and empty lists mean the same: the field does not restrict. */
export interface PolicyMatch {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}

export interface PolicyClause {
  readonly matches: readonly PolicyMatch[];
}

export interface PolicyRule {
  readonly clauses: readonly PolicyClause[];
}

export interface Policy {
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'Global' | 'Namespace' | 'WorkloadSelector';
  readonly action: 'Allow' | 'Deny';
  readonly rules: readonly PolicyRule[];
  readonly dryRun: boolean;
}

/** `ns/name`. */
export type PolicyKey = string;

export function policyKey(policy: Pick<Policy, 'namespace' | 'name'>): PolicyKey {
  return `${policy.namespace}/${policy.name}`;
}

export const emptyMatch: PolicyMatch = {
  namespaces: [],
  notNamespaces: [],
  serviceAccounts: [],
  notServiceAccounts: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
};
