// Server-side apply: a configuration is what its manager wants, nothing more. Fields it named before and names no
// longer go away unless somebody else owns them; fields of others are a conflict unless it insists.
import { ApiError, badRequest, type Cause } from '../api-error.ts';
import { isObject, type Item, type JsonObject, type ManagedFields } from '../json.ts';
import { groupVersion, type Kind } from '../kinds/kind.ts';
import type { Store } from '../store/store.ts';
import type { Writer } from '../verbs/write.ts';
import type { WriteRequest, Written } from '../verbs/write-request.ts';
import { difference, intersection, isEmpty, paths, union, type FieldSet } from './field-set.ts';
import { byOperationAndTime, entrySet, ownable, type WriteOrigin } from './managed-fields.ts';
import { compare, fieldsOf, merge, removeFields } from './walk.ts';

export interface Applier {
  readonly writer: Writer;
  readonly store: Store;
  readonly request: WriteRequest;
  readonly name: string;
  readonly subresource: string;
  readonly force: boolean;
}

export async function applyPatch(applier: Applier, body: JsonObject): Promise<Written> {
  const { writer, store, request, name, subresource } = applier;
  const { kind, namespace } = request;
  const metadata = body['metadata'];
  if (isObject(metadata) && Array.isArray(metadata['managedFields']) && metadata['managedFields'].length > 0)
    throw badRequest('metadata.managedFields must be nil');
  if (body['apiVersion'] === undefined || body['kind'] === undefined)
    throw badRequest('apiVersion and kind must be set in an applied configuration');
  const text = JSON.stringify(body);
  const decode = (): Item => {
    const config = writer.decode(request, JSON.parse(text) as JsonObject, name);
    keepPart(kind, config, subresource);
    return config;
  };
  const origin: WriteOrigin = {
    manager: request.manager,
    operation: 'Apply',
    apiVersion: groupVersion(kind),
    subresource,
    time: `${new Date().toISOString().slice(0, 19)}Z`,
  };
  if (store.collection(kind.collection).get(namespace, name) === undefined) {
    if (subresource !== '') {
      // There is nothing that could have a status; `update` says so.
      return writer.update(request, name, subresource, (old) => old);
    }
    const config = decode();
    if (config.metadata.uid !== undefined && config.metadata.uid !== '')
      throw new ApiError(
        409,
        'Conflict',
        `uid mismatch: the provided object specified uid ${config.metadata.uid}, and no existing object was found`,
      );
    delete config.metadata.resourceVersion;
    const fields = fieldsOf(ownable(config), kind.schema);
    config.metadata.managedFields = isEmpty(fields) ? [] : [entryOf(origin, fields)];
    return writer.create(request, config, origin);
  }
  return writer.update(
    request,
    name,
    subresource,
    (view) => {
      const live = view;
      kind.convert?.toStorage(live);
      live.apiVersion = kind.storageApiVersion;
      return applied(applier, live, decode(), origin);
    },
    origin,
  );
}

/** A configuration for one part of an object says nothing about the others. */
function keepPart(kind: Kind, config: Item, subresource: string): void {
  if (subresource === 'status') {
    for (const key of Object.keys(config))
      if (!['kind', 'apiVersion', 'metadata', 'status'].includes(key)) delete config[key];
    if (kind.custom !== undefined) {
      const { name, namespace, resourceVersion, uid } = config.metadata;
      config.metadata = {
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
        ...(uid === undefined ? {} : { uid }),
      };
    }
  } else if (kind.subresources.has('status')) delete config.status;
}

const entryOf = (origin: WriteOrigin, fields: FieldSet): ManagedFields => ({
  manager: origin.manager,
  operation: 'Apply',
  apiVersion: origin.apiVersion,
  time: origin.time,
  fieldsType: 'FieldsV1',
  fieldsV1: fields,
  ...(origin.subresource === '' ? {} : { subresource: origin.subresource }),
});

function applied(applier: Applier, live: Item, config: Item, origin: WriteOrigin): Item {
  const { kind } = applier.request;
  const entries = live.metadata.managedFields ?? [];
  const isOwn = (entry: ManagedFields): boolean =>
    entry.operation === 'Apply' &&
    entry.manager === origin.manager &&
    (entry.subresource ?? '') === origin.subresource;
  const own = entries.find(isOwn);
  const others = entries.filter((entry) => !isOwn(entry));
  const before = ownable(live);
  const wanted = ownable(config);
  const fields = fieldsOf(wanted, kind.schema);
  let next = merge(before, wanted, kind.schema);
  const last = own === undefined ? {} : entrySet(own);
  const owned = others.map(entrySet).reduce((all, set) => union(all, set), {});
  const gone = difference(difference(last, fields), owned);
  if (!isEmpty(gone)) next = removeFields(next, gone, union(fields, owned), kind.schema);
  const { added, modified, removed } = compare(before, next, kind.schema);
  const written = union(added, modified);
  // Only what this configuration names can be in conflict: the rest has not changed.
  const conflicts = others.flatMap((entry) => {
    const shared = intersection(entrySet(entry), written);
    return isEmpty(shared) ? [] : [{ entry, shared }];
  });
  if (conflicts.length > 0 && !applier.force) throw conflictError(applier, conflicts);
  const touched = union(written, removed);
  const kept = others.flatMap((entry): ManagedFields[] => {
    const rest = difference(entrySet(entry), touched);
    return isEmpty(rest) ? [] : [{ ...entry, fieldsV1: rest }];
  });
  const result = next as JsonObject;
  const { metadata, ...rest } = result;
  const item: Item = {
    kind: live.kind,
    apiVersion: live.apiVersion,
    ...rest,
    metadata: {
      ...live.metadata,
      // Left out is gone: the live values are in `next`.
      labels: {},
      annotations: {},
      ownerReferences: [],
      finalizers: [],
      ...(isObject(metadata) ? metadata : {}),
      managedFields: [...kept, ...(isEmpty(fields) ? [] : [entryOf(origin, fields)])].sort(
        byOperationAndTime,
      ),
    },
  };
  const { resourceVersion, uid } = config.metadata;
  if (resourceVersion !== undefined && resourceVersion !== '')
    item.metadata.resourceVersion = resourceVersion;
  if (uid !== undefined && uid !== '') item.metadata.uid = uid;
  return item;
}

function conflictError(
  applier: Applier,
  conflicts: readonly { readonly entry: ManagedFields; readonly shared: FieldSet }[],
): ApiError {
  const causes: Cause[] = [];
  const blocks: string[] = [];
  for (const { entry, shared } of conflicts) {
    let who = JSON.stringify(entry.manager ?? '');
    if ((entry.subresource ?? '') !== '') who += ` with subresource ${JSON.stringify(entry.subresource)}`;
    if (entry.operation === 'Update')
      who += ` using ${entry.apiVersion ?? ''}${entry.time === undefined ? '' : ` at ${entry.time}`}`;
    const fields = paths(shared).sort();
    for (const field of fields)
      causes.push({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field });
    blocks.push(
      fields.length === 1
        ? `conflict with ${who}: ${fields[0]}`
        : `conflicts with ${who}:\n${fields.map((field) => `- ${field}`).join('\n')}`,
    );
  }
  const { kind } = applier.request;
  const count = causes.length;
  return new ApiError(
    409,
    'Conflict',
    `Apply failed with ${count} ${count === 1 ? 'conflict' : 'conflicts'}: ${blocks.join('\n')}`,
    { name: applier.name, group: kind.group, kind: kind.plural, causes },
  );
}
