// What would change the verdict, in sentences that name the object and the field.
import { showPlace } from './document.ts';
import type { ExplainRequest, HopReport, PathReport } from './explain-report.ts';
import type { FieldReport, PolicyReport, RuleReport } from './explain-policies.ts';
import type { MeshModel } from './mesh-model.ts';
import { dataplaneLabel } from './names.ts';
import { requestChanges } from './request-changes.ts';

const at = (place: RuleReport['place']): string => (place === undefined ? '' : ` (${showPlace(place)})`);

const yamlName: Readonly<Record<string, string>> = {
  destinationPorts: 'ports',
  notDestinationPorts: 'notPorts',
  sourceIps: 'ipBlocks',
  notSourceIps: 'notIpBlocks',
};

/** What the rule lacks to match. */
function lack({ field, got, place, wanted }: FieldReport): string {
  const name = yamlName[field] ?? field;
  const plain = got === '(no identity)';
  if (field.startsWith('not')) return `take ${wanted.join(', ')} out of ${name}${at(place)}`;
  if (plain) return `${name} never match a client in plain text: take the client into the mesh`;
  return `add "${got}" to ${name}${at(place)}`;
}

function towardsAllow(policy: PolicyReport): readonly string[] {
  if (policy.rules.length === 0)
    return [
      `ALLOW policy ${policy.policy}${at(policy.place)} has no rule that ztunnel can check, so it allows nothing: give it a rule for this client`,
    ];
  return policy.rules
    .filter(({ failed }) => failed.length > 0)
    .map((rule) => {
      const name = `${policy.policy}, rule ${(rule.rule ?? 0) + 1}${at(rule.place)}`;
      const missing = [...new Set(rule.failed.map(lack))];
      return missing.length === 0 ? `widen ${name}` : `${missing.join(' and ')}, in ${name}`;
    });
}

function ofPolicies(
  model: MeshModel,
  hop: HopReport,
  by: string | undefined,
  client: string,
  clientInMesh: boolean,
): readonly string[] {
  const policies = hop.policies ?? [];
  const denial = policies.find(
    ({ policy, matched, action }) => policy === by && matched && action === 'DENY',
  );
  if (denial?.kind === 'PeerAuthentication')
    return [
      clientInMesh
        ? `the client's connection arrives in plain text, which PeerAuthentication ${denial.place === undefined ? '' : showPlace(denial.place)} refuses`
        : `${enrol(model, client)}, so that it has an identity`,
      `or let plain text in: mode PERMISSIVE in PeerAuthentication ${denial.place === undefined ? denial.policy : showPlace(denial.place)}`,
    ];
  if (denial !== undefined) {
    return denial.rules
      .filter(({ matched }) => matched)
      .map((rule) => {
        const name = rule.rule === undefined ? 'what matches' : `rule ${rule.rule + 1}`;
        const http =
          rule.dropped === undefined ? '' : `; ${rule.dropped.join(', ')} need a waypoint and targetRefs`;
        return `narrow or remove ${name} of DENY policy ${denial.policy}${at(rule.place ?? denial.place)}${http}`;
      });
  }
  const allows = policies.filter(({ action, dryRun }) => action === 'ALLOW' && !dryRun);
  return allows.flatMap(towardsAllow);
}

function ofRefusal(model: MeshModel, request: ExplainRequest, path: PathReport): readonly string[] {
  const hop = path.hops.at(-1);
  const { destination, source } = request;
  if (hop?.request !== undefined && hop.decision === 'reject') {
    const changes = requestChanges(hop);
    if (changes.length > 0) return changes;
  }
  switch (path.code) {
    case 'POLICY_DENIED':
    case 'POLICY_UNKNOWN': {
      if (hop === undefined) return [];
      const clientInMesh = path.hops[0]?.decision !== 'direct';
      const changes = ofPolicies(model, hop, path.by, path.hops[0]?.who ?? 'the client', clientInMesh);
      if (path.hops.at(-2)?.at !== 'waypoint') return changes;
      return [
        ...changes,
        'the pod sees the waypoint as its client: what is said of clients belongs into a policy with targetRefs',
      ];
    }
    case 'UNKNOWN_WAYPOINT': {
      const problem =
        destination.kind === 'service' && destination.document !== undefined
          ? model.bindingProblem(destination.document)
          : undefined;
      return [
        problem === undefined
          ? 'make the waypoint ready: its Gateway needs an address in its status and a ready pod'
          : problem.message,
        'or unbind the destination: label istio.io/use-waypoint=none',
      ];
    }
    case 'NO_HEALTHY_UPSTREAM':
      return destination.kind === 'service'
        ? [
            destination.service.ports.every(({ servicePort }) => servicePort !== request.port)
              ? `service ${destination.service.namespace}/${destination.service.name} has no port ${request.port}: it has ${destination.service.ports.map(({ servicePort }) => servicePort).join(', ') || 'none'}`
              : 'a ready pod that the service selects and that has the target port',
          ]
        : [];
    case 'NO_ROUTE':
      return source.kind === 'workload' ? ['a gateway to the network of the destination'] : [];
    default:
      return [];
  }
}

/** How a pod comes into the mesh that is not in it. */
function enrol(model: MeshModel, title: string): string {
  const pod = title.startsWith('pod ') ? model.documents.get(`Pod ${title.slice(4)}`) : undefined;
  if (pod !== undefined && model.eligibility(pod).enabled)
    return `look at the node agent of ${title}, or restart the pod: its labels ask for the mesh, and it is not captured`;
  if (!title.startsWith('pod ')) return `connect from a pod in the mesh instead of ${title}`;
  return `take ${title} into the mesh (label ${dataplaneLabel}=ambient on its namespace or itself)`;
}

function ofAllowance(model: MeshModel, path: PathReport): readonly string[] {
  const out: string[] = [];
  const first = path.hops[0];
  const last = path.hops.at(-1);
  if (first?.decision === 'direct' && first.who.startsWith('pod '))
    out.push(`${enrol(model, first.who)}: until then its connections are plain text and have no identity`);
  if (last?.decision === 'uncaptured' && last.who.startsWith('pod '))
    out.push(`${enrol(model, last.who)}: until then no policy protects it`);
  const allow = last?.policies?.find(({ policy }) => policy === path.by);
  if (allow !== undefined) {
    const rule = allow.rules.find(({ matched }) => matched);
    out.push(
      `to refuse it: narrow rule ${(rule?.rule ?? 0) + 1} of ${allow.policy}${at(rule?.place)}, or add a DENY policy`,
    );
  } else if (last?.policies !== undefined)
    out.push(
      'to refuse it: a DENY policy that matches, or an ALLOW policy for others (then all that is not allowed is refused)',
    );
  return out;
}

export function changesFor(
  model: MeshModel,
  request: ExplainRequest,
  paths: readonly PathReport[],
): readonly string[] {
  return [
    ...new Set(
      paths.flatMap((path) =>
        path.verdict === 'refused' ? ofRefusal(model, request, path) : ofAllowance(model, path),
      ),
    ),
  ];
}
