// What is to be known of an object between two writes: is it over, has it changed, what would be stored.
import { equal, type Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import type { Stored } from '../store/collection.ts';
import { serialize } from '../store/store.ts';

/** An object that is being deleted, for which nobody asks to wait any more. */
export function isFinished(kind: Kind, item: Item): boolean {
  const { metadata } = item;
  if (metadata.deletionTimestamp === undefined || (metadata.finalizers ?? []).length > 0) return false;
  if ((metadata.deletionGracePeriodSeconds ?? 0) > 0) return false;
  if (kind.collection === 'namespaces') {
    const finalizers = item.spec?.['finalizers'];
    return !Array.isArray(finalizers) || finalizers.length === 0;
  }
  return true;
}

/** Equal but for the times in managedFields. */
export function sameObject(old: Item, item: Item): boolean {
  const { metadata: oldMeta, ...oldRest } = old;
  const { metadata: newMeta, ...newRest } = item;
  const strip = (meta: Item['metadata']): unknown => {
    const {
      managedFields,
      resourceVersion: _rv,
      ...rest
    } = meta as Item['metadata'] & Record<string, unknown>;
    for (const key of Object.keys(rest)) {
      const value = (rest as Record<string, unknown>)[key];
      if (
        value === undefined ||
        value === '' ||
        (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
      )
        delete (rest as Record<string, unknown>)[key];
    }
    return { ...rest, managedFields: (managedFields ?? []).map(({ time: _time, ...entry }) => entry) };
  };
  const defined = (rest: Record<string, unknown>): Record<string, unknown> =>
    Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return equal(defined(oldRest), defined(newRest)) && equal(strip(oldMeta), strip(newMeta));
}

/** For answers to dry runs: what would have been stored. */
export function unsaved(item: Item, rv: number): Stored {
  return {
    id: 0,
    namespace: item.metadata.namespace ?? '',
    name: item.metadata.name,
    uid: item.metadata.uid ?? '',
    rv,
    json: serialize(item, rv),
    labels: item.metadata.labels,
    fields: {},
    owners: undefined,
    deleting: item.metadata.deletionTimestamp !== undefined,
  };
}
