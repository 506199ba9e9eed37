// `/debug/…` on the monitoring port: who is connected, what is served, what is wrong with objects. For the local
// machine, and for tokens of the system namespace.
import type { IncomingMessage } from 'node:http';
import { RpcError, type CallFacts } from '#/identity/index.ts';
import type { MeshIndex } from '#/translate/index.ts';
import { decodeAddress, decodePolicy, decodeWaypointResource } from '#/wire/index.ts';
import type { ConnectionStatus, XdsResource } from '#/xds/index.ts';
import { formatCidr, type Cidr } from '#/kit/index.ts';
import type { Caller } from './caller.ts';
import type { MeshTables } from './mesh-tables.ts';
import type { ClusterStatus } from './remote-cluster.ts';
import { json, type Answer, type Routes } from './monitoring.ts';
import { adsClient, syncStatus } from './sync-status.ts';

export interface DebugSources {
  readonly index: MeshIndex;
  readonly tables: MeshTables;
  readonly connections: () => readonly ConnectionStatus[];
  readonly authenticate: (call: CallFacts) => Promise<Caller>;
  /** Our own first. */
  readonly clusters: () => readonly ClusterStatus[];
  /** Whose identities may look. */
  readonly systemNamespace: string;
  /** False: everybody may. */
  readonly auth: boolean;
}

type Page = (query: URLSearchParams) => Answer | Promise<Answer>;

/** How many records are decoded before others get their turn. */
const slice = 500;

const readable = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && (value as Cidr).base instanceof Uint8Array
    ? formatCidr(value as Cidr)
    : value;

/** `?namespace=` and `?name=` (part of the name) narrow what is shown. */
async function decoded<T extends { readonly namespace: string }>(
  resources: Iterable<XdsResource>,
  decode: (bytes: Uint8Array) => T,
  query: URLSearchParams,
): Promise<readonly T[]> {
  const namespace = query.get('namespace');
  const name = query.get('name');
  const found: T[] = [];
  let done = 0;
  for (const resource of resources) {
    if (name !== null && !resource.name.includes(name)) continue;
    if (++done % slice === 0) await new Promise((resolve) => setImmediate(resolve));
    const record = decode(resource.resource);
    if (namespace === null || record.namespace === namespace) found.push(record);
  }
  return found;
}

/** Private keys are for waypoints alone. */
const withoutKeys = (resource: unknown): unknown =>
  JSON.parse(
    JSON.stringify(resource, (key, value: unknown) => (key === 'keyPem' ? '(hidden)' : readable(key, value))),
  );

function pages(sources: DebugSources): Readonly<Record<string, readonly [string, Page]>> {
  const { index, tables } = sources;
  const text = (value: unknown): Answer => ({
    type: 'application/json',
    body: `${JSON.stringify(value, readable, 2)}\n`,
  });
  const addresses = (query: URLSearchParams) => decoded(tables.addresses.all(), decodeAddress, query);
  const clients: Page = () => {
    const all = sources.connections().map(adsClient);
    return json({ totalClients: all.length, clients: all });
  };
  return {
    syncz: [
      'what each proxy has been sent and has acknowledged',
      (query) => {
        const namespace = query.get('namespace');
        return json(
          sources
            .connections()
            .map((connection) => syncStatus(connection, index.settings.clusterId))
            .filter(({ proxy }) => namespace === null || proxy.endsWith(`.${namespace}`)),
        );
      },
    ],
    adsz: ['connected proxies and what they watch', clients],
    connections: ['connected proxies', clients],
    registryz: [
      'services',
      async (query) => text((await addresses(query)).filter(({ kind }) => kind === 'service')),
    ],
    ambientz: [
      'workloads, services and policies as they are served (?namespace=, ?name=)',
      async (query) => {
        const all = await addresses(query);
        return text({
          workloads: all.filter(({ kind }) => kind === 'workload'),
          services: all.filter(({ kind }) => kind === 'service'),
          policies: await decoded(tables.policies.all(), decodePolicy, query),
        });
      },
    ],
    authorizationz: [
      'policies of layer 4 as they are served',
      async (query) => text(await decoded(tables.policies.all(), decodePolicy, query)),
    ],
    waypointz: [
      'what waypoints are told (?gateway=namespace/name, ?name=)',
      async (query) => {
        const gateway = query.get('gateway');
        const name = query.get('name');
        const shown: unknown[] = [];
        let done = 0;
        for (const { name: own, groups = [], resource } of tables.waypoints.all()) {
          if (gateway !== null && !groups.includes(gateway)) continue;
          if (name !== null && !own.includes(name)) continue;
          if (++done % slice === 0) await new Promise((resolve) => setImmediate(resolve));
          shown.push({
            name: own,
            gateways: groups,
            resource: withoutKeys(decodeWaypointResource(resource)),
          });
        }
        return text(shown);
      },
    ],
    configz: [
      'the Istio objects that are used, as they are understood',
      () =>
        text({
          AuthorizationPolicy: [...index.all('AuthorizationPolicy')],
          PeerAuthentication: [...index.all('PeerAuthentication')],
          ServiceEntry: [...index.all('ServiceEntry')],
          WorkloadEntry: [...index.all('WorkloadEntry')],
          Gateway: [...index.all('Gateway')],
          GatewayClass: [...index.all('GatewayClass')],
          HTTPRoute: [...index.all('HTTPRoute')],
          GRPCRoute: [...index.all('GRPCRoute')],
          TCPRoute: [...index.all('TCPRoute')],
          TLSRoute: [...index.all('TLSRoute')],
          VirtualService: [...index.all('VirtualService')],
          DestinationRule: [...index.all('DestinationRule')],
          RequestAuthentication: [...index.all('RequestAuthentication')],
          Telemetry: [...index.all('Telemetry')],
          TrafficPolicy: [...index.all('TrafficPolicy')],
          Extension: [...index.all('Extension')],
        }),
    ],
    clusterz: ['clusters of the mesh, and whether they have been read', () => json(sources.clusters())],
    mesh: ['settings of the mesh', () => text(index.settings)],
    krtz: [
      'sizes of the translation engine',
      () => json({ ...index.sizes, translations: index.translations, pending: index.pending }),
    ],
    problemz: ['objects with values that cannot be used', () => text([...index.problems()])],
  };
}

/** A call's facts from an HTTP request. */
function facts(request: IncomingMessage): CallFacts {
  return {
    header: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value[0] : value;
    },
    peer: `${request.socket.remoteAddress}:${request.socket.remotePort}`,
  };
}

const loopback = ['127.0.0.1', '::1', '::ffff:127.0.0.1'];

/** The body of a page by its name, maybe with a query: `ambientz?namespace=shop`. Undefined: no such page. */
export async function debugPage(sources: DebugSources, path: string): Promise<string | undefined> {
  const url = new URL(path, 'http://localhost/debug/');
  const name = url.pathname.slice('/debug/'.length);
  const all = pages(sources);
  if (name === 'list') return JSON.stringify(Object.keys(all));
  const page = Object.hasOwn(all, name) ? all[name]?.[1] : undefined;
  return page === undefined ? undefined : (await page(url.searchParams)).body;
}

export function debugRoutes(sources: DebugSources): Routes {
  const all = pages(sources);
  const guarded =
    (page: Page) =>
    async (request: IncomingMessage): Promise<Answer> => {
      if (sources.auth && !loopback.includes(request.socket.remoteAddress ?? '')) {
        try {
          const caller = await sources.authenticate(facts(request));
          if (caller.namespace !== sources.systemNamespace)
            return { status: 403, body: `only for identities of ${sources.systemNamespace}\n` };
        } catch (error) {
          if (!(error instanceof RpcError)) throw error;
          return { status: 401, body: 'a token of the mesh is needed (authorization: Bearer …)\n' };
        }
      }
      return page(new URL(request.url ?? '/', 'http://localhost').searchParams);
    };
  const listed = Object.keys(all).map((name) => `/debug/${name}`);
  const overview: Page = () => ({
    body: `${Object.entries(all)
      .map(([name, [help]]) => `/debug/${name}\t${help}`)
      .join('\n')}\n`,
  });
  return {
    ...Object.fromEntries(Object.entries(all).map(([name, [, page]]) => [`/debug/${name}`, guarded(page)])),
    '/debug/list': guarded(() => json(listed)),
    '/debug': guarded(overview),
    '/debug/': guarded(overview),
  };
}
