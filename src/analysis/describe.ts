// What a pod or a service is to the mesh.
import { convertedPeerAuthentication, podUid, staticStrictPolicy } from '#/translate/index.ts';
import { serviceKey, type GatewayAddress, type Policy, type Service, type Workload } from '#/model/index.ts';
import { analyze, type AnalysisInput } from './analyze.ts';
import { placeOf, type Place, type SourceDocument } from './document.ts';
import { atWaypoint, namesAtWaypoint, toldTo, type AtWaypoint } from './describe-waypoint.ts';
import { captureOf, partyReport } from './explain-party.ts';
import { field, items, labels, string } from './fields.ts';
import type { Finding } from './finding.ts';
import type { MeshModel } from './mesh-model.ts';
import { effectivePeerAuthentication } from './peer-authentication.ts';
import { policyEffect } from './policy-effect.ts';
import { TargetError } from './target.ts';
import { waypointPolicies, type WaypointPolicy } from './waypoint-policies.ts';

export interface PolicySummary {
  /** `ns/name`. */
  readonly policy: string;
  readonly action: 'ALLOW' | 'DENY';
  readonly scope: 'mesh' | 'namespace' | 'workload';
  readonly dryRun: boolean;
  /** A sentence per rule. */
  readonly effect: readonly string[];
  readonly place: Place;
}

export interface PodDescription {
  readonly kind: 'pod';
  readonly title: string;
  readonly place: Place;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly phase: string;
  readonly ready: boolean;
  readonly inMesh: boolean;
  readonly because: string;
  /** It is a waypoint or gateway, and takes HBONE itself. */
  readonly ownProxy: boolean;
  /** `ns/name` of the Gateway that it is an instance of. */
  readonly gateway?: string;
  /** What the waypoint that it runs has been told: `2 HTTPRoute`. */
  readonly told?: readonly string[];
  /** How the mesh brings traffic to it. */
  readonly protocol: 'HBONE' | 'TCP' | 'none';
  readonly identity?: string;
  /** For traffic to the pod's own address. */
  readonly waypoint?: string;
  readonly mtls: {
    readonly mode: 'STRICT' | 'PERMISSIVE';
    /** Ports with the other mode. */
    readonly exceptions: readonly number[];
    readonly place?: Place;
  };
  readonly services: readonly {
    readonly service: string;
    readonly ports: readonly string[];
    readonly waypoint?: string;
    /** Objects that the waypoint of the service works by: `HTTPRoute demo/web`. */
    readonly atWaypoint?: readonly string[];
  }[];
  /** At the waypoint of the pod's own address. */
  readonly atWaypoint?: AtWaypoint;
  readonly policies: readonly PolicySummary[];
  /** What happens to a connection that no policy names. */
  readonly otherwise: 'allowed' | 'refused';
  readonly problems: readonly Finding[];
}

export interface ServiceDescription {
  readonly kind: 'service';
  readonly title: string;
  readonly place: Place;
  readonly hostname: string;
  readonly addresses: readonly string[];
  readonly ports: readonly {
    readonly port: number;
    readonly name: string;
    readonly protocol: string;
    readonly target: string;
  }[];
  readonly loadBalancing: string;
  readonly waypoint?: string;
  /** Whether the binding holds, and why not. */
  readonly binding: string;
  readonly endpoints: readonly {
    readonly workload: string;
    readonly addresses: readonly string[];
    readonly node: string;
    readonly ready: boolean;
    readonly inMesh: boolean;
  }[];
  readonly requestPolicies: readonly WaypointPolicy[];
  /** What else its waypoint does. */
  readonly atWaypoint?: AtWaypoint;
  /** Those of its pods. */
  readonly policies: readonly (PolicySummary & { readonly workloads: number })[];
  readonly problems: readonly Finding[];
}

export type Description = PodDescription | ServiceDescription;

const scopes = { Global: 'mesh', Namespace: 'namespace', WorkloadSelector: 'workload' } as const;

function gatewayName({ destination }: GatewayAddress): string {
  return destination.kind === 'address' ? destination.ip : destination.hostname;
}

function summary(model: MeshModel, policy: Policy): PolicySummary {
  return {
    policy: `${policy.namespace}/${policy.name}`,
    action: policy.action === 'Deny' ? 'DENY' : 'ALLOW',
    scope: scopes[policy.scope],
    dryRun: policy.dryRun,
    effect: policyEffect(policy),
    place: model.place('AuthorizationPolicy', policy.namespace, policy.name),
  };
}

/** Without those that PeerAuthentications are turned into: the mode says the same. */
function policiesOf(model: MeshModel, workload: Workload): readonly PolicySummary[] {
  const { deny, dryRunDeny, allow, dryRunAllow } = model.store.policiesFor(workload);
  return [...deny, ...dryRunDeny, ...allow, ...dryRunAllow]
    .map(({ policy }) => policy)
    .filter(({ name }) => name !== staticStrictPolicy && !name.startsWith(convertedPeerAuthentication('')))
    .map((policy) => summary(model, policy));
}

/** Findings on these objects. */
function problemsOf(
  model: MeshModel,
  input: AnalysisInput,
  documents: readonly (SourceDocument | undefined)[],
): readonly Finding[] {
  return analyze(model, input).filter(({ object }) =>
    documents.some(
      (document) =>
        document !== undefined &&
        document.kind === object.kind &&
        document.name === object.name &&
        document.namespace === object.namespace,
    ),
  );
}

function targetPort(mapping: { readonly servicePort: number; readonly targetPort: number }): string {
  return mapping.targetPort === mapping.servicePort
    ? String(mapping.servicePort)
    : `${mapping.servicePort}->${mapping.targetPort}`;
}

/** Throws TargetError if there is no such pod. */
export function describePod(
  model: MeshModel,
  namespace: string,
  name: string,
  input: AnalysisInput = {},
): PodDescription {
  const document = model.document('Pod', namespace, name);
  if (document === undefined) throw new TargetError(`no pod ${namespace}/${name}`);
  const workload = model.store.workloadByUid(podUid(model.settings.clusterId, namespace, name));
  const facts = model.lookup.facts('Pod', `${namespace}/${name}`);
  const party =
    workload === undefined ? undefined : partyReport(model, { kind: 'workload', workload, document });
  const capture = captureOf(model, document);
  const policies = workload === undefined ? [] : policiesOf(model, workload);
  const effective = workload === undefined ? undefined : effectivePeerAuthentication(model, workload);
  const enforced = policies.filter(({ dryRun }) => !dryRun);
  const instance = facts?.waypoint.instanceOf;
  const told = instance === undefined ? [] : toldTo(model, `${namespace}/${instance}`);
  const own = workload === undefined ? undefined : atWaypoint(model, workload.waypoint, { workload });
  return {
    kind: 'pod',
    title: `${namespace}/${name}`,
    place: placeOf(document),
    node: string(document.object, 'spec', 'nodeName'),
    addresses: facts?.ips ?? [],
    phase: string(document.object, 'status', 'phase'),
    ready: facts?.healthy === true,
    inMesh: party?.inMesh ?? capture.captured,
    because: party?.because ?? capture.because,
    ownProxy: workload?.nativeTunnel === true,
    ...(facts?.waypoint.instanceOf === undefined
      ? {}
      : { gateway: `${namespace}/${facts.waypoint.instanceOf}` }),
    ...(told.length === 0 ? {} : { told }),
    protocol: workload?.protocol ?? 'none',
    ...(party?.identity === undefined ? {} : { identity: party.identity }),
    ...(workload?.waypoint === undefined ? {} : { waypoint: gatewayName(workload.waypoint) }),
    mtls: {
      mode: effective?.mode ?? 'PERMISSIVE',
      exceptions: effective?.exceptions ?? [],
      ...(effective?.document === undefined ? {} : { place: placeOf(effective.document) }),
    },
    services: (workload === undefined ? [] : model.store.servicesOf(workload)).map((service) => {
      const at = atWaypoint(model, service.waypoint, { service });
      const names = at === undefined ? [] : namesAtWaypoint(at);
      return {
        service: `${service.namespace}/${service.name}`,
        ports: (workload?.services[serviceKey(service)] ?? []).map(targetPort),
        ...(service.waypoint === undefined ? {} : { waypoint: gatewayName(service.waypoint) }),
        ...(names.length === 0 ? {} : { atWaypoint: names }),
      };
    }),
    ...(own === undefined ? {} : { atWaypoint: own }),
    policies,
    otherwise: enforced.some(({ action }) => action === 'ALLOW') ? 'refused' : 'allowed',
    problems: problemsOf(model, input, [
      document,
      model.document('Namespace', '', namespace),
      effective?.document,
      ...policies.map(({ place }) => model.document('AuthorizationPolicy', place.namespace, place.name)),
    ]),
  };
}

function ports(document: SourceDocument | undefined, service: Service): ServiceDescription['ports'] {
  const written = items(document?.object, 'spec', 'ports');
  return service.ports.map(({ servicePort, targetPort: target, appProtocol }) => {
    const own = written.find((port) => (field(port, 'port') ?? field(port, 'number')) === servicePort);
    const named = field(own, 'targetPort');
    return {
      port: servicePort,
      name: string(own, 'name'),
      protocol: appProtocol === 'UNKNOWN' ? 'TCP' : appProtocol,
      target: typeof named === 'string' ? named : String(target),
    };
  });
}

function binding(model: MeshModel, document: SourceDocument | undefined, service: Service): string {
  const problem = document === undefined ? undefined : model.bindingProblem(document);
  if (problem !== undefined) return `not bound: ${problem.message}`;
  if (service.waypoint === undefined) {
    const own =
      document === undefined
        ? undefined
        : labels(document.object, 'metadata', 'labels')['istio.io/use-waypoint'];
    return own === 'none'
      ? 'none: its label istio.io/use-waypoint is none'
      : 'none: no label istio.io/use-waypoint on it or its namespace';
  }
  const { workloads } = model.store.endpoints(
    `${service.waypoint.destination.kind === 'hostname' ? `${service.waypoint.destination.namespace}/${service.waypoint.destination.hostname}` : ''}`,
  );
  const ready =
    service.waypoint.destination.kind === 'address'
      ? ''
      : `, ${workloads.length} ready ${workloads.length === 1 ? 'pod' : 'pods'}`;
  return `bound to ${gatewayName(service.waypoint)}${ready}`;
}

function balancing({ loadBalancing: { mode, routingPreference, healthPolicy } }: Service): string {
  const health = healthPolicy === 'ALLOW_ALL' ? ', also to pods that are not ready' : '';
  switch (mode) {
    case 'STRICT':
      return `only within the same ${routingPreference.join(', ').toLowerCase()}${health}`;
    case 'FAILOVER':
      return `as near as possible, by ${routingPreference.join(', ').toLowerCase()}${health}`;
    case 'PASSTHROUGH':
      return 'none: connections go to the address that the client has chosen';
    case 'UNSPECIFIED':
      return `by chance${health}`;
  }
}

/** Throws TargetError if there is no such service. */
export function describeService(
  model: MeshModel,
  namespace: string,
  name: string,
  input: AnalysisInput = {},
): ServiceDescription {
  const entry = model.lookup.serviceEntry(namespace, name)?.hosts[0];
  const service =
    model.serviceRecord(namespace, name) ??
    (entry === undefined ? undefined : model.store.serviceByKey(`${namespace}/${entry}`));
  if (service === undefined)
    throw new TargetError(`no service ${namespace}/${name} in the mesh (of type ExternalName it is none)`);
  const document = model.serviceDocument(service);
  const key = serviceKey(service);
  const members = [...model.store.members(key)].sort((a, b) => (a.uid < b.uid ? -1 : 1));
  const ready = model.store.endpoints(key);
  const byPolicy = new Map<string, PolicySummary & { workloads: number }>();
  for (const member of members)
    for (const policy of policiesOf(model, member)) {
      const known = byPolicy.get(policy.policy);
      byPolicy.set(policy.policy, { ...policy, workloads: (known?.workloads ?? 0) + 1 });
    }
  const destination = service.waypoint?.destination;
  const [waypoint] =
    destination?.kind === 'hostname'
      ? model.store.endpoints(`${destination.namespace}/${destination.hostname}`).workloads
      : [];
  const requestPolicies = waypoint === undefined ? [] : waypointPolicies(model, waypoint, service);
  const at = atWaypoint(model, service.waypoint, { service });
  const applied = at === undefined ? [] : [...at.routes, ...at.authentications, ...at.applied];
  return {
    kind: 'service',
    title: `${namespace}/${name}`,
    place: document === undefined ? { kind: 'Service', namespace, name } : placeOf(document),
    hostname: service.hostname,
    addresses: service.addresses.map(({ ip }) => ip),
    ports: ports(document, service),
    loadBalancing: balancing(service),
    ...(service.waypoint === undefined ? {} : { waypoint: gatewayName(service.waypoint) }),
    binding: binding(model, document, service),
    endpoints: members.map((member) => {
      const { title, node, inMesh } = partyReport(model, { kind: 'workload', workload: member });
      return {
        workload: title,
        addresses: member.addresses,
        node: node ?? '',
        ready: ready.has(member.uid),
        inMesh: inMesh === true,
      };
    }),
    requestPolicies,
    ...(at === undefined ? {} : { atWaypoint: at }),
    policies: [...byPolicy.values()],
    problems: problemsOf(model, input, [
      document,
      model.document('Namespace', '', namespace),
      ...applied.map(({ place }) => place && model.document(place.kind, place.namespace, place.name)),
      ...[...byPolicy.values(), ...requestPolicies].map(({ place }) =>
        model.document('AuthorizationPolicy', place.namespace, place.name),
      ),
    ]),
  };
}
