// The ConfigMaps by which proxies get to know the mesh's root certificates (and revocation list), in every namespace.
// Written by the leader; one that was deleted or changed is put right again.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import {
  configMaps,
  Informer,
  isAlreadyExists,
  isNotFound,
  KubeError,
  type ConfigMap,
  type KubeClient,
} from '#/kube/index.ts';
import { WorkQueue } from './work-queue.ts';

export const rootConfigMap = 'istio-ca-root-cert';
export const crlConfigMap = 'istio-ca-crl';

const excluded: readonly string[] = ['kube-node-lease', 'kube-public', 'local-path-storage'];
const labels = { 'istio.io/config': 'true' } as const;

export interface RootConfigMapsOptions {
  readonly client: KubeClient;
  readonly rootsPem: () => string | undefined;
  readonly crlPem: () => string | undefined;
  readonly log: Logger;
  readonly clock?: Clock;
}

interface Wanted {
  readonly name: string;
  readonly key: string;
  readonly value: string | undefined;
}

export class RootConfigMaps {
  readonly #options: RootConfigMapsOptions;
  readonly #namespaces = new Set<string>();
  readonly #informers: ReadonlyMap<string, Informer<ConfigMap>>;
  readonly #queue: WorkQueue;

  constructor(options: RootConfigMapsOptions) {
    this.#options = options;
    const follow = (name: string) =>
      new Informer(options.client, configMaps, {
        fieldSelector: `metadata.name=${name}`,
        log: options.log,
        ...(options.clock === undefined ? {} : { clock: options.clock }),
      });
    this.#informers = new Map([
      [rootConfigMap, follow(rootConfigMap)],
      [crlConfigMap, follow(crlConfigMap)],
    ]);
    this.#queue = new WorkQueue({
      work: (namespace) => this.#reconcile(namespace),
      onError: (namespace, error) =>
        options.log.warn(`ConfigMaps of namespace ${namespace}: ${errorText(error)}`),
      ...(options.clock === undefined ? {} : { clock: options.clock }),
    });
    for (const informer of this.#informers.values()) {
      const changed = (object: ConfigMap) => this.#check(object.metadata.namespace ?? '');
      informer.on('add', changed);
      informer.on('update', changed);
      informer.on('delete', changed);
    }
  }

  /** A namespace is there (again), or gone. */
  namespace(name: string, exists: boolean): void {
    if (exists && !excluded.includes(name)) {
      this.#namespaces.add(name);
      this.#check(name);
    } else this.#namespaces.delete(name);
  }

  /** The roots have changed. */
  refresh(): void {
    for (const namespace of this.#namespaces) this.#check(namespace);
  }

  /** Follows what is there; writes nothing. */
  async start(signal: AbortSignal): Promise<void> {
    for (const informer of this.#informers.values()) informer.start(signal);
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
  }

  /** Writes while the signal holds. */
  lead(signal: AbortSignal): void {
    this.refresh();
    this.#queue.start(signal);
  }

  #check(namespace: string): void {
    if (this.#namespaces.has(namespace)) this.#queue.add(namespace);
  }

  #wanted(): readonly Wanted[] {
    return [
      { name: rootConfigMap, key: 'root-cert.pem', value: this.#options.rootsPem() },
      { name: crlConfigMap, key: 'ca-crl.pem', value: this.#options.crlPem() },
    ];
  }

  async #reconcile(namespace: string): Promise<void> {
    if (!this.#namespaces.has(namespace)) return;
    for (const wanted of this.#wanted()) {
      if (wanted.value !== undefined) await this.#write(namespace, wanted, wanted.value);
    }
  }

  async #write(namespace: string, { name, key }: Wanted, value: string): Promise<void> {
    const { client } = this.#options;
    const found = this.#informers.get(name)?.get(namespace, name);
    const data = { [key]: value };
    if (found === undefined) {
      try {
        await client.create(configMaps, namespace, { metadata: { name, namespace, labels }, data });
      } catch (error) {
        // A namespace that is going takes nothing new; one that has gone will be reported as such.
        if (isNotFound(error) || (error instanceof KubeError && error.code === 403)) return;
        if (!isAlreadyExists(error)) throw error;
        await client.patch(configMaps, namespace, name, { metadata: { labels }, data }, 'merge');
      }
      return;
    }
    const same =
      found.data?.[key] === value &&
      Object.keys(found.data).length === 1 &&
      found.metadata.labels?.['istio.io/config'] === 'true';
    if (same) return;
    // Keys that somebody added are taken out: null deletes.
    const others = Object.fromEntries(
      Object.keys(found.data ?? {})
        .filter((other) => other !== key)
        .map((other) => [other, null]),
    );
    await client.patch(
      configMaps,
      namespace,
      name,
      { metadata: { labels }, data: { ...others, ...data } },
      'merge',
    );
  }
}
