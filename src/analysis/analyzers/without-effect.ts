// Objects of Istio and of the Gateway API that nobody in ambient reads, or that need a waypoint.
import { items, labels, string, strings } from '../fields.ts';
import type { Analyzer } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';
import { dataplaneLabel } from '../names.ts';

const inAmbient = (model: MeshModel, namespace: string): boolean =>
  model.namespaceLabels(namespace)[dataplaneLabel] === 'ambient' ||
  (namespace === model.settings.rootNamespace &&
    model
      .all('Namespace')
      .some(({ object }) => labels(object, 'metadata', 'labels')[dataplaneLabel] === 'ambient'));

/** The service that a host means in a namespace, if it is known. */
export function serviceOf(model: MeshModel, host: string, namespace: string) {
  const { clusterDomain } = model.settings;
  const names = host.includes('.')
    ? [host, `${host}.svc.${clusterDomain}`, `${host}.${clusterDomain}`]
    : [`${host}.${namespace}.svc.${clusterDomain}`];
  for (const name of names) {
    const service = model.store.serviceByHostname(name, namespace);
    if (service !== undefined) return service;
  }
  return undefined;
}

export const withoutEffect: Analyzer = (model, report) => {
  for (const document of model.all('Sidecar'))
    if (inAmbient(model, document.namespace))
      report(
        'AUR0501',
        document,
        'spec',
        `namespace ${document.namespace} is in ambient, where pods have no sidecar`,
      );
  for (const kind of ['EnvoyFilter', 'WasmPlugin'])
    for (const document of model.all(kind))
      if (inAmbient(model, document.namespace))
        report('AUR0502', document, 'spec', `${kind} is not read by ztunnel and waypoints`);
  for (const document of model.all('RequestAuthentication')) {
    const targeted =
      items(document.object, 'spec', 'targetRefs').length > 0 ||
      string(document.object, 'spec', 'targetRef', 'name') !== '';
    if (!targeted && inAmbient(model, document.namespace))
      report(
        'AUR0504',
        document,
        'spec',
        'it has no targetRefs: ztunnel does not look at tokens, and no waypoint has it',
      );
  }
  for (const document of model.all('DestinationRule')) {
    const service = serviceOf(model, string(document.object, 'spec', 'host'), document.namespace);
    if (service !== undefined && service.waypoint === undefined && inAmbient(model, service.namespace))
      report(
        'AUR0503',
        document,
        'spec.host',
        `${service.name} is not bound to a waypoint: the DestinationRule has no effect`,
      );
  }
  for (const document of model.all('VirtualService')) {
    const gateways = strings(document.object, 'spec', 'gateways');
    if (gateways.length > 0 && !gateways.includes('mesh')) continue;
    strings(document.object, 'spec', 'hosts').forEach((host, i) => {
      const service = serviceOf(model, host, document.namespace);
      if (service === undefined || !inAmbient(model, service.namespace)) return;
      if (service.waypoint === undefined)
        report(
          'AUR0503',
          document,
          `spec.hosts[${i}]`,
          `${host} is not bound to a waypoint: the VirtualService has no effect`,
        );
      else
        report(
          'AUR0505',
          document,
          `spec.hosts[${i}]`,
          `the waypoint of ${host} takes VirtualService as alpha`,
        );
    });
  }
};
