// One request on an object or a list of objects: chooses the verb, reads the body, calls it.
import { ApiError, badRequest, methodNotAllowed, unsupportedMediaType } from '../api-error.ts';
import { applyPatch, type Applier } from '../apply/apply.ts';
import type { Tokens } from '../auth/tokens.ts';
import { isObject, type Item, type Json, type JsonObject } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { applyMergePatch } from '../patch/merge-patch.ts';
import { applyStrategicPatch } from '../patch/strategic.ts';
import { protobufType, type ProtobufReader } from '../schema/protobuf.ts';
import type { Schema } from '../schema/schema.ts';
import type { Store } from '../store/store.ts';
import { handleGet, handleList, sendObject } from '../verbs/read.ts';
import { handleDelete, handleDeleteCollection } from '../verbs/remove.ts';
import { handleReview } from '../verbs/reviews.ts';
import {
  bindPod,
  evictPod,
  finalizeNamespace,
  issueToken,
  scaleOf,
  writeScale,
} from '../verbs/subresources.ts';
import { handleWatch, type WatchLimits } from '../verbs/watch.ts';
import type { Writer } from '../verbs/write.ts';
import type { WriteRequest } from '../verbs/write-request.ts';
import { viewItem } from '../print/view.ts';
import { asObject, mediaType, parseBody, readBody } from './body.ts';
import { flag, isDryRun, managerOf, sendValue, warn, type Call } from './call.ts';
import { requireName, type Route } from './router.ts';

export interface Services {
  readonly store: Store;
  readonly writer: Writer;
  readonly tokens: Tokens;
  readonly types: ReadonlyMap<string, Schema>;
  readonly protobuf: ProtobufReader;
  readonly stopping: AbortSignal;
  /** The kind of pods, for bindings that are posted to their own path. */
  readonly pods: Kind;
  readonly watchLimits: WatchLimits;
  /** log, exec, attach, portforward. */
  podStream(call: Call, namespace: string, name: string, subresource: string): Promise<void>;
}

function writeRequest(call: Call, kind: Kind, namespace: string): WriteRequest {
  const validation = call.query.get('fieldValidation') ?? '';
  // As upstream: who does not ask is warned.
  if (validation !== '' && validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore')
    throw badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  return {
    kind,
    namespace,
    user: call.user,
    manager: managerOf(call),
    dryRun: isDryRun(call.query),
    fieldValidation: validation === '' ? 'Warn' : validation,
    warn: (text) => warn(call.response, text),
  };
}

/** The types of bodies that are not of the kind in the path. */
const otherTypes: Readonly<Record<string, string>> = {
  DeleteOptions: 'DeleteOptions',
  Eviction: 'Eviction',
  Binding: 'Binding',
  Scale: 'Scale',
  TokenRequest: 'AuthenticationV1TokenRequest',
};

async function bodyOf(call: Call, kind: Kind, services: Services): Promise<JsonObject> {
  const bytes = await readBody(call.request);
  if (bytes.length === 0) throw badRequest('the body is empty');
  const type = mediaType(call.request);
  if (type !== protobufType) return asObject(await parseBody(bytes, type));
  if (kind.custom !== undefined) throw unsupportedMediaType('application/json, application/yaml');
  const envelope = services.protobuf.envelope(bytes);
  const own = envelope.kind === kind.kind ? kind.schema.typeName : otherTypes[envelope.kind];
  if (own === undefined)
    throw badRequest(
      `${envelope.kind} in version "${envelope.apiVersion}" cannot be handled as a ${kind.kind}`,
    );
  return services.protobuf.decode(envelope, own);
}

export async function dispatch(call: Call, route: Route, services: Services): Promise<void> {
  const { kind, name, subresource } = route;
  const { store, writer, stopping, protobuf } = services;
  const namespace = route.namespace ?? '';
  if (subresource !== '' && subresource !== 'status') {
    await onSubresource(call, route, services);
    return;
  }
  switch (call.method) {
    case 'GET':
    case 'HEAD': {
      const watching = route.watch || flag(call.query, 'watch');
      if (kind.verbs.length === 1) throw methodNotAllowed();
      if (name !== undefined && !watching) {
        await handleGet(call, kind, store, namespace, name);
        return;
      }
      if (name !== undefined) {
        // The watch of one object is the watch of a list with one name.
        const others = call.query.get('fieldSelector') ?? '';
        call.query.set('fieldSelector', `${others === '' ? '' : `${others},`}metadata.name=${name}`);
      }
      if (watching) await handleWatch(call, kind, store, route.namespace, stopping, services.watchLimits);
      else await handleList(call, kind, store, route.namespace);
      return;
    }
    case 'POST': {
      if (name !== undefined) throw methodNotAllowed();
      const body = await bodyOf(call, kind, services);
      if (kind.verbs.length === 1) {
        review(call, kind, namespace, body, services);
        return;
      }
      if (kind.namespaced && route.namespace === undefined)
        throw badRequest('the path of a new object in a namespace names the namespace');
      const request = writeRequest(call, kind, namespace);
      const item = writer.decode(request, body, undefined);
      const { stored } = await writer.create(request, item);
      await sendObject(call, 201, kind, stored);
      return;
    }
    case 'PUT': {
      const target = requireName(route);
      const body = await bodyOf(call, kind, services);
      const request = writeRequest(call, kind, namespace);
      // Decoded once for each attempt: an attempt that a webhook delays may have to be made again.
      const text = JSON.stringify(body);
      const { stored } = await writer.update(request, target, subresource, () =>
        writer.decode(request, JSON.parse(text) as JsonObject, target),
      );
      await sendObject(call, 200, kind, stored);
      return;
    }
    case 'PATCH':
      await patch(call, route, services);
      return;
    case 'DELETE':
      if (subresource !== '') throw methodNotAllowed();
      if (name === undefined)
        await handleDeleteCollection(call, kind, store, writer, route.namespace, protobuf);
      else await handleDelete(call, kind, store, writer, namespace, name, protobuf);
      return;
    default:
      throw methodNotAllowed();
  }
}

function review(call: Call, kind: Kind, namespace: string, body: JsonObject, services: Services): void {
  if (kind.kind === 'Binding') {
    const metadata = body['metadata'];
    const pod = isObject(metadata) && typeof metadata['name'] === 'string' ? metadata['name'] : '';
    bindPod(services.writer, services.pods, services.store.collection('pods').get(namespace, pod), pod, body);
    sendValue(call.response, 201, success());
    return;
  }
  handleReview(call, kind, body, services.tokens);
}

const success = (): unknown => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Success',
  code: 201,
});

const patchTypes =
  'application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml';

/** Gives the object that a patch makes of `old`, in the version of the request; not decoded yet. */
function patched(kind: Kind, type: string, old: Item, body: Json): JsonObject {
  const target = old as unknown as JsonObject;
  switch (type) {
    case 'application/json-patch+json':
      return applyJsonPatch(target, body);
    case 'application/merge-patch+json':
      return applyMergePatch(target, asObject(body));
    case 'application/strategic-merge-patch+json':
      if (kind.custom !== undefined)
        throw unsupportedMediaType(patchTypes.replace('application/strategic-merge-patch+json, ', ''));
      return applyStrategicPatch(target, asObject(body), kind.schema);
    default:
      throw unsupportedMediaType(patchTypes);
  }
}

async function patch(call: Call, route: Route, services: Services): Promise<void> {
  const { kind, subresource } = route;
  const { writer } = services;
  const name = requireName(route);
  const request = writeRequest(call, kind, route.namespace ?? '');
  const type = mediaType(call.request);
  const bytes = await readBody(call.request);
  if (bytes.length === 0) throw badRequest('the body is empty');
  const body = await parseBody(bytes, type);
  if (type === 'application/apply-patch+yaml') {
    const said = call.query.get('fieldManager') ?? '';
    if (said === '')
      throw new ApiError(
        422,
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
      );
    const applier: Applier = {
      writer,
      store: services.store,
      request,
      name,
      subresource,
      force: flag(call.query, 'force'),
    };
    const { stored, created } = await applyPatch(applier, asObject(body));
    await sendObject(call, created ? 201 : 200, kind, stored);
    return;
  }
  const { stored } = await writer.update(request, name, subresource, (old) => {
    const next = patched(kind, type, old, body);
    return writer.decode(request, next, name);
  });
  await sendObject(call, 200, kind, stored);
}

async function onSubresource(call: Call, route: Route, services: Services): Promise<void> {
  const { kind, subresource } = route;
  const { store, writer } = services;
  const namespace = route.namespace ?? '';
  const name = requireName(route);
  const collection = store.collection(kind.collection);
  switch (subresource) {
    case 'scale': {
      const request = writeRequest(call, kind, namespace);
      if (call.method === 'GET') {
        const stored = collection.get(namespace, name);
        if (stored === undefined) {
          await handleGet(call, kind, store, namespace, name);
          return;
        }
        sendValue(call.response, 200, scaleOf(kind, viewItem(kind, stored)));
        return;
      }
      if (call.method !== 'PUT' && call.method !== 'PATCH') throw methodNotAllowed();
      const type = mediaType(call.request);
      const body =
        type === protobufType
          ? await bodyOf(call, kind, services)
          : await parseBody(
              await readBody(call.request),
              type === 'application/apply-patch+yaml' ? 'application/yaml' : type,
            );
      const scaleSchema = services.types.get('Scale') as Schema;
      const stored = await writeScale(writer, request, name, (scale) => {
        if (call.method === 'PUT') return asObject(body);
        return type === 'application/strategic-merge-patch+json'
          ? applyStrategicPatch(scale, asObject(body), scaleSchema)
          : type === 'application/apply-patch+yaml'
            ? applyMergePatch(scale, asObject(body))
            : patched({ ...kind, schema: scaleSchema }, type, scale as unknown as Item, body);
      });
      sendValue(call.response, 200, scaleOf(kind, viewItem(kind, stored)));
      return;
    }
    case 'binding': {
      if (call.method !== 'POST') throw methodNotAllowed();
      bindPod(writer, kind, collection.get(namespace, name), name, await bodyOf(call, kind, services));
      sendValue(call.response, 201, success());
      return;
    }
    case 'eviction': {
      if (call.method !== 'POST') throw methodNotAllowed();
      evictPod(
        writer,
        store,
        kind,
        collection.get(namespace, name),
        name,
        await bodyOf(call, kind, services),
      );
      sendValue(call.response, 201, success());
      return;
    }
    case 'token': {
      if (call.method !== 'POST') throw methodNotAllowed();
      const body = await bodyOf(call, kind, services);
      issueToken(
        call,
        store,
        services.tokens,
        namespace,
        name,
        body,
        services.types.get('AuthenticationV1TokenRequest') as Schema,
      );
      return;
    }
    case 'finalize': {
      if (call.method !== 'PUT') throw methodNotAllowed();
      const stored = finalizeNamespace(
        writer,
        kind,
        collection.get('', name),
        name,
        await bodyOf(call, kind, services),
      );
      await sendObject(call, 200, kind, stored);
      return;
    }
    case 'approval': {
      // Conditions only: the rest of the status belongs to the signer.
      if (call.method !== 'PUT' && call.method !== 'PATCH') throw methodNotAllowed();
      const request = writeRequest(call, kind, namespace);
      const type = mediaType(call.request);
      const body =
        type === protobufType
          ? await bodyOf(call, kind, services)
          : await parseBody(await readBody(call.request), type);
      const { stored } = await writer.update(request, name, 'status', (old) => {
        const next = call.method === 'PUT' ? asObject(structuredClone(body)) : patched(kind, type, old, body);
        const status = isObject(next['status']) ? next['status'] : {};
        next['status'] = { ...old.status, conditions: status['conditions'] ?? [] };
        return writer.decode(request, next, name);
      });
      await sendObject(call, 200, kind, stored);
      return;
    }
    case 'log':
    case 'exec':
    case 'attach':
    case 'portforward':
      await services.podStream(call, namespace, name, subresource);
      return;
    case 'ephemeralcontainers':
    case 'resize': {
      if (call.method === 'GET') {
        await handleGet(call, kind, store, namespace, name);
        return;
      }
      const request = writeRequest(call, kind, namespace);
      const type = mediaType(call.request);
      const body =
        type === protobufType
          ? await bodyOf(call, kind, services)
          : await parseBody(await readBody(call.request), type);
      const { stored } = await writer.update(request, name, '', (old) =>
        writer.decode(
          request,
          call.method === 'PUT' ? asObject(structuredClone(body)) : patched(kind, type, old, body),
          name,
        ),
      );
      await sendObject(call, 200, kind, stored);
      return;
    }
    default:
      throw methodNotAllowed();
  }
}
