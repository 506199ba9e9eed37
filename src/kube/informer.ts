// A local copy of one kind of object that follows the API: list once, then watch; resume after a break, list
// again when the server has forgotten our place (410), wait longer after each failure in a row.
import { backoffDelay, silentLogger, systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';
import type { KubeClient } from './client.ts';
import type { Selectors } from './request-options.ts';
import { equalJson } from './equal.ts';
import { isGone } from './kube-error.ts';
import type { DynamicObject, KubeObject } from './objects.ts';
import type { Resource } from './resources.ts';

export interface InformerOptions<T extends KubeObject> extends Selectors {
  readonly namespace?: string | undefined;
  /** What to keep of an object. By default all but managedFields. Give less to hold less. */
  readonly transform?: (object: T) => T;
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: () => number;
  /** Seconds a single watch lasts. */
  readonly watchSeconds?: number;
}

export interface InformerHandlers<T> {
  add: (object: T) => void;
  update: (object: T, old: T) => void;
  delete: (object: T) => void;
}

export type InformerState = 'idle' | 'listing' | 'watching' | 'waiting' | 'stopped';

const retry = { initial: 100, max: 5000, jitter: 0.2 };

export function objectKey(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}

export class Informer<T extends KubeObject = DynamicObject> {
  readonly resource: Resource<T>;
  readonly #client: KubeClient;
  readonly #options: InformerOptions<T>;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #objects = new Map<string, T>();
  readonly #handlers: { [K in keyof InformerHandlers<T>]: Set<InformerHandlers<T>[K]> } = {
    add: new Set(),
    update: new Set(),
    delete: new Set(),
  };
  readonly #synced = Promise.withResolvers<void>();
  #resourceVersion = '';
  #state: InformerState = 'idle';

  constructor(client: KubeClient, resource: Resource<T>, options: InformerOptions<T> = {}) {
    this.#client = client;
    this.resource = resource;
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
    // Waiting for it is up to the caller; nobody waiting must not be an unhandled rejection.
    this.#synced.promise.catch(() => {});
  }

  /**
   * Calls `handler` for changes from now on: subscribe before `start` to see every object. An object that
   * became equal to what we had raises nothing. Gives a function that ends the subscription.
   */
  on<K extends keyof InformerHandlers<T>>(event: K, handler: InformerHandlers<T>[K]): () => void {
    this.#handlers[event].add(handler);
    return () => {
      this.#handlers[event].delete(handler);
    };
  }

  get(namespace: string | undefined, name: string): T | undefined {
    return this.#objects.get(objectKey(namespace, name));
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Resolves when the first list is in and its `add` handlers have run; rejects if stopped before. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  get state(): InformerState {
    return this.#state;
  }

  /** Runs until the signal aborts. Once per informer. */
  start(signal: AbortSignal): void {
    if (this.#state !== 'idle')
      throw new Error(`the informer of ${this.resource.plural} has been started before`);
    this.#state = 'listing';
    void this.#run(signal).finally(() => {
      this.#state = 'stopped';
      this.#synced.reject(
        new Error(`the informer of ${this.resource.plural} was stopped before it had a list`),
      );
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === '') await this.#list(signal);
        // A list that works and a watch that always fails must not make a busy loop.
        const seen = await this.#watch(signal);
        failures = seen ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        if (isGone(error)) {
          this.#resourceVersion = '';
          this.#log.debug(`${this.resource.plural}: the server no longer has our place, listing again`);
        } else {
          this.#log.warn(`${this.resource.plural}: ${errorText(error)}`, { attempt: failures });
        }
      }
      if (failures === 0) continue;
      this.#state = 'waiting';
      await this.#clock
        .sleep(backoffDelay(retry, failures - 1, this.#options.random ?? Math.random), signal)
        .catch(() => {});
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#state = 'listing';
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const gone = new Set(this.#objects.keys());
    let resourceVersion = '';
    // Each page is cut down to what is kept before the next comes: whole, a large cluster would not fit.
    for await (const page of this.#client.pages(this.resource, {
      namespace,
      labelSelector,
      fieldSelector,
      signal,
    })) {
      for (const object of page.items) {
        gone.delete(objectKey(object.metadata.namespace, object.metadata.name));
        this.#put(object);
      }
      ({ resourceVersion } = page);
    }
    for (const key of gone) this.#remove(key);
    this.#resourceVersion = resourceVersion;
    this.#synced.resolve();
  }

  /** True if the watch did some good: an event, a bookmark, or an orderly end. */
  async #watch(signal: AbortSignal): Promise<boolean> {
    this.#state = 'watching';
    const { namespace, labelSelector, fieldSelector } = this.#options;
    // Spread, so that a thousand agents that started together do not come back together.
    const seconds = Math.round(
      (this.#options.watchSeconds ?? 300) * (1 + (this.#options.random ?? Math.random)()),
    );
    const began = this.#clock.now();
    let seen = false;
    const events = this.#client.watch(this.resource, {
      namespace,
      labelSelector,
      fieldSelector,
      resourceVersion: this.#resourceVersion,
      timeoutSeconds: seconds,
      signal,
    });
    for await (const event of events) {
      if (signal.aborted) return true;
      seen = true;
      if (event.type === 'BOOKMARK') {
        this.#resourceVersion = event.resourceVersion;
        continue;
      }
      const { metadata } = event.object;
      if (event.type === 'DELETED') this.#remove(objectKey(metadata.namespace, metadata.name), event.object);
      else this.#put(event.object);
      if (metadata.resourceVersion !== undefined) this.#resourceVersion = metadata.resourceVersion;
    }
    return seen || this.#clock.now() - began > 1000;
  }

  #put(incoming: T): void {
    const object = (this.#options.transform ?? dropManagedFields)(incoming);
    const key = objectKey(object.metadata.namespace, object.metadata.name);
    const old = this.#objects.get(key);
    if (old !== undefined && old.metadata.uid !== object.metadata.uid) {
      // Deleted and made anew while we were not looking.
      this.#remove(key);
      this.#objects.set(key, object);
      this.#emit('add', (handler) => handler(object));
      return;
    }
    this.#objects.set(key, object);
    if (old === undefined) this.#emit('add', (handler) => handler(object));
    else if (!sameButVersion(old, object)) this.#emit('update', (handler) => handler(object, old));
  }

  #remove(key: string, last?: T): void {
    const old = this.#objects.get(key);
    if (old === undefined) return;
    this.#objects.delete(key);
    const object = last === undefined ? old : (this.#options.transform ?? dropManagedFields)(last);
    this.#emit('delete', (handler) => handler(object));
  }

  #emit<K extends keyof InformerHandlers<T>>(
    event: K,
    call: (handler: InformerHandlers<T>[K]) => void,
  ): void {
    for (const handler of this.#handlers[event]) {
      try {
        call(handler);
      } catch (error) {
        // One subscriber's fault must not keep the others, or the cache, from going on.
        this.#log.error(`${this.resource.plural}: a ${event} handler failed: ${errorText(error)}`);
      }
    }
  }
}

/** The objects come fresh from the parser and belong to us, so they are changed in place. */
function dropManagedFields<T extends KubeObject>(object: T): T {
  delete (object.metadata as { managedFields?: unknown }).managedFields;
  return object;
}

function sameButVersion(a: KubeObject, b: KubeObject): boolean {
  if (a.metadata.resourceVersion === b.metadata.resourceVersion) return true;
  const { resourceVersion: _a, managedFields: _aFields, ...aMeta } = a.metadata;
  const { resourceVersion: _b, managedFields: _bFields, ...bMeta } = b.metadata;
  return equalJson({ ...a, metadata: aMeta }, { ...b, metadata: bMeta });
}
