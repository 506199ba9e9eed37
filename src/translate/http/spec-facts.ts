// Facts of the kinds that are read when they are translated: their spec as it stands, and what they are found by.
import { integer, list, optionalText, record, text, texts, type Json } from '../read.ts';
import { annotationsOf, objectFacts, specOf, type ObjectFacts, type SourceObject } from '../object.ts';

export interface SpecFacts extends ObjectFacts {
  readonly generation: number;
  readonly spec: Json;
}

export function readSpec(object: SourceObject): SpecFacts {
  return {
    ...objectFacts(object),
    generation: integer(object.metadata.generation),
    spec: specOf(object),
  };
}

export const routeKinds = ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'] as const;
export type RouteKind = (typeof routeKinds)[number];

export interface RouteFacts extends SpecFacts {
  readonly kind: RouteKind;
}

export const readRoute =
  (kind: RouteKind) =>
  (object: SourceObject): RouteFacts => ({ ...readSpec(object), kind });

export interface VirtualServiceFacts extends SpecFacts {
  readonly hosts: readonly string[];
  /** It is for the mesh, and not for ingress gateways alone. */
  readonly mesh: boolean;
}

export function readVirtualService(object: SourceObject): VirtualServiceFacts {
  const facts = readSpec(object);
  const gateways = texts(facts.spec['gateways']);
  return {
    ...facts,
    hosts: texts(facts.spec['hosts']),
    mesh: gateways.length === 0 || gateways.includes('mesh'),
  };
}

export interface DestinationRuleFacts extends SpecFacts {
  readonly host: string;
}

export function readDestinationRule(object: SourceObject): DestinationRuleFacts {
  const facts = readSpec(object);
  return { ...facts, host: text(facts.spec['host']) };
}

/** Secrets and ConfigMaps that something refers to. */
export interface DataFacts extends ObjectFacts {
  /** Base64 in Secrets. */
  readonly data: Readonly<Record<string, string>>;
}

export function readData(object: SourceObject): DataFacts {
  return {
    ...objectFacts(object),
    data: Object.fromEntries(
      Object.entries(record(object.data)).filter(
        (pair): pair is [string, string] => typeof pair[1] === 'string',
      ),
    ),
  };
}

/** Annotations are not part of the spec; policies need one of them. */
export const annotationOf = (object: SourceObject, name: string): string | undefined =>
  annotationsOf(object)[name];

/** A host as Istio's kinds write it: a name without a dot is a Service of the object's namespace. */
export function fullHost(host: string, namespace: string, domain: string): string {
  const lower = host.toLowerCase();
  return lower === '' || lower.includes('.') || lower.includes('*')
    ? lower
    : `${lower}.${namespace}.svc.${domain}`;
}

/** True for `*`, and for `*.example.com` if the host ends with `.example.com`. */
export function coversHost(wildcard: string, host: string): boolean {
  return (
    wildcard === '*' || (wildcard.startsWith('*') && host.endsWith(wildcard.slice(1)) && host !== wildcard)
  );
}

/** The host name that a backendRef means; undefined if it is of another kind. */
export function backendHost(value: unknown, namespace: string, domain: string): string | undefined {
  const ref = record(value);
  const group = text(ref['group']);
  const kind = optionalText(ref['kind']) ?? 'Service';
  if (kind === 'Service' && (group === '' || group === 'core'))
    return `${text(ref['name'])}.${text(ref['namespace']) || namespace}.svc.${domain}`;
  if (kind === 'Hostname' && group === 'networking.istio.io') return text(ref['name']).toLowerCase();
  return undefined;
}

/** Every host that the route sends or mirrors requests to. */
export function routeBackendHosts(route: RouteFacts, domain: string): readonly string[] {
  const hosts = new Set<string>();
  const add = (ref: unknown) => {
    const host = backendHost(ref, route.namespace, domain);
    if (host !== undefined) hosts.add(host);
  };
  for (const item of list(route.spec['rules'])) {
    const rule = record(item);
    const filters = [...list(rule['filters'])];
    for (const ref of list(rule['backendRefs'])) {
      add(ref);
      filters.push(...list(record(ref)['filters']));
    }
    for (const filter of filters) {
      const mirror = record(filter)['requestMirror'];
      if (mirror !== undefined) add(record(mirror)['backendRef']);
    }
  }
  return [...hosts];
}

/** Every host that a VirtualService sends or mirrors traffic to. */
export function virtualBackendHosts(service: VirtualServiceFacts, domain: string): readonly string[] {
  const hosts = new Set<string>();
  const add = (destination: unknown) => {
    const host = text(record(destination)['host']);
    if (host !== '') hosts.add(fullHost(host, service.namespace, domain));
  };
  const { spec } = service;
  for (const item of [...list(spec['http']), ...list(spec['tcp']), ...list(spec['tls'])]) {
    const rule = record(item);
    for (const route of list(rule['route'])) add(record(route)['destination']);
    if (rule['mirror'] !== undefined) add(rule['mirror']);
    for (const mirror of list(rule['mirrors'])) add(record(mirror)['destination']);
  }
  return [...hosts];
}
