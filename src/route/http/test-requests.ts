// Requests and routes for tests, with every field that does not matter filled in.
import type { SocketAddress } from '#/kit/index.ts';
import type { HttpMatch, HttpRoute, HttpRule, HttpSubject, RequestFacts } from '#/model/index.ts';

export interface RequestParts {
  readonly headers?: Readonly<Record<string, string>>;
  readonly authority?: string;
  readonly scheme?: 'http' | 'https';
  readonly grpc?: boolean;
}

/** `GET /a?b=c`. */
export function aRequest(line: string, parts: RequestParts = {}): RequestFacts {
  const [method, target] = line.split(' ') as [string, string];
  const mark = target.indexOf('?');
  const headers = parts.headers ?? {};
  return {
    method,
    scheme: parts.scheme ?? 'http',
    authority: parts.authority ?? 'svc.ns.svc.cluster.local',
    path: mark < 0 ? target : target.slice(0, mark),
    query: mark < 0 ? '' : target.slice(mark + 1),
    headers: { get: (name) => headers[name] },
    version: '1.1',
    grpc: parts.grpc ?? false,
  };
}

export const service = 'ns/svc.ns.svc.cluster.local';

export function aSubject(request: RequestFacts, port = 80): Pick<HttpSubject, 'request' | 'connection'> {
  const destination = { ip: '10.10.0.1', port } as SocketAddress;
  return {
    request,
    connection: {
      identity: undefined,
      source: { ip: '10.0.0.1', port: 40000 } as SocketAddress,
      destination,
      service,
      workload: undefined,
      sni: undefined,
    },
  };
}

export const toBackend = (name: string, weight = 1): HttpRule['action'] => ({
  kind: 'forward',
  destinations: [{ destination: { service: `ns/${name}`, port: 80 }, weight }],
});

export function aRule(name: string, matches: readonly HttpMatch[], more: Partial<HttpRule> = {}): HttpRule {
  return { name, matches, action: toBackend(name), ...more };
}

/** `ns/name` of the service above, if no parents are given. */
export function aRoute(name: string, rules: readonly HttpRule[], more: Partial<HttpRoute> = {}): HttpRoute {
  return {
    kind: 'http-route',
    name: `HTTPRoute/ns/${name}`,
    parents: [{ kind: 'service', service }],
    hostnames: [],
    order: { createdAt: 1, namespace: 'ns', name },
    precedence: 'specificity',
    protocol: 'http',
    rules,
    ...more,
  };
}

export const exact = (value: string) => ({ kind: 'exact', value }) as const;
export const prefix = (value: string) => ({ kind: 'prefix', value }) as const;
export const elements = (value: string) => ({ kind: 'elements', value }) as const;
export const regex = (value: string) => ({ kind: 'regex', value }) as const;
export const header = (name: string, value: string) => ({ name, match: exact(value) });
