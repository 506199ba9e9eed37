// Bindings to waypoints that do not hold, and what goes round a waypoint.
import { bindService, bindWorkload, findWaypoint, type BindingProblem } from '#/translate/index.ts';
import { decide } from '#/policy/index.ts';
import type { Ip } from '#/kit/index.ts';
import { identityOf, serviceKey } from '#/model/index.ts';
import type { SourceDocument } from '../document.ts';
import { field, items, labels, string } from '../fields.ts';
import { some, type Analyzer, type Report } from '../finding.ts';
import type { FindingCode } from '../finding-registry.ts';
import type { MeshModel } from '../mesh-model.ts';

const useWaypoint = 'istio.io/use-waypoint';

function codeOf({ reason, message }: BindingProblem): FindingCode {
  switch (reason) {
    case 'WaypointIsNotReady':
      if (message.includes('there is no such Gateway')) return 'AUR0201';
      return message.includes('not for waypoints') ? 'AUR0203' : 'AUR0202';
    case 'AttachmentDenied':
      return 'AUR0204';
    case 'UnsupportedTrafficType':
      return 'AUR0205';
    case 'CanaryInvalidWeight':
    case 'CanarySameAsPrimary':
      return 'AUR0206';
    case 'CrossNamespaceWaypointForbidden':
      return 'AUR0207';
  }
}

interface Bound {
  readonly document: SourceDocument;
  readonly problem: BindingProblem | undefined;
}

function* bindings(model: MeshModel): Iterable<Bound> {
  const { lookup } = model;
  for (const document of model.all('Service')) {
    const facts = lookup.service(document.namespace, document.name);
    if (facts !== undefined && !facts.external)
      yield { document, problem: bindService(lookup, facts).problem };
  }
  // Its visibility counts, too: the condition has it all.
  for (const document of model.all('ServiceEntry'))
    yield { document, problem: model.bindingProblem(document) };
  for (const document of model.all('Pod')) {
    const facts = lookup.facts('Pod', `${document.namespace}/${document.name}`);
    if (facts === undefined || facts.waypoint.instanceOf !== undefined) continue;
    yield { document, problem: bindWorkload(lookup, facts).problem };
  }
}

/** One finding per label: what a namespace passes on to many objects is the namespace's mistake. */
function unbound(model: MeshModel, report: Report): void {
  const grouped = new Map<string, { at: SourceDocument; problem: BindingProblem; objects: string[] }>();
  for (const { document, problem } of bindings(model)) {
    if (problem === undefined) continue;
    const own = labels(document.object, 'metadata', 'labels')[useWaypoint] !== undefined;
    const at = own ? document : (model.document('Namespace', '', document.namespace) ?? document);
    const key = `${at.kind} ${at.namespace}/${at.name} ${problem.message}`;
    const group = grouped.get(key);
    const name = `${document.kind} ${document.name}`;
    if (group === undefined) grouped.set(key, { at, problem, objects: [name] });
    else group.objects.push(name);
  }
  for (const { at, problem, objects } of grouped.values()) {
    const concerned = at.kind === 'Namespace' ? ` (${some(objects)})` : '';
    report(codeOf(problem), at, `metadata.labels[${useWaypoint}]`, `${problem.message}${concerned}`);
  }
}

/** Canaries have no problem of their own: the binding holds without them. The condition says it. */
function canaries(model: MeshModel, report: Report): void {
  for (const kind of ['Service', 'ServiceEntry'])
    for (const document of model.all(kind)) {
      const conditions = model.conditions.get(`${kind} ${document.namespace}/${document.name}`) ?? [];
      const told = conditions.find(({ message }) => message.includes('its canary is not used'));
      if (told !== undefined)
        report('AUR0206', document, 'metadata.labels[istio.io/use-waypoint-canary]', told.message);
      for (const { type, status, message } of conditions)
        if (type === 'istio.io/WaypointMissing' && status) report('AUR0213', document, 'spec.hosts', message);
      if (told === undefined && conditions.some(({ message }) => message.includes('goes round it')))
        report(
          'AUR0212',
          document,
          'metadata.labels',
          `traffic from ingress gateways goes round the waypoint of ${document.name}`,
        );
    }
}

function gateways(model: MeshModel, report: Report): void {
  const used = new Set<string>();
  for (const kind of ['Namespace', 'Service', 'ServiceEntry', 'Pod', 'WorkloadEntry'])
    for (const { object, namespace, name } of model.all(kind)) {
      const own = labels(object, 'metadata', 'labels');
      const home = kind === 'Namespace' ? name : namespace;
      for (const key of [useWaypoint, 'istio.io/use-waypoint-canary'])
        if (own[key] !== undefined) used.add(`${own[`${key}-namespace`] ?? home}/${own[key]}`);
    }
  for (const document of model.all('Gateway')) {
    if (string(document.object, 'apiVersion').startsWith('networking.istio.io/')) continue;
    const waypoint = findWaypoint(model.lookup, document.namespace, document.name);
    if (waypoint === undefined) continue;
    if (!used.has(`${document.namespace}/${document.name}`))
      report(
        'AUR0208',
        document,
        'metadata.name',
        `no label ${useWaypoint} names ${document.namespace}/${document.name}`,
      );
    const listeners = items(document.object, 'spec', 'listeners');
    const hbone = listeners.some(
      (one) => field(one, 'port') === 15008 && string(one, 'protocol') === 'HBONE',
    );
    if (!hbone && waypoint.binding === undefined)
      report(
        'AUR0211',
        document,
        'spec.listeners',
        `waypoint ${document.namespace}/${document.name} has no listener with port 15008 and protocol HBONE`,
      );
  }
}

/** Workloads that a service's waypoint sends to, with the ALLOW policies that do not know the waypoint. */
function behindWaypoints(model: MeshModel, report: Report): void {
  const { store } = model;
  for (const service of store.services()) {
    const document = model.serviceDocument(service);
    const binding =
      document === undefined || document.kind !== 'Service'
        ? undefined
        : bindService(model.lookup, model.lookup.service(document.namespace, document.name) ?? never());
    if (document === undefined || binding?.waypoint === undefined) continue;
    const { waypoint } = binding;
    const [instance] = model.lookup.gatewayPods(waypoint.namespace, waypoint.name);
    const account = instance?.serviceAccount ?? waypoint.name;
    const identity = identityOf(model.settings.trustDomain, waypoint.namespace, account);
    const targeted = [...model.lookup.all('AuthorizationPolicy')].filter(
      ({ namespace, targets }) =>
        namespace === document.namespace &&
        targets.some(({ kind, name }) => kind === 'Service' && name === document.name),
    );
    for (const workload of store.endpoints(serviceKey(service)).workloads) {
      const set = store.policiesFor(workload);
      const port = workload.services[serviceKey(service)]?.[0]?.targetPort ?? 0;
      const [ip] = workload.addresses;
      if (ip === undefined) continue;
      const verdict = decide(set, {
        sourceIp: (instance?.ips[0] ?? '203.0.113.1') as Ip,
        destinationIp: ip,
        destinationPort: port,
        identity,
      });
      if (!verdict.allow && set.allow.length > 0 && verdict.by === undefined)
        for (const { policy } of set.allow) {
          const source = model.document('AuthorizationPolicy', policy.namespace, policy.name);
          if (source === undefined || policy.rules.length === 0) continue;
          report(
            'AUR0209',
            source,
            'spec.rules',
            `service ${service.namespace}/${service.name} is behind waypoint ${waypoint.namespace}/${waypoint.name}, and no ALLOW policy of its pods admits ${identity.slice('spiffe://'.length)}`,
          );
        }
      else if (targeted.length > 0 && isOpen(set, ip, port, model.settings.trustDomain))
        for (const { name } of targeted) {
          const source = model.document('AuthorizationPolicy', document.namespace, name);
          if (source !== undefined)
            report(
              'AUR0210',
              source,
              'spec.targetRefs',
              `who connects to the pods of ${service.name} by their own address, or from outside of the mesh, does not pass waypoint ${waypoint.namespace}/${waypoint.name}: nothing on the pods refuses it`,
            );
        }
    }
  }
}

function never(): never {
  throw new Error('a Service without facts has a record');
}

const isOpen = (
  set: ReturnType<MeshModel['store']['policiesFor']>,
  destinationIp: Ip,
  destinationPort: number,
  trustDomain: string,
): boolean => {
  const stranger = { sourceIp: '203.0.113.1' as Ip, destinationIp, destinationPort };
  const identity = identityOf(trustDomain, 'somewhere', 'somebody');
  return decide(set, stranger).allow || decide(set, { ...stranger, identity }).allow;
};

export const waypoints: Analyzer = (model, report) => {
  unbound(model, report);
  canaries(model, report);
  gateways(model, report);
  behindWaypoints(model, report);
};
