// What a cluster's controllers do for namespaces: what each one has from its start, and how one goes away.
import { systemClock, type Logger } from '#/kit/index.ts';
import { formatTime, type Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Registry } from '../kinds/registry.ts';
import type { Collection, Stored } from '../store/collection.ts';
import type { Store } from '../store/store.ts';
import { removeObject } from '../verbs/remove.ts';
import type { Writer } from '../verbs/write.ts';
import type { WriteRequest } from '../verbs/write-request.ts';

export interface ControllerDeps {
  readonly store: Store;
  readonly registry: Registry;
  readonly writer: Writer;
  readonly log: Logger;
}

const systemNamespaces = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

export const serverUser = { name: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] };

export function serverRequest(kind: Kind, namespace: string): WriteRequest {
  return {
    kind,
    namespace,
    user: serverUser,
    manager: 'aura-apiserver',
    dryRun: false,
    fieldValidation: 'Ignore',
    warn: () => {},
  };
}

/** Objects deleted in one turn of a namespace's end, so that other requests get theirs. */
const batch = 200;

export class NamespaceController {
  readonly #deps: ControllerDeps;
  readonly #ca: string;
  readonly #ending = new Set<string>();
  readonly #starting = new Set<string>();

  /** `ca` is put into each namespace, for pods that verify the API server. */
  constructor(deps: ControllerDeps, ca: string) {
    this.#deps = deps;
    this.#ca = ca;
  }

  async start(): Promise<void> {
    const { store, registry, writer } = this.#deps;
    const kind = registry.ofCollection('namespaces') as Kind;
    store.onChange((collection, change) => {
      if (collection.name === 'namespaces') {
        if (change.type === 'DELETED') this.#starting.delete(change.now.name);
        else this.#look(change.now);
      } else if (change.type === 'DELETED' && change.now.namespace !== '') {
        // What kept a namespace from going may have gone; its account and authority come back if deleted.
        const namespace = store.collection('namespaces').get('', change.now.namespace);
        if (namespace?.deleting === true) this.#end(change.now.namespace);
        else if (
          namespace !== undefined &&
          (collection.name === 'serviceaccounts' || collection.name === 'configmaps')
        )
          this.#furnish(namespace.name);
      }
    });
    for (const name of systemNamespaces) {
      if (store.collection('namespaces').get('', name) !== undefined) continue;
      const item: Item = { kind: 'Namespace', apiVersion: 'v1', metadata: { name } };
      await writer.create(serverRequest(kind, ''), item);
    }
    for (const stored of store.collection('namespaces').list(undefined)) this.#look(stored);
  }

  #look(namespace: Stored): void {
    if (namespace.deleting) this.#end(namespace.name);
    else this.#furnish(namespace.name);
  }

  /** The `default` account and the certificate authority. */
  #furnish(namespace: string): void {
    if (this.#starting.has(namespace)) return;
    this.#starting.add(namespace);
    // After the write that is under way has been answered to its watchers.
    queueMicrotask(() => {
      this.#starting.delete(namespace);
      const { store, registry, writer, log } = this.#deps;
      if (store.collection('namespaces').get('', namespace)?.deleting !== false) return;
      const make = (plural: string, item: Item): void => {
        const kind = registry.ofCollection(plural);
        if (kind === undefined || store.collection(plural).get(namespace, item.metadata.name) !== undefined)
          return;
        writer.create(serverRequest(kind, namespace), item).catch((error: unknown) => {
          log.warn(`namespace ${namespace}: ${plural}/${item.metadata.name} was not made: ${String(error)}`);
        });
      };
      make('serviceaccounts', {
        kind: 'ServiceAccount',
        apiVersion: 'v1',
        metadata: { name: 'default', namespace },
      });
      make('configmaps', {
        kind: 'ConfigMap',
        apiVersion: 'v1',
        metadata: {
          name: 'kube-root-ca.crt',
          namespace,
          annotations: {
            'kubernetes.io/description': 'The certificate authority of the API server, for pods.',
          },
        },
        data: { 'ca.crt': this.#ca },
      });
    });
  }

  #end(namespace: string): void {
    if (this.#ending.has(namespace)) return;
    this.#ending.add(namespace);
    void this.#empty(namespace)
      .catch((error: unknown) =>
        this.#deps.log.warn(`namespace ${namespace} could not be emptied: ${String(error)}`),
      )
      .finally(() => this.#ending.delete(namespace));
  }

  async #empty(namespace: string): Promise<void> {
    const { store, registry, writer } = this.#deps;
    await nextTurn();
    // Twice: what goes may make something else (an event) on its way.
    for (let round = 0; round < 2; round++) {
      for (const collection of store.collections()) {
        const kind = registry.ofCollection(collection.name);
        if (kind?.namespaced !== true) continue;
        await this.#emptyCollection(collection, kind, namespace);
      }
    }
    const left = store.collections().flatMap((collection) => {
      const [first] = collection.inOrder(namespace);
      return first === undefined || registry.ofCollection(collection.name)?.namespaced !== true
        ? []
        : [collection.name];
    });
    const stored = store.collection('namespaces').get('', namespace);
    if (stored === undefined || !stored.deleting) return;
    const kind = registry.ofCollection('namespaces') as Kind;
    if (left.length === 0) {
      writer.patchStored(kind, stored, (item) => {
        const finalizers = item.spec?.['finalizers'];
        const others = Array.isArray(finalizers) ? finalizers.filter((entry) => entry !== 'kubernetes') : [];
        item.spec = { ...item.spec, finalizers: others };
      });
      return;
    }
    const message = `Some resources are remaining: ${left.join(', ')}`;
    const known = store.collection('namespaces').get('', namespace);
    if (known === undefined || known.json.includes(JSON.stringify(message))) return;
    writer.patchStored(kind, known, (item) => {
      item.status = {
        ...item.status,
        phase: 'Terminating',
        conditions: [
          {
            type: 'NamespaceContentRemaining',
            status: 'True',
            reason: 'SomeResourcesRemain',
            message,
            lastTransitionTime: formatTime(systemClock.now()),
          },
        ],
      };
    });
  }

  async #emptyCollection(collection: Collection, kind: Kind, namespace: string): Promise<void> {
    const { store, writer } = this.#deps;
    let count = 0;
    for (const { name } of collection.list(namespace)) {
      const stored = collection.get(namespace, name);
      if (stored === undefined) continue;
      removeObject(writer, store, kind, stored, {
        graceSeconds: undefined,
        propagation: 'Background',
        uid: undefined,
        resourceVersion: undefined,
        dryRun: false,
      });
      if (++count % batch === 0) await nextTurn();
    }
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
