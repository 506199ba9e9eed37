// A collection as it was at an earlier revision, for lists in pages: the present, with the changes since then undone.
import { keyOf, type Collection, type Stored } from './collection.ts';

/** In order, from after a key on. Undefined if the log no longer reaches back to `rv`. */
export function snapshotAt(
  collection: Collection,
  rv: number,
  namespace: string | undefined,
  after: string,
): Generator<Stored> | undefined {
  const { log } = collection;
  const from = log.after(rv);
  if (from === undefined) return undefined;
  if (from === log.next) return collection.inOrder(namespace, after);
  const undone = new Map<string, Stored | undefined>();
  for (let n = from; n < log.next; n++) {
    const change = log.at(n);
    if (change === undefined) continue;
    const key = keyOf(change.now.namespace, change.now.name);
    if (!undone.has(key)) undone.set(key, change.before);
  }
  return merge(collection, undone, namespace, after);
}

function* merge(
  collection: Collection,
  undone: ReadonlyMap<string, Stored | undefined>,
  namespace: string | undefined,
  after: string,
): Generator<Stored> {
  const restored = [...undone]
    .filter((entry): entry is [string, Stored] => {
      const [key, before] = entry;
      return (
        before !== undefined && key > after && (namespace === undefined || before.namespace === namespace)
      );
    })
    .sort(([a], [b]) => (a < b ? -1 : 1));
  let next = 0;
  for (const stored of collection.inOrder(namespace, after)) {
    const key = keyOf(stored.namespace, stored.name);
    while (next < restored.length && (restored[next] as [string, Stored])[0] < key)
      yield (restored[next++] as [string, Stored])[1];
    if (!undone.has(key)) yield stored;
  }
  while (next < restored.length) yield (restored[next++] as [string, Stored])[1];
}
