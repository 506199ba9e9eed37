// istio.security.Authorization to and from the model. Upstream drops a range or a match that it cannot read and
// cuts ports to 16 bits; a policy would then mean something else than its author wrote, so here it is refused.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import type { Cidr } from '#/kit/index.ts';
import {
  policyKey,
  type Policy,
  type PolicyMatch,
  type ServiceAccountMatch,
  type StringMatch,
} from '#/model/index.ts';
import { decodeCidr } from './gateway-address.ts';
import * as pb from './gen/istio/security/authorization_pb.ts';
import { enumTable } from './enum-table.ts';
import { each, fault, named, parsed, port } from './wire-error.ts';

const scopes = enumTable<Policy['scope'], pb.Scope>({
  Global: pb.Scope.GLOBAL,
  Namespace: pb.Scope.NAMESPACE,
  WorkloadSelector: pb.Scope.WORKLOAD_SELECTOR,
});
const actions = enumTable<Policy['action'], pb.Action>({ Allow: pb.Action.ALLOW, Deny: pb.Action.DENY });

function decodeString({ matchType }: pb.StringMatch): StringMatch {
  switch (matchType.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
      return { kind: matchType.case, value: matchType.value };
    case 'presence':
      return { kind: 'presence' };
    case undefined:
      throw fault('', 'the match has no kind (exact, prefix, suffix or presence)');
  }
}

function encodeString(match: StringMatch): pb.StringMatch {
  return create(pb.StringMatchSchema, {
    matchType:
      match.kind === 'presence'
        ? { case: 'presence', value: create(EmptySchema) }
        : { case: match.kind, value: match.value },
  });
}

const decodeRange = (message: pb.Address): Cidr => decodeCidr(message.address, message.length);
const encodeRange = (range: Cidr) => create(pb.AddressSchema, { address: range.base, length: range.length });
const decodePort = (value: number): number => port('', value);
const decodeAccount = ({ namespace, serviceAccount }: pb.ServiceAccountMatch): ServiceAccountMatch => {
  if (serviceAccount === '') throw fault('serviceAccount', 'is empty');
  return { namespace, serviceAccount };
};

function decodeMatch(message: pb.Match): PolicyMatch {
  return {
    namespaces: each('namespaces', message.namespaces, decodeString),
    notNamespaces: each('notNamespaces', message.notNamespaces, decodeString),
    serviceAccounts: each('serviceAccounts', message.serviceAccounts, decodeAccount),
    notServiceAccounts: each('notServiceAccounts', message.notServiceAccounts, decodeAccount),
    principals: each('principals', message.principals, decodeString),
    notPrincipals: each('notPrincipals', message.notPrincipals, decodeString),
    sourceIps: each('sourceIps', message.sourceIps, decodeRange),
    notSourceIps: each('notSourceIps', message.notSourceIps, decodeRange),
    destinationIps: each('destinationIps', message.destinationIps, decodeRange),
    notDestinationIps: each('notDestinationIps', message.notDestinationIps, decodeRange),
    destinationPorts: each('destinationPorts', message.destinationPorts, decodePort),
    notDestinationPorts: each('notDestinationPorts', message.notDestinationPorts, decodePort),
  };
}

function encodeMatch(match: PolicyMatch): pb.Match {
  return create(pb.MatchSchema, {
    namespaces: match.namespaces.map(encodeString),
    notNamespaces: match.notNamespaces.map(encodeString),
    serviceAccounts: [...match.serviceAccounts],
    notServiceAccounts: [...match.notServiceAccounts],
    principals: match.principals.map(encodeString),
    notPrincipals: match.notPrincipals.map(encodeString),
    sourceIps: match.sourceIps.map(encodeRange),
    notSourceIps: match.notSourceIps.map(encodeRange),
    destinationIps: match.destinationIps.map(encodeRange),
    notDestinationIps: match.notDestinationIps.map(encodeRange),
    destinationPorts: [...match.destinationPorts],
    notDestinationPorts: [...match.notDestinationPorts],
  });
}

export function encodePolicy(policy: Policy): Uint8Array {
  return toBinary(
    pb.AuthorizationSchema,
    create(pb.AuthorizationSchema, {
      name: policy.name,
      namespace: policy.namespace,
      scope: scopes.number('scope', policy.scope),
      action: actions.number('action', policy.action),
      rules: policy.rules.map((rule) => ({
        clauses: rule.clauses.map((clause) => ({ matches: clause.matches.map(encodeMatch) })),
      })),
      dryRun: policy.dryRun,
    }),
  );
}

/** Throws WireError that names the policy and the field. Unknown fields are passed over. */
export function decodePolicy(bytes: Uint8Array): Policy {
  const message = parsed('istio.security.Authorization', () =>
    fromBinary(pb.AuthorizationSchema, bytes, { readUnknownFields: false }),
  );
  return named(policyKey(message), () => {
    if (message.name === '') throw fault('name', 'is empty');
    return {
      name: message.name,
      namespace: message.namespace,
      scope: scopes.name('scope', message.scope),
      action: actions.name('action', message.action),
      rules: each('rules', message.rules, (rule) => ({
        clauses: each('clauses', rule.clauses, (clause) => ({
          matches: each('matches', clause.matches, decodeMatch),
        })),
      })),
      dryRun: message.dryRun,
    };
  });
}
