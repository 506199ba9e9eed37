// All objects of one kind in memory, as JSON text with the few fields that look-ups need. A list answer is then a
// join of texts, an event is one text for all watchers, and 100 000 pods take a third of what parsed objects would.
import type { Item } from '../json.ts';
import { EventLog, type Change, type EventLogLimits } from './event-log.ts';

export interface Stored {
  /** Row in the database. */
  readonly id: number;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly rv: number;
  /** As the API shows it, in the storage version, beginning with kind and apiVersion. */
  readonly json: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
  /** Values of the fields that selectors may use. */
  readonly fields: Readonly<Record<string, string>>;
  /** Uids of its owners. */
  readonly owners: readonly string[] | undefined;
  readonly deleting: boolean;
}

export const parseStored = (stored: Stored): Item => JSON.parse(stored.json) as Item;

/** No name contains it and it sorts before all that they contain, so a namespace is one range of keys. */
const divider = '\u0000';

export const keyOf = (namespace: string, name: string): string => `${namespace}${divider}${name}`;

export class Collection {
  /** `pods`, `deployments.apps` */
  readonly name: string;
  readonly log: EventLog;
  /** The fields besides metadata.name and metadata.namespace that selectors may use: path → value. */
  selectable: (item: Item) => Readonly<Record<string, string>> = () => ({});
  readonly #byKey = new Map<string, Stored>();
  /** Sorted, for lists in pages. Made when somebody lists. */
  #keys: string[] = [];
  #sorted = true;
  readonly #listeners = new Set<() => void>();

  constructor(name: string, floor: number, limits: EventLogLimits) {
    this.name = name;
    this.log = new EventLog(floor, limits);
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(namespace: string, name: string): Stored | undefined {
    return this.#byKey.get(keyOf(namespace, name));
  }

  values(): MapIterator<Stored> {
    return this.#byKey.values();
  }

  /** In the order of namespace and name: those of one namespace, or all; from after a key on. */
  *inOrder(namespace: string | undefined, after = ''): Generator<Stored> {
    const keys = this.#sortedKeys();
    const prefix = namespace === undefined ? '' : `${namespace}${divider}`;
    for (let i = lowerBound(keys, after > prefix ? after : prefix); i < keys.length; i++) {
      const key = keys[i] as string;
      if (key === after) continue;
      if (!key.startsWith(prefix)) return;
      yield this.#byKey.get(key) as Stored;
    }
  }

  /** A copy of what `inOrder` gives, for those who change the collection on the way. */
  list(namespace: string | undefined): Stored[] {
    return [...this.inOrder(namespace)];
  }

  /** For loading, before anyone listens. */
  load(stored: Stored): void {
    this.#set(stored);
  }

  /** Makes a change that is on disk visible. */
  commit(change: Change): void {
    const { now } = change;
    if (change.type === 'DELETED') {
      const key = keyOf(now.namespace, now.name);
      this.#byKey.delete(key);
      if (this.#sorted) {
        const index = lowerBound(this.#keys, key);
        if (this.#keys[index] === key) this.#keys.splice(index, 1);
      }
    } else this.#set(now);
    this.log.push(change);
    for (const listener of this.#listeners) listener();
  }

  /** `listener` is told that there is something new in the log. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  get watchers(): number {
    return this.#listeners.size;
  }

  #set(stored: Stored): void {
    const key = keyOf(stored.namespace, stored.name);
    const isNew = !this.#byKey.has(key);
    this.#byKey.set(key, stored);
    if (!isNew) return;
    if (this.#sorted && this.#keys.length > 0) {
      const last = this.#keys[this.#keys.length - 1] as string;
      if (key > last) this.#keys.push(key);
      else this.#keys.splice(lowerBound(this.#keys, key), 0, key);
    } else if (this.#sorted) this.#keys.push(key);
  }

  #sortedKeys(): readonly string[] {
    if (!this.#sorted) {
      this.#keys = [...this.#byKey.keys()].sort();
      this.#sorted = true;
    }
    return this.#keys;
  }

  /** While many objects are loaded the order is not kept up. */
  unsort(): void {
    this.#sorted = false;
    this.#keys = [];
  }
}

/** The first index whose key is not below `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
