// A Kubernetes API for tests and benchmarks: in memory, over real HTTPS, with the verbs that the control plane uses.
// It checks nothing and knows no schema; what it says is what a real server says.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { CertificateAuthority } from '#/identity/index.ts';
import { KubeClient } from '#/kube/index.ts';
import {
  knownPlurals,
  patched,
  selector,
  status,
  target,
  type FakeObject,
  type Target,
} from './fake-objects.ts';

export type { FakeObject } from './fake-objects.ts';

/** Made once per process: a key of RSA takes its time. */
let authority: Promise<CertificateAuthority> | undefined;

export interface FakeToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly audiences: readonly string[];
  readonly pod?: { readonly name: string; readonly uid: string };
}

interface Watcher {
  readonly matches: (object: FakeObject) => boolean;
  readonly response: ServerResponse;
}

const isApply = (request: IncomingMessage): boolean =>
  request.headers['content-type']?.includes('apply-patch') === true;

export class FakeApi implements AsyncDisposable {
  readonly tokens = new Map<string, FakeToken>();
  /** `METHOD /path` of every request that writes. */
  readonly writes: string[] = [];
  /** API groups with versions that the server has not, as `group/version`. */
  readonly absent = new Set<string>();
  /** Whether there is server-side apply. */
  apply = true;
  /** Answers every request with 503. */
  down = false;
  readonly #collections = new Map<string, Map<string, FakeObject>>();
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #events: {
    readonly version: number;
    readonly collection: string;
    readonly line: string;
    readonly object: FakeObject;
  }[] = [];
  #version = 1;
  readonly #sockets = new Set<{ destroy(): unknown }>();
  #server: Server | undefined;
  #port = 0;
  #ca = '';

  async listen(): Promise<this> {
    authority ??= CertificateAuthority.selfSigned({ trustDomain: 'fake' });
    const ca = await authority;
    const { certPem, keyPem } = await ca.issueServing({ dnsNames: ['localhost'], ips: ['127.0.0.1'] });
    this.#ca = ca.rootsPem;
    this.#server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
      // A client that goes away in the middle is no fault of the server.
      this.#serve(request, response).catch(() => response.destroy());
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as { port: number }).port;
    return this;
  }

  client(): KubeClient {
    return KubeClient.fromConfig({ server: this.url, ca: this.#ca, namespace: 'default' });
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  /** A kubeconfig file's contents. */
  kubeconfig(): string {
    const ca = Buffer.from(this.#ca).toString('base64');
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'fake', cluster: { server: this.url, 'certificate-authority-data': ca } }],
      users: [{ name: 'fake', user: {} }],
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake' } }],
      'current-context': 'fake',
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    // Sockets, as `closeAllConnections` leaves those in the middle of their handshake.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Creates or replaces. `collection` as `/api/v1/pods`. */
  put(collection: string, object: FakeObject): FakeObject {
    const key = this.#key(object.metadata.namespace, object.metadata.name);
    const objects = this.#collection(collection);
    const old = objects.get(key);
    const version = ++this.#version;
    const kept: FakeObject = {
      ...object,
      metadata: {
        uid: old?.metadata.uid ?? `uid-${version}`,
        creationTimestamp: '2026-01-01T00:00:00Z',
        ...object.metadata,
        resourceVersion: String(version),
      },
    };
    objects.set(key, kept);
    this.#emit(collection, old === undefined ? 'ADDED' : 'MODIFIED', kept, version);
    return kept;
  }

  delete(collection: string, namespace: string | undefined, name: string): boolean {
    const key = this.#key(namespace, name);
    const old = this.#collection(collection).get(key);
    if (old === undefined) return false;
    this.#collection(collection).delete(key);
    const version = ++this.#version;
    this.#emit(
      collection,
      'DELETED',
      { ...old, metadata: { ...old.metadata, resourceVersion: String(version) } },
      version,
    );
    return true;
  }

  get(collection: string, namespace: string | undefined, name: string): FakeObject | undefined {
    return this.#collection(collection).get(this.#key(namespace, name));
  }

  list(collection: string): readonly FakeObject[] {
    return [...this.#collection(collection).values()];
  }

  /** Ends all watches, as a server does now and then. */
  breakWatches(): void {
    for (const watchers of this.#watchers.values()) for (const { response } of watchers) response.destroy();
  }

  #key(namespace: string | undefined, name: string): string {
    return `${namespace ?? ''}/${name}`;
  }

  #collection(path: string): Map<string, FakeObject> {
    const found = this.#collections.get(path) ?? new Map<string, FakeObject>();
    this.#collections.set(path, found);
    return found;
  }

  #emit(collection: string, type: string, object: FakeObject, version: number): void {
    const line = `${JSON.stringify({ type, object })}\n`;
    this.#events.push({ version, collection, line, object });
    if (this.#events.length > 20_000) this.#events.splice(0, 10_000);
    for (const { matches, response } of this.#watchers.get(collection) ?? [])
      if (matches(object)) response.write(line);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    const send = (code: number, body: unknown) => {
      response.writeHead(code, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.down) {
      send(503, status(503, 'ServiceUnavailable', 'down'));
      return;
    }
    const body: unknown = chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString());
    if (request.method !== 'GET') this.writes.push(`${request.method} ${url.pathname}`);
    const group = /^\/apis\/([^/]+\/[^/]+)$/.exec(url.pathname)?.[1];
    if (group !== undefined) {
      if (this.absent.has(group)) send(404, status(404, 'NotFound', 'no such group'));
      else send(200, { resources: knownPlurals.map((name) => ({ name })) });
      return;
    }
    if (url.pathname.endsWith('/tokenreviews')) {
      send(201, this.#review(body));
      return;
    }
    const at = target(url.pathname);
    if (at === undefined) send(404, status(404, 'NotFound', url.pathname));
    else this.#handle(request, url, at, body, send, response);
  }

  #handle(
    request: IncomingMessage,
    url: URL,
    at: Target,
    body: unknown,
    send: (code: number, body: unknown) => void,
    response: ServerResponse,
  ): void {
    if (at.name === undefined && request.method === 'GET') {
      const select = selector(url.searchParams);
      const matches = (object: FakeObject) =>
        (at.namespace === undefined || object.metadata.namespace === at.namespace) && select(object);
      if (url.searchParams.get('watch') === 'true') this.#watch(at.collection, url, matches, response);
      else {
        this.#list(at.collection, url, matches, send);
      }
      return;
    }
    const name = at.name ?? (body as FakeObject | undefined)?.metadata.name ?? '';
    const old = this.get(at.collection, at.namespace, name);
    switch (request.method) {
      case 'POST':
        if (old !== undefined) send(409, status(409, 'AlreadyExists', `${name} exists`));
        else
          send(
            201,
            this.put(at.collection, {
              ...(body as FakeObject),
              metadata: {
                ...(body as FakeObject).metadata,
                ...(at.namespace === undefined ? {} : { namespace: at.namespace }),
              },
            }),
          );
        return;
      case 'DELETE':
        send(this.delete(at.collection, at.namespace, name) ? 200 : 404, status(404, 'NotFound', name));
        return;
      case 'PUT':
      case 'PATCH':
      case 'GET':
        break;
      default:
        send(405, status(405, 'MethodNotAllowed', request.method ?? ''));
        return;
    }
    if (old === undefined && request.method === 'PATCH' && isApply(request) && at.subresource === undefined)
      send(201, this.put(at.collection, body as FakeObject));
    else if (old === undefined) send(404, status(404, 'NotFound', `${name} not found`));
    else if (request.method === 'GET') send(200, old);
    else {
      const wanted = (body as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion;
      const applies = isApply(request);
      if (applies && !this.apply) send(415, status(415, 'UnsupportedMediaType', 'no apply'));
      else if (wanted !== undefined && wanted !== old.metadata.resourceVersion)
        send(409, status(409, 'Conflict', `${name} has changed`));
      else if (request.method === 'PUT') send(200, this.put(at.collection, body as FakeObject));
      // Apply is taken as a merge in which lists of conditions are merged by type.
      else send(200, this.put(at.collection, patched(old, body, applies)));
    }
  }

  /** In pages, as clients ask for. Objects that come or go between pages are not looked after. */
  #list(
    collection: string,
    url: URL,
    matches: (object: FakeObject) => boolean,
    send: (code: number, body: unknown) => void,
  ): void {
    const from = Number(url.searchParams.get('continue') ?? 0);
    const limit = Number(url.searchParams.get('limit') ?? 0) || Number.POSITIVE_INFINITY;
    const items: FakeObject[] = [];
    let at = 0;
    let more = false;
    for (const object of this.#collection(collection).values()) {
      if (at++ < from) continue;
      if (items.length >= limit) {
        more = true;
        at--;
        break;
      }
      if (matches(object)) items.push(object);
    }
    send(200, {
      metadata: { resourceVersion: String(this.#version), ...(more ? { continue: String(at) } : {}) },
      items,
    });
  }

  #watch(
    collection: string,
    url: URL,
    matches: (object: FakeObject) => boolean,
    response: ServerResponse,
  ): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    const since = Number(url.searchParams.get('resourceVersion') ?? 0);
    for (const event of this.#events)
      if (event.version > since && event.collection === collection && matches(event.object))
        response.write(event.line);
    const watchers = this.#watchers.get(collection) ?? new Set<Watcher>();
    this.#watchers.set(collection, watchers);
    const watcher = { matches, response };
    watchers.add(watcher);
    response.on('close', () => watchers.delete(watcher));
    response.flushHeaders();
  }

  #review(body: unknown): unknown {
    const { token = '', audiences = [] } = (body as { spec: { token?: string; audiences?: string[] } }).spec;
    const known = this.tokens.get(token);
    const common = audiences.filter((audience) => known?.audiences.includes(audience));
    if (known === undefined || common.length === 0)
      return {
        status: { authenticated: false, error: known === undefined ? 'unknown token' : 'wrong audience' },
      };
    const extra =
      known.pod === undefined
        ? {}
        : {
            'authentication.kubernetes.io/pod-name': [known.pod.name],
            'authentication.kubernetes.io/pod-uid': [known.pod.uid],
          };
    return {
      status: {
        authenticated: true,
        audiences: common,
        user: {
          username: `system:serviceaccount:${known.namespace}:${known.serviceAccount}`,
          groups: ['system:serviceaccounts', 'system:authenticated'],
          extra,
        },
      },
    };
  }
}
