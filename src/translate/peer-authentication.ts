// PeerAuthentication: STRICT is a DENY policy for connections without an identity. Workloads list either the one
// static policy, or a converted one where ports differ.
import { emptyMatch, type Policy, type PolicyMatch } from '#/model/index.ts';
import { shown } from './authorization-values.ts';
import type { Lookup } from './lookup.ts';
import { convertedPeerAuthentication, staticStrictPolicy } from './names.ts';
import { byAge, objectFacts, specOf, type ObjectFacts, type SourceObject } from './object.ts';
import { labelMap, record, unknownFields, type Labels } from './read.ts';
import { isEmpty, selects } from './selector.ts';
import { emptyTranslation, validCondition, type Problem, type Translation } from './translation.ts';

/** DISABLE is PERMISSIVE in ambient. */
export type MtlsMode = 'STRICT' | 'PERMISSIVE' | 'UNSET';

export interface PeerAuthenticationFacts extends ObjectFacts {
  /** Empty: the whole namespace, or the mesh if it is the root namespace. */
  readonly selector: Labels;
  readonly mode: MtlsMode;
  readonly strictPorts: readonly number[];
  readonly permissivePorts: readonly number[];
  readonly problems: readonly Problem[];
}

export function readPeerAuthentication(object: SourceObject): PeerAuthenticationFacts {
  const spec = specOf(object);
  const problems: Problem[] = [];
  const readMode = (field: string, value: unknown): MtlsMode => {
    switch (value) {
      case undefined:
      case null:
      case 'UNSET':
        return 'UNSET';
      case 'PERMISSIVE':
      case 'DISABLE':
        return 'PERMISSIVE';
      case 'STRICT':
        return 'STRICT';
      default:
        problems.push({ field, reason: `${shown(value)} is not a mode; taken as STRICT` });
        return 'STRICT';
    }
  };
  for (const name of unknownFields(spec, ['selector', 'mtls', 'portLevelMtls']))
    problems.push({ field: `spec.${name}`, reason: 'unknown field' });
  let mode = readMode('spec.mtls.mode', record(spec['mtls'])['mode']);
  for (const name of unknownFields(spec['mtls'], ['mode'])) {
    // A mode was meant, but which is not known.
    problems.push({ field: `spec.mtls.${name}`, reason: 'unknown field; taken as STRICT' });
    mode = 'STRICT';
  }
  const strictPorts: number[] = [];
  const permissivePorts: number[] = [];
  for (const [key, value] of Object.entries(record(spec['portLevelMtls']))) {
    const field = `spec.portLevelMtls.${key}`;
    const portMode = readMode(`${field}.mode`, record(value)['mode']);
    const port = /^[0-9]{1,5}$/.test(key) ? Number(key) : 0;
    if (port < 1 || port > 65535) {
      // An exception for a port that is none is no exception; a demand for one is a demand for all.
      problems.push({ field, reason: 'not a port from 1 to 65535' });
      if (portMode === 'STRICT') mode = 'STRICT';
    } else if (portMode === 'STRICT') strictPorts.push(port);
    else if (portMode === 'PERMISSIVE') permissivePorts.push(port);
  }
  const order = (a: number, b: number) => a - b;
  return {
    ...objectFacts(object),
    selector: labelMap(record(spec['selector'])['matchLabels']),
    mode,
    strictPorts: strictPorts.sort(order),
    permissivePorts: permissivePorts.sort(order),
    problems,
  };
}

function oldest(
  policies: readonly PeerAuthenticationFacts[],
  applies: (policy: PeerAuthenticationFacts) => boolean,
): PeerAuthenticationFacts | undefined {
  return policies.filter(applies).sort(byAge)[0];
}

/** What the namespace, or else the mesh, asks for. */
function inheritedMode(lookup: Lookup, namespace: string): MtlsMode {
  const { rootNamespace } = lookup.mesh;
  const wide = (policy: PeerAuthenticationFacts) => isEmpty(policy.selector);
  const own =
    namespace === rootNamespace ? undefined : oldest(lookup.peerAuthentications(namespace), wide)?.mode;
  if (own !== undefined && own !== 'UNSET') return own;
  return oldest(lookup.peerAuthentications(rootNamespace), wide)?.mode ?? 'UNSET';
}

/** The converted policy of a PeerAuthentication, if its ports differ from what holds for the rest. */
function exceptions(policy: PeerAuthenticationFacts, inherited: MtlsMode): PolicyMatch | undefined {
  const strict = (policy.mode === 'UNSET' ? inherited : policy.mode) === 'STRICT';
  const ports = strict ? policy.permissivePorts : policy.strictPorts;
  if (ports.length === 0) return undefined;
  return {
    ...emptyMatch,
    notPrincipals: [{ kind: 'presence' }],
    ...(strict ? { notDestinationPorts: ports } : { destinationPorts: ports }),
  };
}

/** Keys of the policies that make a workload's effective mode: none when it is permissive. */
export function peerAuthenticationPolicies(
  lookup: Lookup,
  namespace: string,
  labels: Labels,
): readonly string[] {
  const { rootNamespace } = lookup.mesh;
  const inherited = inheritedMode(lookup, namespace);
  const strict = `${rootNamespace}/${staticStrictPolicy}`;
  // In the root namespace, only policies for the whole mesh count.
  const own =
    namespace === rootNamespace
      ? undefined
      : oldest(
          lookup.peerAuthentications(namespace),
          (policy) => !isEmpty(policy.selector) && selects(policy.selector, labels),
        );
  if (own === undefined) return inherited === 'STRICT' ? [strict] : [];
  if (exceptions(own, inherited) !== undefined)
    return [`${own.namespace}/${convertedPeerAuthentication(own.name)}`];
  return (own.mode === 'UNSET' ? inherited : own.mode) === 'STRICT' ? [strict] : [];
}

/** The converted policy with port exceptions; nothing where the static one says it all. */
export function translatePeerAuthentication(policy: PeerAuthenticationFacts, lookup: Lookup): Translation {
  const { rootNamespace } = lookup.mesh;
  const problems = [...policy.problems];
  const wide = isEmpty(policy.selector);
  const ports = policy.strictPorts.length + policy.permissivePorts.length;
  if (!wide && policy.namespace === rootNamespace)
    problems.push({
      field: 'spec.selector',
      reason: 'has no effect in the root namespace; the policy is not used',
    });
  else if (wide && ports > 0)
    problems.push({ field: 'spec.portLevelMtls', reason: 'has no effect without a selector' });
  const conditions = validCondition(problems);
  const match =
    wide || policy.namespace === rootNamespace
      ? undefined
      : exceptions(policy, inheritedMode(lookup, policy.namespace));
  if (match === undefined) return { records: [], conditions, problems };
  const record: Policy = {
    name: convertedPeerAuthentication(policy.name),
    namespace: policy.namespace,
    scope: 'WorkloadSelector',
    action: 'Deny',
    rules: [{ clauses: [{ matches: [match] }] }],
    dryRun: false,
  };
  return { records: [record], conditions, problems };
}

/** What the mesh as a whole gives: the static policy, as soon as there is any PeerAuthentication. */
export function translateMesh(lookup: Lookup): Translation {
  if (!lookup.anyPeerAuthentication()) return emptyTranslation;
  const record: Policy = {
    name: staticStrictPolicy,
    namespace: lookup.mesh.rootNamespace,
    scope: 'WorkloadSelector',
    action: 'Deny',
    rules: [{ clauses: [{ matches: [{ ...emptyMatch, notPrincipals: [{ kind: 'presence' }] }] }] }],
    dryRun: false,
  };
  return { records: [record], conditions: [], problems: [] };
}
