// The request that an explanation is about: what the user says of it, and what is assumed where nothing is said.
import type { Ip } from '#/kit/index.ts';
import type { AuthenticatedToken, HttpSubject, Identity, RequestFacts, Service } from '#/model/index.ts';

/** What is asked about, as far as the user says. */
export interface RequestWish {
  readonly method?: string;
  /** Canonical, without the query. */
  readonly path?: string;
  readonly query?: string;
  /** Canonical, with the port if it has one. Of a TLS connection: the name of the server. */
  readonly host?: string;
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
  /** Of a token that is good. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

export interface AskedRequest {
  readonly method: string;
  readonly path: string;
  readonly query?: string;
  readonly host: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly grpc: boolean;
  /** What the user has not said. */
  readonly assumed: readonly string[];
}

/** As the waypoint tells gRPC. */
const grpcType = /^application\/grpc(?:$|[+;])/;

function joined(headers: RequestWish['headers'] = []): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { name, value } of headers) {
    const lower = name.toLowerCase();
    const before = found.get(lower);
    found.set(lower, before === undefined ? value : `${before}${lower === 'cookie' ? '; ' : ','}${value}`);
  }
  return found;
}

export function askedRequest(
  wish: RequestWish,
  service: Service | undefined,
  addressed: string,
  port: number,
  speaksGrpc: boolean,
): AskedRequest {
  const name = service?.hostname ?? addressed;
  const given = [...joined(wish.headers)].map(([key, value]) => ({ name: key, value }));
  // Nobody asks a gRPC port for anything else, unless they say so.
  const assumeGrpc =
    speaksGrpc && wish.method === undefined && !given.some((one) => one.name === 'content-type');
  const headers = assumeGrpc ? [...given, { name: 'content-type', value: 'application/grpc' }] : given;
  const grpc = headers.some((one) => one.name === 'content-type' && grpcType.test(one.value));
  const method = wish.method ?? (grpc ? 'POST' : 'GET');
  const path = wish.path ?? '/';
  const host = wish.host ?? (port === 80 ? name : `${name}:${port}`);
  const assumed = [
    ...(wish.method === undefined ? [`method ${method}`] : []),
    ...(wish.path === undefined ? [`path ${path}`] : []),
    ...(wish.host === undefined ? [`host ${host}`] : []),
    ...(assumeGrpc ? ['content-type application/grpc'] : []),
  ];
  return {
    method,
    path,
    ...(wish.query === undefined || wish.query === '' ? {} : { query: wish.query }),
    host,
    headers,
    grpc,
    assumed,
  };
}

export interface RequestEnds {
  readonly identity: Identity | undefined;
  readonly source: Ip;
  readonly destination: { readonly ip: Ip; readonly port: number };
  readonly service: string | undefined;
  readonly workload: string | undefined;
  readonly sni: string | undefined;
}

export function subjectOf(
  asked: AskedRequest,
  ends: RequestEnds,
  token: AuthenticatedToken | undefined,
): HttpSubject {
  const headers = new Map(asked.headers.map(({ name, value }) => [name, value]));
  const request: RequestFacts = {
    method: asked.method,
    scheme: 'http',
    authority: asked.host,
    path: asked.path,
    query: asked.query ?? '',
    headers: { get: (name) => headers.get(name) },
    version: asked.grpc ? '2' : '1.1',
    grpc: asked.grpc,
  };
  const { identity, source, destination, service, workload, sni } = ends;
  return {
    request,
    connection: {
      identity,
      source: { ip: source, port: 40_000 },
      destination,
      service,
      workload,
      sni,
    },
    remoteIp: source,
    token,
  };
}
