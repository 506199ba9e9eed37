// Subsets of DestinationRules without members, and destinations in subsets that there are not.
import { serviceKey, waypointResourceName, type HttpRoute, type TcpRoute } from '#/model/index.ts';
import { items, labels, string } from '../fields.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { MeshModel } from '../mesh-model.ts';
import { destinationText, routeObject, rulePlace } from '../request-routes.ts';
import { serviceOf } from './without-effect.ts';

function empty(model: MeshModel, report: Report): void {
  for (const document of model.all('DestinationRule')) {
    const service = serviceOf(model, string(document.object, 'spec', 'host'), document.namespace);
    if (service === undefined) continue;
    const known = model.live || model.all('Pod').some(({ namespace }) => namespace === service.namespace);
    items(document.object, 'spec', 'subsets').forEach((subset, i) => {
      const own = `${serviceKey(service)}/${string(subset, 'name')}`;
      const name = document.namespace === service.namespace ? own : `${own}@${document.namespace}`;
      const record = model.waypointRecords.get(waypointResourceName({ kind: 'subset-members', name }));
      if (record?.resource.kind !== 'subset-members' || record.resource.workloads.length > 0 || !known)
        return;
      const wanted = Object.entries(labels(subset, 'labels')).map(([key, value]) => `${key}=${value}`);
      report(
        'AUR0908',
        document,
        `spec.subsets[${i}]`,
        `subset ${string(subset, 'name')}: no pod of ${service.name} has ${wanted.join(', ') || 'its labels'}`,
      );
    });
  }
}

function* destinationsOf(route: HttpRoute | TcpRoute) {
  if (route.kind === 'tcp-route') {
    for (const one of route.destinations) yield { rule: 0, one };
    return;
  }
  for (const [rule, { action }] of route.rules.entries())
    if (action.kind === 'forward') for (const one of action.destinations) yield { rule, one };
}

function unknown(model: MeshModel, report: Report): void {
  for (const { resource, gateways } of model.waypointRecords.values()) {
    if (resource.kind !== 'http-route' && resource.kind !== 'tcp-route') continue;
    const { kind, namespace, name } = routeObject(resource.name);
    const document = model.document(kind, namespace, name);
    if (document === undefined) continue;
    for (const { rule, one } of destinationsOf(resource)) {
      const { destination } = one;
      if (destination?.subset === undefined) continue;
      const without = gateways.filter(
        (gateway) => model.waypointConfig(gateway).view.settings.resolve(destination) === undefined,
      );
      if (without.length === 0) continue;
      const path = resource.kind === 'http-route' ? rulePlace(model, resource, rule)?.field : undefined;
      report(
        'AUR0909',
        document,
        path ?? 'spec',
        `${destinationText(one)}: waypoint ${without.join(', ')} knows no such subset`,
      );
    }
  }
}

export const subsets: Analyzer = (model, report) => {
  empty(model, report);
  unknown(model, report);
};
