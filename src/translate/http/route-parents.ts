// The parents of a Gateway API route: which of them take it, for which waypoints, and what their status says.
import type { RouteParent } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { integer, list, optionalText, record, text, type Json } from '../read.ts';
import type { Problem, WantedCondition } from '../translation.ts';
import { admits, findWaypoint } from '../waypoint.ts';
import { objectKey } from '../object.ts';
import { viewService, viewServiceEntry, waypointsHeeding, type ServiceView } from './bindings.ts';
import type { RouteFacts } from './spec-facts.ts';
import type { ParentStatus } from './waypoint-record.ts';

export interface Verdict {
  readonly ok: boolean;
  readonly reason: string;
  readonly message: string;
}

interface Parent {
  readonly parentRef: Json;
  readonly accepted: Verdict;
  readonly parents: readonly RouteParent[];
  readonly gateways: readonly string[];
  readonly waypointMessage: string;
}

const fine: Verdict = { ok: true, reason: 'Accepted', message: 'route was accepted' };
const no = (reason: string, message: string): Verdict => ({ ok: false, reason, message });

const refused = (parentRef: Json, accepted: Verdict): Parent => ({
  parentRef,
  accepted,
  parents: [],
  gateways: [],
  waypointMessage: 'the parent does not take the route',
});

/** The port that is asked for, by number or by name; a verdict if there is none such. */
function portOf(ref: Json, view: ServiceView): number | undefined | Verdict {
  const number = integer(ref['port']);
  const section = text(ref['sectionName']);
  if (number === 0 && section === '') return undefined;
  const found = view.ports.find(
    ({ port, name }) => (number === 0 || port === number) && (section === '' || name === section),
  );
  const asked = [number === 0 ? '' : `port ${number}`, section === '' ? '' : `a port named "${section}"`];
  return (
    found?.port ??
    no('NoMatchingParent', `${view.key} does not have ${asked.filter((part) => part !== '').join(' and ')}`)
  );
}

function ofServices(route: RouteFacts, ref: Json, what: string, views: readonly ServiceView[]): Parent {
  const parents: RouteParent[] = [];
  const gateways: string[] = [];
  for (const view of views) {
    const port = portOf(ref, view);
    if (typeof port === 'object') return refused(ref, port);
    const heeding = waypointsHeeding(view, route.namespace);
    // Another namespace than the service's and its waypoint's: a route of the consumer's.
    if (view.namespace !== route.namespace && heeding.length === 0)
      return refused(
        ref,
        no(
          'ConsumerRouteNotSupported',
          `the route is neither in the namespace of ${what} nor in its waypoint's; routes of consumers are not used`,
        ),
      );
    parents.push({ kind: 'service', service: view.key, ...(port === undefined ? {} : { port }) });
    gateways.push(...heeding);
  }
  if (parents.length === 0) return refused(ref, no('NoMatchingParent', `${what} was not found`));
  return {
    parentRef: ref,
    accepted: fine,
    parents,
    gateways,
    waypointMessage:
      gateways.length === 0
        ? `${what} is not bound to a waypoint: the route has no effect`
        : `bound to ${[...new Set(gateways)].join(', ')}`,
  };
}

function ofGateway(route: RouteFacts, ref: Json, namespace: string, lookup: Lookup): Parent | undefined {
  const waypoint = findWaypoint(lookup, namespace, text(ref['name']));
  // An ingress gateway's, or nobody's yet: whoever has it writes its status.
  if (waypoint === undefined) return undefined;
  const key = objectKey(waypoint);
  const number = integer(ref['port']);
  const section = text(ref['sectionName']);
  const listeners = lookup.gateway(namespace, waypoint.name)?.listeners ?? [];
  if (
    (number !== 0 || section !== '') &&
    !listeners.some(
      (listener) =>
        (number === 0 || listener.port === number) && (section === '' || listener.name === section),
    )
  )
    return refused(ref, no('NoMatchingParent', `waypoint ${key} has no such listener`));
  if (!admits(lookup, waypoint, route.namespace))
    return refused(
      ref,
      no('NotAllowedByListeners', `waypoint ${key} does not take routes of this namespace`),
    );
  return {
    parentRef: ref,
    accepted: fine,
    parents: [{ kind: 'waypoint', gateway: key }],
    gateways: [key],
    waypointMessage: `bound to ${key}`,
  };
}

/** Undefined: not a parent of ours. */
function parentOf(route: RouteFacts, ref: Json, lookup: Lookup): Parent | undefined {
  const group = optionalText(ref['group']) ?? 'gateway.networking.k8s.io';
  const kind = optionalText(ref['kind']) ?? 'Gateway';
  const name = text(ref['name']);
  const namespace = text(ref['namespace']) || route.namespace;
  const what = `${kind} ${namespace}/${name}`;
  if (kind === 'Gateway' && group === 'gateway.networking.k8s.io')
    return ofGateway(route, ref, namespace, lookup);
  if (kind === 'Service' && (group === '' || group === 'core')) {
    const service = lookup.service(namespace, name);
    const view = service === undefined ? undefined : viewService(lookup, service);
    return ofServices(route, ref, what, view === undefined ? [] : [view]);
  }
  if (kind === 'ServiceEntry' && group === 'networking.istio.io') {
    const entry = lookup.serviceEntry(namespace, name);
    return ofServices(route, ref, what, entry === undefined ? [] : viewServiceEntry(lookup, entry));
  }
  return undefined;
}

export interface ResolvedParents {
  readonly parents: readonly RouteParent[];
  readonly gateways: readonly string[];
  readonly all: readonly Parent[];
}

export function resolveParents(route: RouteFacts, lookup: Lookup): ResolvedParents {
  const all = list(route.spec['parentRefs'])
    .map((ref) => parentOf(route, record(ref), lookup))
    .filter((parent) => parent !== undefined);
  const parents = new Map<string, RouteParent>();
  for (const parent of all) for (const one of parent.parents) parents.set(JSON.stringify(one), one);
  return { parents: [...parents.values()], gateways: all.flatMap(({ gateways }) => gateways), all };
}

/** Parents that do not take the route, for the log and for analysis. */
export function refusals({ all }: ResolvedParents): readonly Problem[] {
  return all
    .filter(({ accepted }) => !accepted.ok)
    .map(({ accepted }) => ({ field: 'spec.parentRefs', reason: accepted.message }));
}

/** What the rules as a whole are worth; `accepted` false refuses the route at every parent. */
export interface RulesVerdict {
  readonly accepted: Verdict | undefined;
  readonly resolved: Verdict | undefined;
  /** Rules of which nothing could be made, while others stand. */
  readonly partial: string | undefined;
}

export function parentStatuses(
  route: RouteFacts,
  resolved: ResolvedParents,
  rules: RulesVerdict,
): readonly ParentStatus[] {
  const condition = (type: string, { ok, reason, message }: Verdict): WantedCondition => ({
    type,
    status: ok,
    reason,
    message,
    observedGeneration: route.generation,
  });
  return resolved.all.map((parent) => ({
    parentRef: parent.parentRef,
    conditions: [
      condition('Accepted', parent.accepted.ok ? (rules.accepted ?? fine) : parent.accepted),
      condition(
        'ResolvedRefs',
        rules.resolved ?? { ok: true, reason: 'ResolvedRefs', message: 'all references were resolved' },
      ),
      condition('ResolvedWaypoints', {
        ok: true,
        reason: 'ResolvedWaypoints',
        message: parent.waypointMessage,
      }),
      ...(rules.partial === undefined
        ? []
        : [condition('PartiallyInvalid', { ok: true, reason: 'UnsupportedValue', message: rules.partial })]),
    ],
  }));
}
