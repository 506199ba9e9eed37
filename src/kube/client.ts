// Requests on objects. Knows paths and verbs, not what any kind means.
import type { Duplex } from 'node:stream';
import { inClusterConfig, loadKubeconfig, type ClusterConfig } from './config.ts';
import { isAlreadyExists, isNotFound, KubeError } from './kube-error.ts';
import type { Draft, DynamicObject, KubeObject } from './objects.ts';
import { forwardedStream, portForwardProtocol } from './port-forward.ts';
import type {
  DeleteOptions,
  ListOptions,
  ListResult,
  PatchOptions,
  PatchType,
  TokenReviewResult,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from './request-options.ts';
import { checkName, resourcePath, segment, withQuery } from './resource-path.ts';
import { apiVersionOf, pods, type Resource } from './resources.ts';
import { Transport } from './transport.ts';

const patchContentTypes: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  // JSON is YAML.
  apply: 'application/apply-patch+yaml',
};

export class KubeClient {
  readonly #transport: Transport;

  constructor(config: ClusterConfig, userAgent = 'aura') {
    this.#transport = new Transport(config, userAgent);
  }

  /** From a kubeconfig file; without one, from the pod this program runs in (`env` is its environment). */
  static fromKubeconfig(
    file: string | undefined,
    options: {
      readonly context?: string;
      readonly userAgent?: string;
      readonly env?: Readonly<Record<string, string | undefined>>;
    } = {},
  ): KubeClient {
    const config =
      file === undefined || file === ''
        ? inClusterConfig(options.env ?? {})
        : loadKubeconfig(file, options.context);
    return new KubeClient(config, options.userAgent);
  }

  static fromConfig(config: ClusterConfig, userAgent?: string): KubeClient {
    return new KubeClient(config, userAgent);
  }

  /** The namespace that the kubeconfig's context, or the pod, is in. */
  get namespace(): string {
    return this.#transport.config.namespace;
  }

  get server(): string {
    return this.#transport.config.server;
  }

  /** Throws KubeError 404 if there is none; see `find`. */
  get<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    options: { readonly subresource?: string; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    return this.#json<T>(
      'GET',
      resourcePath(resource, namespace, checkName(name), options.subresource),
      options.signal,
    );
  }

  /** Like `get`; undefined if there is none. */
  async find<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T | undefined> {
    try {
      return await this.get(resource, namespace, name, options);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** One page; all objects at once without `limit`. The items carry apiVersion and kind. */
  async list<T extends KubeObject>(resource: Resource<T>, options: ListOptions = {}): Promise<ListResult<T>> {
    const path = withQuery(resourcePath(resource, options.namespace), {
      labelSelector: options.labelSelector,
      fieldSelector: options.fieldSelector,
      limit: options.limit,
      continue: options.continue,
      resourceVersion: options.resourceVersion,
      resourceVersionMatch: options.resourceVersionMatch,
    });
    const answer = await this.#json<{
      metadata?: { resourceVersion?: string; continue?: string };
      items?: T[] | null;
    }>('GET', path, options.signal);
    const apiVersion = apiVersionOf(resource);
    const items = (answer.items ?? []).map((item) =>
      item.kind === undefined ? { apiVersion, kind: resource.kind, ...item } : item,
    );
    const next = answer.metadata?.continue;
    return {
      items,
      resourceVersion: answer.metadata?.resourceVersion ?? '',
      ...(next === undefined || next === '' ? {} : { continue: next }),
    };
  }

  /** All objects, page by page, so that no answer grows with the cluster. */
  async *pages<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions = {},
  ): AsyncGenerator<ListResult<T>> {
    let page: ListResult<T> = await this.list(resource, { limit: 500, ...options });
    yield page;
    while (page.continue !== undefined) {
      const { resourceVersion: _rv, resourceVersionMatch: _match, ...rest } = options;
      page = await this.list(resource, { limit: 500, ...rest, continue: page.continue });
      yield page;
    }
  }

  /** The same in one list. */
  async listAll<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions = {},
  ): Promise<ListResult<T>> {
    const items: T[] = [];
    let resourceVersion = '';
    for await (const page of this.pages(resource, options)) {
      items.push(...page.items);
      ({ resourceVersion } = page);
    }
    return { items, resourceVersion };
  }

  /**
   * The changes after `resourceVersion`. Ends when the server ends the watch; throws KubeError 410 when the
   * server no longer has that version, and Error when the connection breaks. An Informer deals with both.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>> {
    const seconds = options.timeoutSeconds ?? 300;
    const path = withQuery(resourcePath(resource, options.namespace), {
      watch: 'true',
      labelSelector: options.labelSelector,
      fieldSelector: options.fieldSelector,
      resourceVersion: options.resourceVersion,
      allowWatchBookmarks: options.allowBookmarks === false ? undefined : 'true',
      timeoutSeconds: seconds,
    });
    // The server must end the watch by itself in time: longer silence is a dead connection.
    const lines = this.#transport.lines(
      { method: 'GET', path, signal: options.signal },
      (seconds + 30) * 1000,
    );
    for await (const line of lines) {
      const event = JSON.parse(line) as {
        type: string;
        object: T & { code?: number; reason?: string; message?: string };
      };
      switch (event.type) {
        case 'ADDED':
        case 'MODIFIED':
        case 'DELETED':
          yield { type: event.type, object: event.object };
          break;
        case 'BOOKMARK':
          yield { type: 'BOOKMARK', resourceVersion: event.object.metadata.resourceVersion ?? '' };
          break;
        default:
          throw new KubeError(
            event.object.code ?? 500,
            event.object.reason ?? 'Unknown',
            event.object.message ?? `watch ${resource.plural}: the server sent ${event.type}`,
          );
      }
    }
  }

  create<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    body: Draft<T>,
    options: WriteOptions & { readonly name?: string } = {},
  ): Promise<T> {
    const path = resourcePath(
      resource,
      namespace ?? body.metadata.namespace,
      options.subresource === undefined ? undefined : checkName(options.name ?? body.metadata.name ?? ''),
      options.subresource,
    );
    return this.#json<T>('POST', withQuery(path, writeQuery(options)), options.signal, {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      ...body,
    });
  }

  /** A resourceVersion in `body` makes it conditional (KubeError Conflict). */
  replace<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    body: T,
    options: WriteOptions = {},
  ): Promise<T> {
    const path = resourcePath(resource, namespace, checkName(name), options.subresource);
    return this.#json<T>('PUT', withQuery(path, writeQuery(options)), options.signal, {
      apiVersion: apiVersionOf(resource),
      kind: resource.kind,
      ...body,
    });
  }

  /** `apply` is server-side apply: needs `fieldManager`, creates the object if there is none. */
  patch<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    name: string,
    body: unknown,
    type: PatchType,
    options: PatchOptions = {},
  ): Promise<T> {
    const path = resourcePath(resource, namespace, checkName(name), options.subresource);
    const query = { ...writeQuery(options), force: options.force === true ? 'true' : undefined };
    const whole =
      type === 'apply' && typeof body === 'object' && body !== null
        ? { apiVersion: apiVersionOf(resource), kind: resource.kind, ...body }
        : body;
    return this.#json<T>('PATCH', withQuery(path, query), options.signal, whole, patchContentTypes[type]);
  }

  /** True if there was one. An object with finalizers, or a pod with a grace period, goes later. */
  async delete(
    resource: Resource<KubeObject>,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<boolean> {
    const { signal, ...rest } = options;
    try {
      await this.#json('DELETE', resourcePath(resource, namespace, checkName(name)), signal, {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...rest,
      });
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Creates the object, or gives the one that is there. */
  async ensure<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    body: Draft<T> & { readonly metadata: { readonly name: string } },
  ): Promise<T> {
    try {
      return await this.create(resource, namespace, body);
    } catch (error) {
      if (isAlreadyExists(error)) return this.get(resource, namespace, body.metadata.name);
      throw error;
    }
  }

  /** Who holds this token. An answer that is not clearly yes is no, with the reason. */
  async tokenReview(
    token: string,
    audiences: readonly string[] = [],
    signal?: AbortSignal,
  ): Promise<TokenReviewResult> {
    const review = await this.#json<{
      status?: {
        authenticated?: boolean;
        error?: string;
        audiences?: string[];
        user?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
      };
    }>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', signal, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audiences.length === 0 ? {} : { audiences }) },
    });
    const status = review.status;
    if (status?.authenticated !== true || status.user?.username === undefined)
      return {
        authenticated: false,
        error: status?.error ?? 'the API server did not authenticate the token',
      };
    // A server that does not know audiences leaves them out; then the token was not checked for ours.
    if (audiences.length > 0 && !audiences.some((audience) => status.audiences?.includes(audience) === true))
      return { authenticated: false, error: `the token is not for the audience ${audiences.join(', ')}` };
    const { username, uid, groups, extra } = status.user;
    return {
      authenticated: true,
      user: { username, ...(uid === undefined ? {} : { uid }), groups: groups ?? [], extra: extra ?? {} },
      audiences: status.audiences ?? [],
    };
  }

  /** A service account token; with `boundPod`, one that ends with that pod. */
  async createToken(
    namespace: string,
    serviceAccount: string,
    audiences: readonly string[],
    expirationSeconds: number,
    boundPod?: { readonly name: string; readonly uid: string },
  ): Promise<{ readonly token: string; readonly expirationTimestamp: string }> {
    const path = `/api/v1/namespaces/${segment(namespace)}/serviceaccounts/${segment(serviceAccount)}/token`;
    const answer = await this.#json<{ status: { token: string; expirationTimestamp: string } }>(
      'POST',
      path,
      undefined,
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences,
          expirationSeconds,
          ...(boundPod === undefined
            ? {}
            : { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: boundPod.name, uid: boundPod.uid } }),
        },
      },
    );
    return answer.status;
  }

  /** Any other path; the parsed JSON answer. */
  request<T = DynamicObject>(
    method: string,
    path: string,
    body?: unknown,
    options: { readonly contentType?: string; readonly signal?: AbortSignal } = {},
  ): Promise<T> {
    return this.#json<T>(method, path, options.signal, body, options.contentType);
  }

  /**
   * A connection to a port inside a pod, from the pod's own loopback. Throws KubeError if the API server or the
   * kubelet refuses; what fails inside of the pod shows as an error of the stream.
   */
  async portForward(namespace: string, pod: string, port: number): Promise<Duplex> {
    const path = `${resourcePath(pods, namespace, checkName(pod), 'portforward')}?ports=${port}`;
    const { socket, head } = await this.#transport.upgrade(path, portForwardProtocol);
    return forwardedStream(socket, head, `port ${port} of pod ${namespace}/${pod}`);
  }

  /** Closes the pooled connections. */
  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #json<T>(
    method: string,
    path: string,
    signal: AbortSignal | undefined,
    body?: unknown,
    contentType?: string,
  ): Promise<T> {
    const answer = await this.#transport.send({
      method,
      path,
      signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(contentType === undefined ? {} : { contentType }),
    });
    return JSON.parse(answer) as T;
  }
}

const writeQuery = (options: WriteOptions): Record<string, string | undefined> => ({
  fieldManager: options.fieldManager,
  fieldValidation: options.fieldValidation,
  dryRun: options.dryRun === true ? 'All' : undefined,
});
