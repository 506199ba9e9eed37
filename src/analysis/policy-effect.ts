// What a policy does, in a sentence per rule.
import { formatCidr } from '#/kit/index.ts';
import type { Policy, PolicyMatch, StringMatch } from '#/model/index.ts';

const showString = (match: StringMatch): string => {
  switch (match.kind) {
    case 'exact':
      return match.value;
    case 'prefix':
      return `${match.value}*`;
    case 'suffix':
      return `*${match.value}`;
    case 'presence':
      return 'anybody with an identity';
  }
};

function matchText(match: PolicyMatch): string {
  const parts: string[] = [];
  const add = <T>(values: readonly T[], show: (value: T) => string, yes: string): void => {
    if (values.length > 0) parts.push(`${yes} ${values.map(show).join(' or ')}`);
  };
  add(match.principals, showString, 'from');
  // `not anybody with an identity` is how plain text is said.
  if (match.notPrincipals.some(({ kind }) => kind === 'presence')) parts.push('in plain text');
  else add(match.notPrincipals, showString, 'not from');
  add(match.namespaces, showString, 'from namespace');
  add(match.notNamespaces, showString, 'not from namespace');
  const account = (one: { namespace: string; serviceAccount: string }) =>
    `${one.namespace}/${one.serviceAccount}`;
  add(match.serviceAccounts, account, 'from service account');
  add(match.notServiceAccounts, account, 'not from service account');
  add(match.sourceIps, formatCidr, 'from address');
  add(match.notSourceIps, formatCidr, 'not from address');
  add(match.destinationIps, formatCidr, 'to address');
  add(match.notDestinationIps, formatCidr, 'not to address');
  add(match.destinationPorts, String, 'to port');
  add(match.notDestinationPorts, String, 'to any port but');
  return parts.length === 0 ? 'nothing (an empty match never matches)' : parts.join(', ');
}

/** `refuses connections from X, to port 80`; one per rule. */
export function policyEffect(policy: Policy): readonly string[] {
  const verb = policy.action === 'Deny' ? 'refuses' : 'allows';
  if (policy.rules.length === 0)
    return [
      policy.action === 'Deny'
        ? 'refuses nothing: it has no rules'
        : 'allows nothing: whatever no other policy allows is refused',
    ];
  return policy.rules.map(({ clauses }) => {
    const parts = clauses
      .filter(({ matches }) => matches.length > 0)
      .map(({ matches }) => matches.map(matchText).join('; or '));
    return `${verb} ${parts.length === 0 ? 'all connections' : `connections ${parts.join(', and ')}`}`;
  });
}
