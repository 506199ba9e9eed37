// Objects that are owned go with their owners; foreground and orphan deletion wait for that in a finalizer.
import type { Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { parseStored, type Collection, type Stored } from '../store/collection.ts';
import { removeObject } from '../verbs/remove.ts';
import type { ControllerDeps } from './namespaces.ts';

interface Place {
  readonly collection: Collection;
  readonly namespace: string;
  readonly name: string;
}

/** How long an object may name an owner that does not exist: its owner may be on its way, by another client. */
const absentOwnerMs = 5_000;

export class GarbageCollector {
  readonly #deps: ControllerDeps;
  /** Owner's uid → its dependents, by their own uid. */
  readonly #dependents = new Map<string, Map<string, Place>>();
  /** Uids of all objects there are. */
  readonly #alive = new Set<string>();
  readonly #queue = new Set<string>();
  readonly #suspects = new Map<string, Place>();
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: ControllerDeps) {
    this.#deps = deps;
  }

  start(): void {
    const { store } = this.#deps;
    for (const collection of store.collections())
      for (const stored of collection.values()) this.#note(collection, stored, undefined);
    store.onChange((collection, change) => {
      if (change.type === 'DELETED') {
        this.#alive.delete(change.now.uid);
        for (const owner of change.before?.owners ?? []) {
          const dependents = this.#dependents.get(owner);
          dependents?.delete(change.now.uid);
          if (dependents?.size === 0) this.#dependents.delete(owner);
          // An owner that waits in the foreground may be able to go now.
          this.#enqueue(owner);
        }
        this.#enqueue(change.now.uid);
      } else {
        this.#note(collection, change.now, change.before);
        if (change.now.deleting)
          this.#enqueue(change.now.uid, {
            collection,
            namespace: change.now.namespace,
            name: change.now.name,
          });
      }
    });
    for (const collection of store.collections())
      for (const stored of collection.values())
        if (stored.deleting)
          this.#enqueue(stored.uid, { collection, namespace: stored.namespace, name: stored.name });
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  readonly #deleting = new Map<string, Place>();

  #note(collection: Collection, stored: Stored, before: Stored | undefined): void {
    this.#alive.add(stored.uid);
    if (stored.owners === undefined && before?.owners === undefined) return;
    const place: Place = { collection, namespace: stored.namespace, name: stored.name };
    for (const owner of before?.owners ?? []) {
      if (stored.owners?.includes(owner) === true) continue;
      this.#dependents.get(owner)?.delete(stored.uid);
      this.#enqueue(owner);
    }
    for (const owner of stored.owners ?? []) {
      let dependents = this.#dependents.get(owner);
      if (dependents === undefined) this.#dependents.set(owner, (dependents = new Map()));
      dependents.set(stored.uid, place);
      if (!this.#alive.has(owner)) this.#suspect(owner, place);
    }
  }

  #suspect(owner: string, place: Place): void {
    this.#suspects.set(owner, place);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const owners = [...this.#suspects.keys()];
      this.#suspects.clear();
      for (const uid of owners) if (!this.#alive.has(uid)) this.#enqueue(uid);
    }, absentOwnerMs);
    this.#timer.unref();
  }

  #enqueue(uid: string, place?: Place): void {
    if (place !== undefined) this.#deleting.set(uid, place);
    else if (!this.#dependents.has(uid) && !this.#deleting.has(uid)) return;
    this.#queue.add(uid);
    if (this.#running || this.#stopped) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    try {
      await nextTurn();
      for (let count = 1; this.#queue.size > 0 && !this.#stopped; count++) {
        const uid = this.#queue.values().next().value as string;
        this.#queue.delete(uid);
        try {
          this.#process(uid);
        } catch (error) {
          this.#deps.log.warn(`garbage collection of what ${uid} owns: ${String(error)}`);
        }
        if (count % 100 === 0) await nextTurn();
      }
    } finally {
      this.#running = false;
    }
  }

  #process(uid: string): void {
    if (this.#alive.has(uid)) {
      this.#owner(uid);
      return;
    }
    this.#deleting.delete(uid);
    for (const place of this.#dependentsOf(uid)) this.#release(place, uid, false);
  }

  /** An owner that is being deleted and has asked us to do something first. */
  #owner(uid: string): void {
    const place = this.#deleting.get(uid);
    if (place === undefined) return;
    const stored = place.collection.get(place.namespace, place.name);
    if (stored === undefined || stored.uid !== uid || !stored.deleting) {
      this.#deleting.delete(uid);
      return;
    }
    const finalizers = parseStored(stored).metadata.finalizers ?? [];
    const dependents = this.#dependentsOf(uid);
    if (finalizers.includes('orphan')) {
      for (const dependent of dependents) this.#disown(dependent, uid);
      this.#dropFinalizer(place, 'orphan');
    } else if (finalizers.includes('foregroundDeletion')) {
      let blocked = false;
      for (const dependent of dependents) {
        const found = dependent.collection.get(dependent.namespace, dependent.name);
        if (found === undefined) continue;
        this.#release(dependent, uid, true);
        const now = dependent.collection.get(dependent.namespace, dependent.name);
        const owner =
          now === undefined
            ? undefined
            : parseStored(now).metadata.ownerReferences?.find((entry) => entry.uid === uid);
        if (owner?.blockOwnerDeletion === true) blocked = true;
      }
      if (!blocked) this.#dropFinalizer(place, 'foregroundDeletion');
    }
  }

  /** Deletes a dependent, unless another of its owners lives. */
  #release(place: Place, owner: string, foreground: boolean): void {
    const { registry, store, writer } = this.#deps;
    const stored = place.collection.get(place.namespace, place.name);
    const kind = registry.ofCollection(place.collection.name);
    if (stored?.owners?.includes(owner) !== true || kind === undefined) return;
    const others = stored.owners.filter(
      (uid) => uid !== owner && this.#alive.has(uid) && !this.#deleting.has(uid),
    );
    if (others.length > 0) {
      this.#disown(place, owner);
      return;
    }
    if (stored.deleting) return;
    removeObject(writer, store, kind, stored, {
      graceSeconds: undefined,
      propagation: foreground && this.#dependents.has(stored.uid) ? 'Foreground' : 'Background',
      uid: stored.uid,
      resourceVersion: undefined,
      dryRun: false,
    });
  }

  /** A copy: they go while one works through them. */
  #dependentsOf(uid: string): Place[] {
    return [...(this.#dependents.get(uid)?.values() ?? [])];
  }

  #disown(place: Place, owner: string): void {
    this.#change(place, (item) => {
      item.metadata.ownerReferences = (item.metadata.ownerReferences ?? []).filter(
        (entry) => entry.uid !== owner,
      );
    });
  }

  #dropFinalizer(place: Place, finalizer: string): void {
    this.#change(place, (item) => {
      item.metadata.finalizers = (item.metadata.finalizers ?? []).filter((entry) => entry !== finalizer);
    });
  }

  #change(place: Place, change: (item: Item) => void): void {
    const stored = place.collection.get(place.namespace, place.name);
    const kind: Kind | undefined = this.#deps.registry.ofCollection(place.collection.name);
    if (stored !== undefined && kind !== undefined) this.#deps.writer.patchStored(kind, stored, change);
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
