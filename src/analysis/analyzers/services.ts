// Services, ServiceEntries and WorkloadEntries that do not lead where they seem to.
import { captureAnnotations } from '#/capture/index.ts';
import { serviceHostname } from '#/translate/index.ts';
import type { SourceDocument } from '../document.ts';
import { labels } from '../fields.ts';
import { some, type Analyzer, type Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';

function services(model: MeshModel, report: Report): void {
  for (const document of model.all('Service')) {
    const facts = model.lookup.service(document.namespace, document.name);
    if (facts === undefined) continue;
    if (facts.external) {
      if (model.namespaceLabels(document.namespace)['istio.io/dataplane-mode'] === 'ambient')
        report('AUR0606', document, 'spec.externalName', `${document.name} is of type ExternalName`);
      continue;
    }
    if (Object.keys(facts.selector).length === 0) continue;
    const key = `${document.namespace}/${serviceHostname(facts, model.settings.clusterDomain)}`;
    const ready = model.store.endpoints(key).workloads;
    const members = [...model.store.members(key)];
    const mesh = model.live || model.all('Pod').some(({ namespace }) => namespace === document.namespace);
    if (ready.length === 0 && mesh) {
      const why =
        members.length === 0
          ? 'no pod has the labels of its selector'
          : `none of its ${members.length} pods is ready`;
      report('AUR0604', document, 'spec.selector', why);
    }
    facts.ports.forEach((port, i) => {
      if (port.targetName === '' || port.transport !== 'TCP' || members.length === 0) return;
      const has = members.some(({ services: own }) =>
        own[key]?.some(({ servicePort, targetPort }) => servicePort === port.port && targetPort > 0),
      );
      if (!has)
        report(
          'AUR0605',
          document,
          `spec.ports[${i}].targetPort`,
          `no pod of ${document.name} has a port named ${port.targetName}: port ${port.port} has no endpoint`,
        );
    });
  }
}

/** It refers to a Secret or ConfigMap, and none were given: whether it is there is not known. */
function isOutside(field: string, model: MeshModel): boolean {
  if (field.endsWith('.credentialName')) return model.all('Secret').length === 0;
  return field === 'spec.moduleFrom' && model.all('ConfigMap').length === 0;
}

/** They have analyzers of their own. */
const own: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'HTTPRoute',
  'GRPCRoute',
  'TCPRoute',
  'TLSRoute',
  'VirtualService',
]);

/** Problems that translation tells of kinds that have no analyzer of their own. */
function problems(model: MeshModel, report: Report): void {
  for (const [origin, list] of model.problems) {
    const document = model.documents.get(origin);
    if (document === undefined || own.has(document.kind)) continue;
    for (const { field, reason } of list)
      if (field !== 'waypoint' && !reason.includes('belongs to another') && !isOutside(field, model))
        report('AUR0601', document, field, `${field}: ${reason}`);
  }
}

function entries(model: MeshModel, report: Report): void {
  const withoutDns = model
    .all('Pod')
    .filter(
      ({ object }) => labels(object, 'metadata', 'annotations')[captureAnnotations.dnsCapture] === 'false',
    );
  for (const document of model.all('ServiceEntry')) {
    const facts = model.lookup.serviceEntry(document.namespace, document.name);
    if (facts === undefined) continue;
    facts.hosts.forEach((host, i) => {
      const owner = owning(model, document, host);
      if (owner !== undefined)
        report('AUR0602', document, `spec.hosts[${i}]`, `host ${host} belongs to ${owner}`);
    });
    if (facts.allocated.length > 0 && facts.addresses.length === 0 && withoutDns.length > 0)
      report(
        'AUR0607',
        document,
        'spec.hosts',
        `DNS capture is off for ${some(withoutDns.map(({ namespace, name }) => `pod ${namespace}/${name}`))}`,
      );
  }
  for (const kind of ['ServiceEntry', 'VirtualService', 'DestinationRule'])
    for (const document of model.all(kind)) {
      const value = (document.object.spec as { exportTo?: unknown } | undefined)?.exportTo;
      if (kind === 'ServiceEntry' && Array.isArray(value) && value.length > 0 && !value.includes('*'))
        report(
          'AUR0603',
          document,
          'spec.exportTo',
          `exportTo ${value.join(', ')} does not hide the hosts from other namespaces`,
        );
    }
}

/** Who has a host of this entry, if it is not the entry itself. */
function owning(model: MeshModel, document: SourceDocument, host: string): string | undefined {
  const service = model.lookup
    .servicesByHostname(host)
    .find(({ namespace, external }) => namespace === document.namespace && !external);
  if (service !== undefined) return `Service ${service.namespace}/${service.name}`;
  const rivals = model.lookup
    .serviceEntriesByHostname(host)
    .filter(({ namespace }) => namespace === document.namespace)
    .sort((a, b) => a.created - b.created || (a.name < b.name ? -1 : 1));
  const [first] = rivals;
  return first === undefined || first.name === document.name
    ? undefined
    : `ServiceEntry ${first.namespace}/${first.name}, which is older`;
}

export const servicesAndEntries: Analyzer = (model, report) => {
  services(model, report);
  entries(model, report);
  problems(model, report);
};
