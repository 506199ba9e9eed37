// All collections, the one count of revisions, and the order in which a write happens: disk, memory, watchers.
import { isObject, type Item, type JsonObject } from '../json.ts';
import { Collection, type Stored } from './collection.ts';
import type { Change, EventLogLimits } from './event-log.ts';
import type { Persistence } from './persistence.ts';

export type StoreListener = (collection: Collection, change: Change) => void;

const defaultLimits: EventLogLimits = { entries: 20_000, size: 48 * 1024 * 1024 };

export class Store {
  readonly #persistence: Persistence;
  readonly #limits: EventLogLimits;
  readonly #collections = new Map<string, Collection>();
  readonly #listeners: StoreListener[] = [];
  #revision: number;

  constructor(persistence: Persistence, limits: EventLogLimits = defaultLimits) {
    this.#persistence = persistence;
    this.#limits = limits;
    this.#revision = persistence.revision();
  }

  /** The revision of the latest write. */
  get revision(): number {
    return this.#revision;
  }

  /** Made on first use. */
  collection(name: string): Collection {
    let found = this.#collections.get(name);
    if (found === undefined) {
      // What happened before this process began is not in the log, except that nothing has happened since.
      found = new Collection(name, this.#revision, this.#limits);
      this.#collections.set(name, found);
    }
    return found;
  }

  /** Those there are now; others may be made while one works through them. */
  collections(): Collection[] {
    return [...this.#collections.values()];
  }

  /** Reads what is on disk. `prepare` is told each collection's name before its first object. */
  load(prepare: (collection: Collection) => void): void {
    for (const row of this.#persistence.load()) {
      let collection = this.#collections.get(row.collection);
      if (collection === undefined) {
        collection = this.collection(row.collection);
        prepare(collection);
      }
      if (collection.size === 0) collection.unsort();
      collection.load(index(collection, JSON.parse(row.json) as Item, row.json, row.id, row.rv));
    }
  }

  /** Called in the same turn as the write, after it is on disk and before the client is answered. */
  onChange(listener: StoreListener): void {
    this.#listeners.push(listener);
  }

  /** Writes a new object. Its resourceVersion is set here. The caller has checked that there is none. */
  create(collection: Collection, item: Item): Stored {
    const rv = this.#revision + 1;
    const json = serialize(item, rv);
    const id = this.#persistence.insert(collection.name, rv, json);
    return this.#commit(collection, 'ADDED', index(collection, item, json, id, rv), undefined);
  }

  update(collection: Collection, old: Stored, item: Item): Stored {
    const rv = this.#revision + 1;
    const json = serialize(item, rv);
    this.#persistence.update(old.id, rv, json);
    return this.#commit(collection, 'MODIFIED', index(collection, item, json, old.id, rv), old);
  }

  /** Removes an object; gives its last state, with the revision of the removal. */
  remove(collection: Collection, old: Stored, item: Item): Stored {
    const rv = this.#revision + 1;
    const json = serialize(item, rv);
    this.#persistence.remove(old.id, rv);
    return this.#commit(collection, 'DELETED', index(collection, item, json, old.id, rv), old);
  }

  #commit(collection: Collection, type: Change['type'], now: Stored, before: Stored | undefined): Stored {
    this.#revision = now.rv;
    const change: Change = { rv: now.rv, type, now, before };
    collection.commit(change);
    for (const listener of this.#listeners) listener(collection, change);
    return now;
  }
}

const metaOrder = [
  'name',
  'generateName',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'ownerReferences',
  'finalizers',
  'managedFields',
];

/** JSON with kind and apiVersion first (revision 0: without one): other versions of a kind are shown by changing only that beginning. */
export function serialize(item: Item, rv: number): string {
  const { kind, apiVersion, metadata, spec, status, ...rest } = item;
  const meta = metadata as unknown as JsonObject;
  const ordered: JsonObject = {};
  for (const key of metaOrder) {
    const value = key === 'resourceVersion' ? (rv === 0 ? undefined : String(rv)) : meta[key];
    if (value !== undefined && value !== null && !isEmpty(value)) ordered[key] = value;
  }
  item.metadata = ordered as unknown as Item['metadata'];
  return JSON.stringify({
    kind,
    apiVersion,
    metadata: ordered,
    ...(spec === undefined ? {} : { spec }),
    ...rest,
    ...(status === undefined ? {} : { status }),
  });
}

const isEmpty = (value: unknown): boolean =>
  value === '' ||
  (Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0);

function index(collection: Collection, item: Item, json: string, id: number, rv: number): Stored {
  const { metadata } = item;
  const owners = metadata.ownerReferences?.map((owner) => owner.uid);
  return {
    id,
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    uid: metadata.uid ?? '',
    rv,
    json,
    labels: metadata.labels,
    fields: collection.selectable(item),
    owners: owners === undefined || owners.length === 0 ? undefined : owners,
    deleting: metadata.deletionTimestamp !== undefined,
  };
}
