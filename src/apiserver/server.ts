// The server put together: store, kinds, keys, controllers, HTTPS. One process, one thread; a request's own work is
// done in one turn, so what it reads and what it writes belong together.
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { errorText } from '#/errors/index.ts';
import { formatSocketAddress, parseIp, silentLogger, type Logger } from '#/kit/index.ts';
import { ApiError, internal, noSuchPath, notFound } from './api-error.ts';
import { Webhooks } from './admission/webhooks.ts';
import { authenticate } from './auth/authenticate.ts';
import { kubeconfigText, loadKeys, writeSecret, type Keys } from './auth/keys.ts';
import { issuer, Tokens } from './auth/tokens.ts';
import { CustomKinds } from './crd/custom-kinds.ts';
import { EventExpiry } from './controllers/events.ts';
import { GarbageCollector } from './controllers/garbage-collector.ts';
import { NamespaceController } from './controllers/namespaces.ts';
import { TokenSecrets } from './controllers/token-secrets.ts';
import { Discovery } from './discovery/discovery.ts';
import { OpenApi } from './discovery/openapi.ts';
import { send, sendValue, type Call } from './serving/call.ts';
import { dispatch, type Services } from './serving/dispatch.ts';
import { routeOf, splitPath } from './serving/router.ts';
import { builtinKinds } from './kinds/builtin.ts';
import type { Kind, KindContext } from './kinds/kind.ts';
import { Registry } from './kinds/registry.ts';
import { ServiceAllocator } from './kinds/service.ts';
import { ProtobufReader } from './schema/protobuf.ts';
import { loadBuiltinTypes } from './schema/schema.ts';
import { parseStored, type Collection } from './store/collection.ts';
import type { EventLogLimits } from './store/event-log.ts';
import { Persistence } from './store/persistence.ts';
import { Store } from './store/store.ts';
import { serveUpgrade } from './streams/upgrades.ts';
import {
  kubeletTarget,
  nodeStatusAccess,
  proxyPlain,
  type PodAccess,
  type PodSubresource,
  type Target,
} from './verbs/pod-access.ts';
import { watchLimits, type WatchLimits } from './verbs/watch.ts';
import { Writer } from './verbs/write.ts';

export interface ApiserverConfig {
  /** An address of this machine; `127.0.0.1` unless others must reach it. */
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Objects, keys and certificates. Made if it does not exist. */
  readonly dataDir: string;
  /** Written when the server listens. */
  readonly kubeconfig: string;
  /** More names and addresses that the server's certificate must be valid for. */
  readonly names?: readonly string[];
  /** The host that the kubeconfig names, if it differs from `host`. */
  readonly advertise?: string;
  /** Ranges for cluster IPs: one, or one of each family. */
  readonly serviceCidrs?: readonly string[];
  /** Writes reach the disk itself before they are acknowledged. Survives a loss of power, and is slower. */
  readonly sync?: 'normal' | 'full';
  readonly watch?: Partial<WatchLimits>;
  readonly history?: EventLogLimits;
}

export interface ApiserverDeps {
  readonly log?: Logger;
  readonly podAccess?: PodAccess;
}

export interface Apiserver extends AsyncDisposable {
  /** `host:port`, as it listens. */
  readonly address: string;
  readonly url: string;
  readonly kubeconfig: string;
  /** PEM of the authority that its certificate is signed by. */
  readonly ca: string;
}

const defaultServiceCidrs = ['10.96.0.0/16'];

/** Reads what is stored, listens, writes the kubeconfig. Rejects if the address or the directory is in use. */
export async function startApiserver(config: ApiserverConfig, deps: ApiserverDeps = {}): Promise<Apiserver> {
  const log = (deps.log ?? silentLogger).scope('apiserver');
  const serviceCidrs = config.serviceCidrs ?? defaultServiceCidrs;
  const persistence = new Persistence({
    dir: config.dataDir,
    ...(config.sync === undefined ? {} : { sync: config.sync }),
  });
  try {
    const keys = await loadKeys(join(config.dataDir, 'pki'), serverNames(config, serviceCidrs));
    return await start(config, deps, log, persistence, keys, serviceCidrs);
  } catch (error) {
    persistence[Symbol.dispose]();
    throw error;
  }
}

function serverNames(config: ApiserverConfig, serviceCidrs: readonly string[]): string[] {
  const names = [
    'localhost',
    '127.0.0.1',
    '::1',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
    ...(config.names ?? []),
  ];
  // The address of the `kubernetes` Service: the first of each range.
  for (const range of serviceCidrs) {
    const base = range.split('/')[0] ?? '';
    names.push(
      base.includes(':') ? (parseIp(`${base.replace(/::$/, '')}::1`) ?? base) : base.replace(/\.\d+$/, '.1'),
    );
  }
  for (const host of [config.host, config.advertise]) {
    if (host !== undefined && host !== '0.0.0.0' && host !== '::') names.push(host);
  }
  return names;
}

async function start(
  config: ApiserverConfig,
  deps: ApiserverDeps,
  log: Logger,
  persistence: Persistence,
  keys: Keys,
  serviceCidrs: readonly string[],
): Promise<Apiserver> {
  const types = loadBuiltinTypes();
  const kinds = builtinKinds(types);
  const registry = new Registry(kinds);
  const store = new Store(persistence, config.history);
  const allocator = new ServiceAllocator(serviceCidrs);
  const context: KindContext = {
    now: Date.now,
    find(collection, namespace, name) {
      const stored = store.collection(collection).get(namespace, name);
      return stored === undefined ? undefined : parseStored(stored);
    },
    serviceAddresses: allocator,
  };
  const writer = new Writer(store, context);
  writer.admission = new Webhooks(store);
  const rulesOf = new Map(kinds.map((kind) => [kind.collection, kind.rules]));
  const prepare = (collection: Collection): void => {
    const selectable = rulesOf.get(collection.name)?.selectable;
    if (selectable !== undefined) collection.selectable = selectable;
  };
  for (const kind of kinds) if (kind.verbs.length > 1) prepare(store.collection(kind.collection));
  const began = performance.now();
  store.load(prepare);
  for (const stored of store.collection('services').values()) allocator.reserve(parseStored(stored));
  const controllerDeps = { store, registry, writer, log };
  const customKinds = new CustomKinds(controllerDeps, types);
  await customKinds.start();

  const tokens = new Tokens(keys, context.find);
  const stop = new AbortController();
  const access = deps.podAccess ?? nodeStatusAccess();
  const podTarget = (
    request: IncomingMessage,
    query: URLSearchParams,
    namespace: string,
    name: string,
    sub: string,
  ): Target => {
    const pod = context.find('pods', namespace, name);
    if (pod === undefined) throw notFound({ group: '', plural: 'pods' }, name);
    const nodeName = pod.spec?.['nodeName'];
    const node = typeof nodeName === 'string' ? context.find('nodes', '', nodeName) : undefined;
    return kubeletTarget(access, pod, node, sub as PodSubresource, query, request);
  };
  const services: Services = {
    store,
    writer,
    tokens,
    types,
    protobuf: new ProtobufReader(types),
    stopping: stop.signal,
    pods: registry.get('', 'v1', 'pods') as Kind,
    watchLimits: { ...watchLimits, ...config.watch },
    podStream: (call, namespace, name, sub) =>
      proxyPlain(call, podTarget(call.request, call.query, namespace, name, sub)),
  };
  let address = '';
  const discovery = new Discovery(registry, () => address);
  const openapi = new OpenApi(registry, types);

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const user = authenticate(request, tokens);
    const url = new URL(request.url ?? '/', 'https://kubernetes');
    const call: Call = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      user,
      request,
      response,
    };
    const parts = splitPath(url.pathname);
    switch (parts[0]) {
      case 'api':
        if (parts.length > 2) await dispatch(call, routeOf(registry, parts), services);
        else discovery.handle(call, parts);
        return;
      case 'apis':
        if (parts.length > 3) await dispatch(call, routeOf(registry, parts), services);
        else discovery.handle(call, parts);
        return;
      case 'version':
        discovery.handle(call, parts);
        return;
      case 'openapi':
        openapi.handle(call, parts);
        return;
      case 'openid':
        if (parts[1] === 'v1' && parts[2] === 'jwks') {
          sendValue(response, 200, tokens.jwks());
          return;
        }
        throw noSuchPath();
      case '.well-known':
        if (parts[1] === 'openid-configuration') {
          sendValue(response, 200, {
            issuer,
            jwks_uri: `https://${address}/openid/v1/jwks`,
            response_types_supported: ['id_token'],
            subject_types_supported: ['public'],
            id_token_signing_alg_values_supported: ['ES256'],
          });
          return;
        }
        throw noSuchPath();
      case 'healthz':
      case 'livez':
      case 'readyz':
        send(response, 200, 'ok', 'text/plain; charset=utf-8');
        return;
      case undefined:
        sendValue(response, 200, {
          paths: ['/api', '/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
        });
        return;
      default:
        throw noSuchPath();
    }
  };

  const refuse = (response: ServerResponse, error: unknown): void => {
    const known = error instanceof ApiError ? error : internal(errorText(error));
    if (!(error instanceof ApiError) && !response.destroyed)
      log.error(`a request failed: ${errorText(error)}`, {
        stack: error instanceof Error ? (error.stack ?? '').split('\n').slice(1, 4).join(' ') : '',
      });
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (known.details?.retryAfterSeconds !== undefined)
      response.setHeader('retry-after', known.details.retryAfterSeconds);
    if (known.code === 401) response.setHeader('www-authenticate', 'Bearer realm="kubernetes"');
    // A body that was not read would be taken for the next request.
    if (known.code === 413) response.setHeader('connection', 'close');
    send(response, known.code, `${JSON.stringify(known.status())}\n`);
  };

  const server = createServer(
    {
      key: keys.serverKey,
      cert: keys.serverCert,
      // Which client certificates count; others are as good as none.
      ca: keys.ca,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      keepAliveTimeout: 120_000,
      headersTimeout: 30_000,
      requestTimeout: 60_000,
      maxHeaderSize: 64 * 1024,
      noDelay: true,
    },
    (request, response) => {
      response.on('error', () => response.destroy());
      answer(request, response).catch((error: unknown) => refuse(response, error));
    },
  );
  server.maxConnections = 20_000;
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n');
    else socket.destroy();
  });
  const upgrades = new Set<Duplex>();
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    upgrades.add(socket);
    socket.on('close', () => upgrades.delete(socket));
    const work = async (): Promise<void> => {
      authenticate(request, tokens);
      const url = new URL(request.url ?? '/', 'https://kubernetes');
      const route = routeOf(registry, splitPath(url.pathname));
      if (!['exec', 'attach', 'portforward', 'log'].includes(route.subresource)) throw noSuchPath();
      const { namespace = '', name = '', subresource } = route;
      await serveUpgrade(request, socket, head, subresource, url.searchParams, (query) =>
        podTarget(request, query, namespace, name, subresource),
      );
    };
    work().catch((error: unknown) => refuseUpgrade(socket, error));
  });

  await listen(server, config.host, config.port);
  const bound = server.address() as { address: string; port: number };
  address = formatSocketAddress(bound.address, bound.port);
  const shown =
    config.advertise ??
    (bound.address === '0.0.0.0' ? '127.0.0.1' : bound.address === '::' ? '::1' : bound.address);
  const url = `https://${formatSocketAddress(shown, bound.port)}`;

  const namespaces = new NamespaceController(controllerDeps, keys.ca);
  const collector = new GarbageCollector(controllerDeps);
  const expiry = new EventExpiry(controllerDeps);
  await namespaces.start();
  new TokenSecrets(controllerDeps, tokens, keys.ca).start();
  collector.start();
  expiry.start();
  writeSecret(config.kubeconfig, kubeconfigText(url, keys));
  log.info('serving the Kubernetes API', {
    address,
    objects: store.collections().reduce((sum, collection) => sum + collection.size, 0),
    revision: store.revision,
    ms: Math.round(performance.now() - began),
  });

  let disposed: Promise<void> | undefined;
  const dispose = async (): Promise<void> => {
    stop.abort();
    collector.stop();
    expiry.stop();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of upgrades) socket.destroy();
    server.closeIdleConnections();
    // Requests that are under way are answered; watches have ended above.
    const timer = setTimeout(() => server.closeAllConnections(), 2000);
    await closed;
    clearTimeout(timer);
    persistence[Symbol.dispose]();
  };
  return {
    address,
    url,
    kubeconfig: config.kubeconfig,
    ca: keys.ca,
    [Symbol.asyncDispose]: () => (disposed ??= dispose()),
  };
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  if (!socket.writable) return;
  const known = error instanceof ApiError ? error : internal(errorText(error));
  const body = JSON.stringify(known.status());
  socket.end(
    `HTTP/1.1 ${known.code} ${known.reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: Error & { code?: string }) =>
      reject(
        new Error(
          error.code === 'EADDRINUSE'
            ? `${formatSocketAddress(host, port)} is in use: choose another --listen address`
            : `cannot listen on ${formatSocketAddress(host, port)}: ${error.message}`,
          { cause: error },
        ),
      ),
    );
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve();
    });
  });
}
