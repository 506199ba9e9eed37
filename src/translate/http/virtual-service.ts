// VirtualService → one http-route, and a tcp-route for each of its tcp and tls rules.
import type { HttpRule, RouteParent, WeightedDestination } from '#/model/index.ts';
import type { Lookup } from '../lookup.ts';
import { integer, list, optionalText, record, texts, type Json } from '../read.ts';
import { emptyTranslation, validCondition, type Translation } from '../translation.ts';
import { everyService, servicesOfHost, waypointsHeeding, type ServiceView } from './bindings.ts';
import { resolveHost } from './route-backends.ts';
import { coversHost, fullHost, type VirtualServiceFacts } from './spec-facts.ts';
import { duration, headerOperations, Notes, port } from './values.ts';
import {
  virtualCors,
  virtualFault,
  virtualMirrors,
  virtualRedirect,
  virtualResponse,
  virtualRetry,
  virtualRewrite,
} from './virtual-actions.ts';
import { placedRules, type PlacedRule } from './virtual-delegates.ts';
import { neverTrue, virtualMatches } from './virtual-matches.ts';
import { recordFor, type WaypointRecord } from './waypoint-record.ts';

interface Attached {
  readonly view: ServiceView;
  readonly waypoints: readonly string[];
}

/** Another one names the host itself, which is nearer than a wildcard. */
function isNamed(view: ServiceView, lookup: Lookup): boolean {
  return lookup
    .virtualServicesOf(view.hostname)
    .some((other) => other.mesh && waypointsHeeding(view, other.namespace).length > 0);
}

/** The services that its hosts mean, where it counts. */
function attached(service: VirtualServiceFacts, lookup: Lookup): readonly Attached[] {
  const views = new Map<string, ServiceView>();
  for (const written of service.hosts) {
    const host = fullHost(written, service.namespace, lookup.mesh.clusterDomain);
    const found = host.includes('*')
      ? everyService(lookup).filter(
          (view) =>
            (coversHost(host, view.hostname) || host === view.hostname) &&
            waypointsHeeding(view, service.namespace).length > 0 &&
            !isNamed(view, lookup),
        )
      : servicesOfHost(lookup, host);
    for (const view of found) views.set(view.key, view);
  }
  return [...views.values()]
    .map((view) => ({ view, waypoints: waypointsHeeding(view, service.namespace) }))
    .filter(({ waypoints }) => waypoints.length > 0)
    .sort((a, b) => (a.view.key < b.view.key ? -1 : 1));
}

function destinationsOf(
  value: unknown,
  field: string,
  namespace: string,
  parentPort: number | undefined,
  lookup: Lookup,
  notes: Notes,
): readonly WeightedDestination[] {
  const routes = list(value);
  return routes.map((item, i): WeightedDestination => {
    const route = record(item);
    const weight = route['weight'] === undefined && routes.length === 1 ? 1 : integer(route['weight']);
    const target = resolveHost(route['destination'], namespace, parentPort, lookup);
    if (target.destination === undefined) {
      notes.add(`${field}[${i}].destination`, target.broken);
      return { broken: target.broken, weight };
    }
    const headers = record(route['headers']);
    const request = headerOperations(headers['request'], `${field}[${i}].headers.request`, notes);
    const response = headerOperations(headers['response'], `${field}[${i}].headers.response`, notes);
    return {
      destination: target.destination,
      weight,
      ...(request === undefined ? {} : { requestHeaders: request }),
      ...(response === undefined ? {} : { responseHeaders: response }),
    };
  });
}

/** True if a destination or mirror of the rule leaves the port to that of the request. */
function needsPort({ rule, namespace }: PlacedRule, lookup: Lookup): boolean {
  const named = [...list(rule['route']), ...list(rule['mirrors'])].map((item) => record(item)['destination']);
  if (rule['mirror'] !== undefined && rule['mirror'] !== null) named.push(rule['mirror']);
  return named.some(
    (one) =>
      resolveHost(one, namespace, undefined, lookup).destination === undefined &&
      record(record(one)['port'])['number'] === undefined,
  );
}

function httpRule(
  placed: PlacedRule,
  matches: HttpRule['matches'],
  parentPort: number | undefined,
  lookup: Lookup,
  notes: Notes,
): HttpRule {
  const { rule, field, namespace } = placed;
  const headers = record(rule['headers']);
  const before = notes.problems.length;
  const resolve = (destination: unknown) => resolveHost(destination, namespace, parentPort, lookup);
  const redirect =
    rule['redirect'] === undefined
      ? undefined
      : virtualRedirect(rule['redirect'], `${field}.redirect`, notes);
  const respond =
    rule['directResponse'] === undefined
      ? undefined
      : virtualResponse(rule['directResponse'], `${field}.directResponse`, notes);
  const rewrite = virtualRewrite(rule['rewrite'], `${field}.rewrite`, notes);
  const fault = virtualFault(rule['fault'], `${field}.fault`, notes);
  const cors = virtualCors(rule['corsPolicy'], `${field}.corsPolicy`, notes);
  const timeout = duration(rule['timeout'], `${field}.timeout`, notes);
  const retry = virtualRetry(rule['retries'], `${field}.retries`, notes);
  const request = headerOperations(headers['request'], `${field}.headers.request`, notes);
  const response = headerOperations(headers['response'], `${field}.headers.response`, notes);
  const name = optionalText(rule['name']);
  const base = { ...(name === undefined ? {} : { name }), matches };
  if (notes.problems.length > before)
    return {
      ...base,
      action: {
        kind: 'forward',
        destinations: [{ broken: notes.problems[before]?.reason ?? '', weight: 1 }],
      },
    };
  const mirrors = virtualMirrors(rule, field, resolve, notes);
  return {
    ...base,
    action:
      redirect !== undefined
        ? { kind: 'redirect', redirect }
        : respond !== undefined
          ? { kind: 'respond', response: respond }
          : {
              kind: 'forward',
              destinations: destinationsOf(
                rule['route'],
                `${field}.route`,
                namespace,
                parentPort,
                lookup,
                notes,
              ),
            },
    ...(request === undefined ? {} : { requestHeaders: request }),
    ...(response === undefined ? {} : { responseHeaders: response }),
    ...(rewrite === undefined ? {} : { rewrite }),
    ...(mirrors.length === 0 ? {} : { mirrors }),
    ...(cors === undefined ? {} : { cors }),
    ...(fault === undefined ? {} : { fault }),
    ...(timeout === undefined || timeout === 0 ? {} : { timeoutMs: timeout }),
    ...(retry === undefined ? {} : { retry }),
  };
}

/** A rule whose destination leaves the port open is said once for each port. */
function httpRules(
  service: VirtualServiceFacts,
  gateways: readonly string[],
  ports: readonly number[],
  lookup: Lookup,
  notes: Notes,
): readonly HttpRule[] {
  return placedRules(service, lookup, notes).flatMap((placed): readonly HttpRule[] => {
    const matches = virtualMatches(placed.rule['match'], `${placed.field}.match`, { notes, gateways });
    if (matches === undefined) return [];
    if (!needsPort(placed, lookup)) return [httpRule(placed, matches, undefined, lookup, notes)];
    const any = matches.length === 0 ? [{}] : matches;
    return ports.flatMap((number) => {
      const here = any
        .filter((match) => !('port' in match) || match.port === number)
        .map((match) => ({ ...match, port: number }));
      return here.length === 0 ? [] : [httpRule(placed, here, number, lookup, notes)];
    });
  });
}

function streamRecords(
  service: VirtualServiceFacts,
  kind: 'tcp' | 'tls',
  parents: readonly Attached[],
  gateways: readonly string[],
  lookup: Lookup,
  notes: Notes,
): readonly WaypointRecord[] {
  const one = (rule: Json, match: Json, field: string, name: string): readonly WaypointRecord[] => {
    const never = neverTrue(match, gateways);
    if (never !== undefined) {
      if (never !== 'not for the mesh') notes.add(field, never);
      return [];
    }
    if (list(match['destinationSubnets']).length > 0) {
      notes.add(`${field}.destinationSubnets`, 'is not supported at a waypoint; the match is left out');
      return [];
    }
    const wanted = port(match['port']);
    const numbers = [...new Set(parents.flatMap(({ view }) => view.ports.map((each) => each.port)))].sort(
      (a, b) => a - b,
    );
    const open = needsPort({ rule, field, namespace: service.namespace }, lookup) && wanted === undefined;
    return (open ? numbers : [wanted]).flatMap((number) => {
      const refs = parents
        .filter(({ view }) => number === undefined || view.ports.some((each) => each.port === number))
        .map(({ view }): RouteParent => ({
          kind: 'service',
          service: view.key,
          ...(number === undefined ? {} : { port: number }),
        }));
      if (refs.length === 0) return [];
      return recordFor(gateways, () => ({
        kind: 'tcp-route',
        name: `VirtualService/${service.namespace}/${service.name}/${name}${open ? `/${number}` : ''}`,
        parents: refs,
        sniHosts: texts(match['sniHosts']).map((host) => host.toLowerCase()),
        order: { createdAt: service.created, namespace: service.namespace, name: `${service.name}/${name}` },
        destinations: destinationsOf(
          rule['route'],
          `${field}.route`,
          service.namespace,
          number,
          lookup,
          notes,
        ),
      }));
    });
  };
  return list(service.spec[kind]).flatMap((item, i) => {
    const rule = record(item);
    const matches = list(rule['match']).map(record);
    const order = (j: number) => `${kind}-${String(i).padStart(4, '0')}-${String(j).padStart(4, '0')}`;
    if (matches.length === 0) return one(rule, {}, `spec.${kind}[${i}]`, order(0));
    return matches.flatMap((match, j) => one(rule, match, `spec.${kind}[${i}].match[${j}]`, order(j)));
  });
}

export function translateVirtualService(service: VirtualServiceFacts, lookup: Lookup): Translation {
  // For ingress gateways alone, or a delegate: nothing of its own.
  if (!service.mesh || service.hosts.length === 0) return emptyTranslation;
  const parents = attached(service, lookup);
  if (parents.length === 0) return emptyTranslation;
  const notes = new Notes();
  const gateways = [...new Set(parents.flatMap(({ waypoints }) => waypoints))];
  const ports = [...new Set(parents.flatMap(({ view }) => view.ports.map((each) => each.port)))].sort(
    (a, b) => a - b,
  );
  const http =
    list(service.spec['http']).length === 0
      ? []
      : recordFor(gateways, () => ({
          kind: 'http-route',
          name: `VirtualService/${service.namespace}/${service.name}`,
          parents: parents.map(({ view }) => ({ kind: 'service', service: view.key })),
          hostnames: [],
          order: { createdAt: service.created, namespace: service.namespace, name: service.name },
          precedence: 'listed',
          protocol: 'http',
          rules: httpRules(service, gateways, ports, lookup, notes),
        }));
  const streams = (['tls', 'tcp'] as const).flatMap((kind) =>
    streamRecords(service, kind, parents, gateways, lookup, notes),
  );
  return {
    records: [],
    conditions: validCondition(notes.problems),
    problems: notes.problems,
    waypoint: [...http, ...streams],
  };
}
