// Secrets and ConfigMaps that other objects refer to: each is followed by itself, for as long as something refers to
// it. What nobody refers to is never read.
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  configMaps,
  Informer,
  secrets,
  type KubeClient,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';
import type { KindOnDemand, SourceObject } from '#/translate/index.ts';

const resources: { readonly [K in KindOnDemand]: Resource<KubeObject> } = {
  Secret: secrets,
  ConfigMap: configMaps,
};

/** Each costs a watch at the API server. */
const maxFollowed = 1000;

export interface ReferencedObjectsOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly onPut: (kind: KindOnDemand, object: SourceObject) => void;
  readonly onGone: (kind: KindOnDemand, key: string) => void;
}

export class ReferencedObjects {
  readonly #options: ReferencedObjectsOptions;
  readonly #followed = new Map<string, AbortController>();
  #signal: AbortSignal | undefined;
  readonly #early: [KindOnDemand, string][] = [];

  constructor(options: ReferencedObjectsOptions) {
    this.#options = options;
  }

  /** From here on objects are followed, until the signal aborts. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    for (const [kind, key] of this.#early.splice(0)) this.needs(kind, key, true);
  }

  /** `key`: `ns/name`. */
  needs(kind: KindOnDemand, key: string, needed: boolean): void {
    const id = `${kind}/${key}`;
    if (!needed) {
      this.#followed.get(id)?.abort();
      if (this.#followed.delete(id)) this.#options.onGone(kind, key);
      return;
    }
    if (this.#signal === undefined) {
      this.#early.push([kind, key]);
      return;
    }
    if (this.#followed.has(id)) return;
    if (this.#followed.size >= maxFollowed) {
      this.#options.log.error(`${id} is not read: more than ${maxFollowed} objects are referred to already`);
      return;
    }
    const [namespace, name] = key.split('/') as [string, string];
    const stop = new AbortController();
    this.#followed.set(id, stop);
    const { client, log, clock = systemClock, onPut, onGone } = this.#options;
    const informer = new Informer(client, resources[kind], {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      log,
      clock,
    });
    const put = (object: KubeObject): void => {
      if (!stop.signal.aborted) onPut(kind, object);
    };
    informer.on('add', put);
    informer.on('update', put);
    informer.on('delete', () => {
      if (!stop.signal.aborted) onGone(kind, key);
    });
    informer.start(AbortSignal.any([stop.signal, this.#signal]));
  }

  get size(): number {
    return this.#followed.size;
  }
}
