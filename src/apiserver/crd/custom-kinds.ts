// Kinds that come and go with CustomResourceDefinitions, and the definitions that are there from the start.
import { createHash } from 'node:crypto';
import type { Item, JsonObject } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { serverRequest, type ControllerDeps } from '../controllers/namespaces.ts';
import type { Schema } from '../schema/schema.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import { removeObject } from '../verbs/remove.ts';
import { defaultDefinitions } from './default-definitions.ts';
import { kindsOf } from './definition.ts';
import { cleanup, defaultMark, isUntouched, specHash } from './definition-rules.ts';

const collectionName = 'customresourcedefinitions.apiextensions.k8s.io';

export class CustomKinds {
  readonly #deps: ControllerDeps;
  readonly #metadata: Schema;
  /** By the definition's name. */
  readonly #kinds = new Map<string, readonly Kind[]>();
  readonly #emptying = new Set<string>();

  constructor(deps: ControllerDeps, types: ReadonlyMap<string, Schema>) {
    this.#deps = deps;
    this.#metadata = types.get('ObjectMeta') as Schema;
  }

  /** Serves what is stored, then adds the default definitions that are missing or have become older than ours. */
  async start(): Promise<void> {
    const { store, registry, writer } = this.#deps;
    const collection = store.collection(collectionName);
    for (const stored of collection.list(undefined)) this.#serve(stored);
    store.onChange((changed, change) => {
      if (changed === collection) {
        if (change.type === 'DELETED') this.#withdraw(change.now.name);
        else this.#serve(change.now);
      }
    });
    const kind = registry.get('apiextensions.k8s.io', 'v1', 'customresourcedefinitions') as Kind;
    const ours = defaultDefinitions();
    const hash = createHash('sha256').update(JSON.stringify(ours)).digest('hex').slice(0, 16);
    const mark = (name: string): void => {
      const stored = collection.get('', name);
      if (stored === undefined) return;
      writer.patchStored(kind, stored, (item) => {
        item.metadata.annotations = {
          ...item.metadata.annotations,
          [defaultMark]: `${hash} ${specHash(item)}`,
        };
      });
    };
    for (const item of ours) {
      const { name } = item.metadata;
      const stored = collection.get('', name);
      if (stored === undefined) {
        await writer.create(serverRequest(kind, ''), item);
        mark(name);
        continue;
      }
      // One that somebody has changed is theirs from then on.
      const current = parseStored(stored);
      if (!isUntouched(current) || current.metadata.annotations?.[defaultMark]?.startsWith(hash) === true)
        continue;
      await writer.update(serverRequest(kind, ''), name, '', (old) => ({
        ...old,
        spec: item.spec as JsonObject,
      }));
      mark(name);
    }
  }

  #serve(stored: Stored): void {
    const { registry, store, log } = this.#deps;
    const item = parseStored(stored);
    if (stored.deleting) this.#empty(stored.name, item);
    const before = this.#kinds.get(stored.name) ?? [];
    try {
      const kinds = kindsOf(item, this.#metadata);
      this.#kinds.set(stored.name, kinds);
      registry.replace(before, kinds);
      const first = kinds[0];
      if (first?.rules.selectable !== undefined)
        store.collection(first.collection).selectable = first.rules.selectable;
    } catch (error) {
      log.error(`the definition ${stored.name} cannot be served: ${String(error)}`);
    }
  }

  #withdraw(name: string): void {
    const kinds = this.#kinds.get(name) ?? [];
    this.#kinds.delete(name);
    this.#deps.registry.replace(kinds, []);
  }

  /** A definition that goes takes its objects with it. */
  #empty(name: string, item: Item): void {
    if (!(item.metadata.finalizers ?? []).includes(cleanup) || this.#emptying.has(name)) return;
    this.#emptying.add(name);
    setImmediate(() => {
      this.#emptying.delete(name);
      const { store, registry, writer } = this.#deps;
      const definitions = store.collection(collectionName);
      const stored = definitions.get('', name);
      const kind = this.#kinds.get(name)?.[0];
      if (stored === undefined) return;
      if (kind !== undefined) {
        const objects = store.collection(kind.collection);
        for (const object of objects.list(undefined)) {
          const now = objects.get(object.namespace, object.name);
          if (now === undefined || now.deleting) continue;
          removeObject(writer, store, kind, now, {
            graceSeconds: undefined,
            propagation: 'Background',
            uid: undefined,
            resourceVersion: undefined,
            dryRun: false,
          });
        }
        if (objects.size > 0) {
          // Their finalizers are somebody's work; look again later.
          setTimeout(() => this.#empty(name, item), 1000).unref();
          return;
        }
      }
      const own = registry.get('apiextensions.k8s.io', 'v1', 'customresourcedefinitions') as Kind;
      writer.patchStored(own, stored, (target) => {
        target.metadata.finalizers = (target.metadata.finalizers ?? []).filter((entry) => entry !== cleanup);
      });
    });
  }
}
