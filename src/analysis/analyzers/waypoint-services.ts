// Services behind waypoints whose ports or addresses keep the waypoint from its work, and waypoints without pods.
import { serviceHostname } from '#/translate/index.ts';
import { string } from '../fields.ts';
import { some, type Analyzer, type Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';

function behind(model: MeshModel, report: Report): void {
  for (const document of model.all('Service')) {
    const service = model.serviceRecord(document.namespace, document.name);
    if (service?.waypoint === undefined) continue;
    if (string(document.object, 'spec', 'clusterIP') === 'None')
      report(
        'AUR0915',
        document,
        'spec.clusterIP',
        `${document.name} has no address of its own: DNS gives clients the addresses of its pods`,
      );
    const undeclared = service.ports.filter(({ appProtocol }) => appProtocol === 'UNKNOWN');
    if (undeclared.length > 0)
      report(
        'AUR0914',
        document,
        'spec.ports',
        `port ${some(undeclared.map(({ servicePort }) => String(servicePort)))} of ${document.name} declares no protocol`,
      );
  }
}

function podless(model: MeshModel, report: Report): void {
  const { clusterDomain } = model.settings;
  for (const document of model.all('Gateway')) {
    const { namespace, name } = document;
    if (string(document.object, 'spec', 'gatewayClassName') !== 'istio-waypoint') continue;
    const key = `${namespace}/${serviceHostname({ namespace, name }, clusterDomain)}`;
    if (model.store.serviceByKey(key) === undefined) continue;
    if (model.store.endpoints(key).workloads.length > 0) continue;
    const pods = [...model.lookup.gatewayPods(namespace, name)];
    report(
      'AUR0913',
      document,
      'metadata.name',
      pods.length === 0
        ? `waypoint ${namespace}/${name} has no pods`
        : `none of the ${pods.length} pods of waypoint ${namespace}/${name} is ready`,
    );
  }
}

export const waypointServices: Analyzer = (model, report) => {
  behind(model, report);
  podless(model, report);
};
