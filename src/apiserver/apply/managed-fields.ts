// Who owns which field: metadata.managedFields, kept at every write.
import { equal, isObject, type Item, type JsonObject, type ManagedFields } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { difference, isEmpty, union, type FieldSet } from './field-set.ts';
import { compare } from './walk.ts';

export interface WriteOrigin {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  /** Of the request. */
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
}

/** As upstream: more updaters than this are merged, the oldest first. */
const maxUpdaters = 10;
const ancient = 'ancient-changes';

/** The parts of an object that may have owners. */
export function ownable(item: Item): JsonObject {
  const { metadata, kind: _kind, apiVersion: _apiVersion, ...rest } = item;
  const meta: JsonObject = {};
  for (const key of ['labels', 'annotations', 'ownerReferences', 'finalizers', 'generateName'] as const) {
    const value = metadata[key] as unknown as JsonObject | undefined;
    if (value !== undefined && key !== 'generateName') meta[key] = value;
  }
  const out: JsonObject = {};
  if (Object.keys(meta).length > 0) out['metadata'] = meta;
  for (const key of Object.keys(rest)) if (rest[key] !== undefined) out[key] = rest[key] as JsonObject;
  return out;
}

export const entrySet = (entry: ManagedFields): FieldSet => (isObject(entry.fieldsV1) ? entry.fieldsV1 : {});

/** What the writer says about owners, unless that is nothing; `[{}]` says that there are none. */
export function baseEntries(item: Item, old: Item | undefined): ManagedFields[] {
  const said = item.metadata.managedFields;
  if (said === undefined || said.length === 0) return old?.metadata.managedFields ?? [];
  return said.filter((entry) => entry.manager !== undefined && isObject(entry.fieldsV1));
}

/** Sets `item.metadata.managedFields` for a write that is not an apply. */
export function trackFields(kind: Kind, old: Item | undefined, item: Item, origin: WriteOrigin): void {
  if (origin.operation === 'Apply') return;
  const base = baseEntries(item, old);
  const before = old === undefined ? {} : ownable(old);
  const { added, modified, removed } = compare(before, ownable(item), kind.schema);
  const written = union(added, modified);
  // What the server itself fills in at the creation is for whoever writes the status to own.
  if (origin.subresource !== 'status' && kind.subresources.has('status')) delete written['f:status'];
  if (isEmpty(written) && isEmpty(removed)) {
    item.metadata.managedFields = base;
    return;
  }
  const touched = union(written, removed);
  const out: ManagedFields[] = [];
  let own: ManagedFields | undefined;
  for (const entry of base) {
    if (
      own === undefined &&
      entry.manager === origin.manager &&
      entry.operation === 'Update' &&
      entry.apiVersion === origin.apiVersion &&
      (entry.subresource ?? '') === origin.subresource
    ) {
      own = entry;
      continue;
    }
    const rest = difference(entrySet(entry), touched);
    if (!isEmpty(rest)) out.push({ ...entry, fieldsV1: rest });
  }
  const mine = union(difference(own === undefined ? {} : entrySet(own), removed), written);
  if (!isEmpty(mine)) {
    const entry: ManagedFields = {
      manager: origin.manager,
      operation: 'Update',
      apiVersion: origin.apiVersion,
      time: origin.time,
      fieldsType: 'FieldsV1',
      fieldsV1: mine,
      ...(origin.subresource === '' ? {} : { subresource: origin.subresource }),
    };
    // What says the same as before keeps its time.
    out.push(own !== undefined && equal(own.fieldsV1, mine) && isEmpty(modified) ? own : entry);
  }
  item.metadata.managedFields = capped(out).sort(byOperationAndTime);
}

/** Appliers first, then by time. */
export function byOperationAndTime(a: ManagedFields, b: ManagedFields): number {
  if (a.operation !== b.operation) return a.operation === 'Apply' ? -1 : 1;
  if ((a.time ?? '') !== (b.time ?? '')) return (a.time ?? '') < (b.time ?? '') ? -1 : 1;
  const left = a.manager ?? '';
  const right = b.manager ?? '';
  return left < right ? -1 : left > right ? 1 : 0;
}

function capped(entries: readonly ManagedFields[]): ManagedFields[] {
  const updaters = entries.filter((entry) => entry.operation === 'Update').sort(byOperationAndTime);
  if (updaters.length <= maxUpdaters) return [...entries];
  const old = updaters.slice(0, updaters.length - maxUpdaters + 1);
  const last = old[old.length - 1] as ManagedFields;
  const { subresource: _subresource, ...plain } = last;
  const merged: ManagedFields = {
    ...plain,
    manager: ancient,
    fieldsV1: old.map(entrySet).reduce((all, set) => union(all, set), {}),
  };
  return [...entries.filter((entry) => !old.includes(entry)), merged];
}
