// delete and deletecollection: finalizers, grace periods, and what becomes of the objects that are owned.
import { badRequest, conflict, forbidden, notFound } from '../api-error.ts';
import { protobufType, type ProtobufReader } from '../schema/protobuf.ts';
import { isDryRun, managerOf, send, sendValue, warn, type Call } from '../serving/call.ts';
import { asObject, mediaType, parseBody, readBody } from '../serving/body.ts';
import { formatTime, isObject, type Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { viewText } from '../print/view.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import type { Store } from '../store/store.ts';
import { listPage, selectionOf } from './read.ts';
import { type Writer } from './write.ts';
import { eternalNamespaces } from './write-request.ts';

export interface DeleteRequest {
  readonly graceSeconds: number | undefined;
  readonly propagation: 'Background' | 'Foreground' | 'Orphan';
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly dryRun: boolean;
}

export async function deleteRequestOf(call: Call, protobuf: ProtobufReader): Promise<DeleteRequest> {
  const bytes = await readBody(call.request);
  const type = mediaType(call.request);
  const options =
    bytes.length === 0
      ? {}
      : type === protobufType
        ? protobuf.decode(protobuf.envelope(bytes), 'DeleteOptions')
        : asObject(await parseBody(bytes, type));
  const { query } = call;
  const graceText = query.get('gracePeriodSeconds');
  const grace =
    options['gracePeriodSeconds'] ?? (graceText === null || graceText === '' ? undefined : Number(graceText));
  if (
    grace !== undefined &&
    grace !== null &&
    (typeof grace !== 'number' || !Number.isInteger(grace) || grace < 0)
  )
    throw badRequest(
      `gracePeriodSeconds: Invalid value: ${JSON.stringify(grace)}: must be a whole number, not below 0`,
    );
  const orphan = options['orphanDependents'] ?? query.get('orphanDependents');
  const asked =
    options['propagationPolicy'] ??
    query.get('propagationPolicy') ??
    (orphan === true || orphan === 'true' ? 'Orphan' : 'Background');
  if (asked !== 'Background' && asked !== 'Foreground' && asked !== 'Orphan')
    throw badRequest(
      `propagationPolicy: Unsupported value: ${JSON.stringify(asked)}: supported values: "Foreground", "Background", "Orphan"`,
    );
  const preconditions = isObject(options['preconditions']) ? options['preconditions'] : {};
  const uid = preconditions['uid'];
  const resourceVersion = preconditions['resourceVersion'];
  return {
    graceSeconds: typeof grace === 'number' ? grace : undefined,
    propagation: asked,
    uid: typeof uid === 'string' ? uid : undefined,
    resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : undefined,
    dryRun: isDryRun(query, options['dryRun']),
  };
}

/** What has become of the object, and whether it is gone. */
export interface Removed {
  readonly stored: Stored;
  readonly gone: boolean;
}

export function removeObject(
  writer: Writer,
  store: Store,
  kind: Kind,
  before: Stored,
  request: DeleteRequest,
): Removed {
  const { name } = before;
  if (request.uid !== undefined && request.uid !== before.uid)
    throw conflict(
      kind,
      name,
      `Precondition failed: UID in precondition: ${request.uid}, UID in object meta: ${before.uid}`,
    );
  if (request.resourceVersion !== undefined && request.resourceVersion !== String(before.rv))
    throw conflict(
      kind,
      name,
      `Precondition failed: ResourceVersion in precondition: ${request.resourceVersion}, ResourceVersion in object meta: ${before.rv}`,
    );
  if (kind.collection === 'namespaces' && eternalNamespaces.has(name))
    throw forbidden(kind, name, 'this namespace may not be deleted');
  const item = parseStored(before);
  const finalizers = new Set(item.metadata.finalizers ?? []);
  finalizers.delete('orphan');
  finalizers.delete('foregroundDeletion');
  if (request.propagation === 'Orphan') finalizers.add('orphan');
  if (request.propagation === 'Foreground') finalizers.add('foregroundDeletion');
  const grace = kind.rules.grace?.(item, request.graceSeconds) ?? 0;
  const waits = finalizers.size > 0 || grace > 0 || kind.collection === 'namespaces';
  if (!waits) return { stored: request.dryRun ? before : writer.remove(kind, before), gone: true };
  const deleting = item.metadata.deletionTimestamp !== undefined;
  const graceNow = item.metadata.deletionGracePeriodSeconds ?? 0;
  // Said before: only a shorter time or another policy makes a difference.
  if (deleting && grace >= graceNow && sameSet(finalizers, item.metadata.finalizers ?? []))
    return { stored: before, gone: false };
  if (request.dryRun) return { stored: before, gone: false };
  const change = (target: Item): void => {
    const { metadata } = target;
    if (!deleting || grace < graceNow) {
      metadata.deletionTimestamp = formatTime(Date.now() + grace * 1000);
      metadata.deletionGracePeriodSeconds = grace;
    }
    metadata.finalizers = [...finalizers];
    if (metadata.generation !== undefined && !deleting) metadata.generation++;
    if (kind.collection === 'namespaces') target.status = { ...target.status, phase: 'Terminating' };
  };
  const stored = writer.patchStored(kind, before, change);
  return { stored, gone: store.collection(kind.collection).get(before.namespace, before.name) === undefined };
}

const sameSet = (a: ReadonlySet<string>, b: readonly string[]): boolean =>
  a.size === b.length && b.every((entry) => a.has(entry));

async function admit(writer: Writer, call: Call, kind: Kind, before: Stored, dryRun: boolean): Promise<void> {
  const checked = writer.admission?.validate({
    kind,
    namespace: before.namespace,
    name: before.name,
    operation: 'DELETE',
    subresource: '',
    user: call.user,
    dryRun,
    item: undefined,
    old: parseStored(before),
    warn: (text) => warn(call.response, text),
  });
  if (checked !== undefined) await checked;
}

export async function handleDelete(
  call: Call,
  kind: Kind,
  store: Store,
  writer: Writer,
  namespace: string,
  name: string,
  protobuf: ProtobufReader,
): Promise<void> {
  const request = await deleteRequestOf(call, protobuf);
  managerOf(call);
  const collection = store.collection(kind.collection);
  let before = collection.get(namespace, name);
  if (before === undefined) throw notFound(kind, name);
  await admit(writer, call, kind, before, request.dryRun);
  before = collection.get(namespace, name);
  if (before === undefined) throw notFound(kind, name);
  const { stored, gone } = removeObject(writer, store, kind, before, request);
  if (gone && kind.collection !== 'pods') {
    sendValue(call.response, 200, {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: {
        name,
        ...(kind.group === '' ? {} : { group: kind.group }),
        kind: kind.plural,
        uid: before.uid,
      },
    });
    return;
  }
  send(call.response, 200, `${viewText(kind, stored)}\n`);
}

export async function handleDeleteCollection(
  call: Call,
  kind: Kind,
  store: Store,
  writer: Writer,
  namespace: string | undefined,
  protobuf: ProtobufReader,
): Promise<void> {
  const request = await deleteRequestOf(call, protobuf);
  const collection = store.collection(kind.collection);
  const page = listPage(call, collection, store, selectionOf(call, kind, namespace));
  const gone: string[] = [];
  for (const stored of page.items) {
    await admit(writer, call, kind, stored, request.dryRun);
    const before = collection.get(stored.namespace, stored.name);
    if (before === undefined) continue;
    gone.push(viewText(kind, removeObject(writer, store, kind, before, request).stored));
  }
  send(
    call.response,
    200,
    `{"kind":${JSON.stringify(kind.listKind)},"apiVersion":${JSON.stringify(kind.group === '' ? kind.version : `${kind.group}/${kind.version}`)},"metadata":{"resourceVersion":"${store.revision}"},"items":[${gone.join(',')}]}\n`,
  );
}
