// Routes and VirtualServices that do not do what they say: by what the translation and the routes' status tell.
import { keyOf, type SourceDocument } from '../document.ts';
import { items } from '../fields.ts';
import type { Analyzer, Report } from '../finding.ts';
import type { FindingCode } from '../finding-registry.ts';
import type { MeshModel } from '../mesh-model.ts';
import { routeObject, rulePlace } from '../request-routes.ts';

const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'];

function codeOf(reason: string): FindingCode {
  if (reason.includes('not a regular expression')) return 'AUR0907';
  if (/^(?:there are none|all weights are zero)/.test(reason)) return 'AUR0904';
  if (
    reason.endsWith('its share of requests gets 500') ||
    reason.startsWith('there is no service with the host') ||
    / has no port /.test(reason)
  )
    return 'AUR0905';
  return 'AUR0601';
}

function parents(model: MeshModel, document: SourceDocument, report: Report): void {
  const written = items(document.object, 'spec', 'parentRefs').map((ref) => JSON.stringify(ref));
  for (const { parentRef, conditions } of model.parents.get(keyOf(document)) ?? []) {
    const at = written.indexOf(JSON.stringify(parentRef));
    const path = at < 0 ? 'spec.parentRefs' : `spec.parentRefs[${at}]`;
    for (const { type, status, reason, message } of conditions) {
      // What is wrong with the rules is told at the rule.
      if (type === 'Accepted' && !status && reason !== 'UnsupportedValue')
        report(reason === 'ConsumerRouteNotSupported' ? 'AUR0901' : 'AUR0902', document, path, message);
      if (type === 'ResolvedWaypoints' && message.includes('has no effect'))
        report('AUR0503', document, path, message.replace('the route has', `the ${document.kind} has`));
    }
  }
}

function problems(model: MeshModel, document: SourceDocument, report: Report): void {
  for (const { field, reason } of model.problems.get(keyOf(document)) ?? [])
    if (field !== 'spec.parentRefs') report(codeOf(reason), document, field, `${field}: ${reason}`);
}

/** Of a VirtualService the translation does not tell it; the rules show it. */
function weightless(model: MeshModel, report: Report): void {
  for (const { resource } of model.waypointRecords.values()) {
    if (resource.kind !== 'http-route' || resource.precedence !== 'listed') continue;
    const { kind, namespace, name } = routeObject(resource.name);
    const document = model.document(kind, namespace, name);
    if (document === undefined) continue;
    resource.rules.forEach(({ action }, i) => {
      if (action.kind !== 'forward' || action.destinations.some(({ weight }) => weight > 0)) return;
      const path = rulePlace(model, resource, i)?.field ?? 'spec.http';
      report('AUR0904', document, path, `${path}: all weights are zero: requests that match get 500`);
    });
  }
}

function twoKinds(model: MeshModel, report: Report): void {
  const others = new Map<string, string>();
  for (const { resource } of model.waypointRecords.values())
    if (resource.kind === 'http-route' && resource.precedence === 'specificity')
      for (const parent of resource.parents)
        if (parent.kind === 'service') others.set(parent.service, resource.name);
  for (const { resource } of model.waypointRecords.values()) {
    if (resource.kind !== 'http-route' || resource.precedence !== 'listed') continue;
    const { kind, namespace, name } = routeObject(resource.name);
    const document = model.document(kind, namespace, name);
    for (const parent of document === undefined ? [] : resource.parents) {
      const other = parent.kind === 'service' ? others.get(parent.service) : undefined;
      if (document === undefined || other === undefined || parent.kind !== 'service') continue;
      const { kind: otherKind, namespace: where, name: otherName } = routeObject(other);
      report(
        'AUR0903',
        document,
        'spec.hosts',
        `${parent.service} has ${otherKind} ${where}/${otherName}: the rules of this VirtualService do not count for it`,
      );
    }
  }
}

export const routes: Analyzer = (model, report) => {
  for (const kind of routeKinds)
    for (const document of model.all(kind)) {
      parents(model, document, report);
      problems(model, document, report);
    }
  for (const document of model.all('VirtualService')) problems(model, document, report);
  weightless(model, report);
  twoKinds(model, report);
};
