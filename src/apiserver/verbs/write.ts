// create, update and patch: from what a client sent to what is stored. The order of the steps is that of upstream:
// decode, system fields, the kind's own preparation, defaults, mutating webhooks, validation, validating webhooks,
// field ownership, store.
import { randomInt, randomUUID } from 'node:crypto';
import {
  alreadyExists,
  badRequest,
  conflict,
  forbidden,
  invalid,
  notFound,
  staleObject,
  type ApiError,
  type Cause,
} from '../api-error.ts';
import { trackFields, type WriteOrigin } from '../apply/managed-fields.ts';
import { equal, formatTime, isObject, type Item, type JsonObject } from '../json.ts';
import { groupVersion, type Kind, type KindContext } from '../kinds/kind.ts';
import { checkMetadata } from '../kinds/metadata.ts';
import { viewItem } from '../print/view.ts';
import { applyDefaults, decodeItem } from '../schema/decode.ts';
import { requiredCauses } from '../schema/required.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import type { Store } from '../store/store.ts';
import type { Admission, AdmissionRequest } from './admission.ts';
import type { WriteRequest, Written } from './write-request.ts';
import { isFinished, sameObject, unsaved } from './object-state.ts';

const suffixLetters = 'bcdfghjklmnpqrstvwxz2456789';
const suffix = (): string =>
  Array.from({ length: 5 }, () => suffixLetters[randomInt(suffixLetters.length)]).join('');

export class Writer {
  readonly #store: Store;
  readonly #context: KindContext;
  admission: Admission | undefined;

  constructor(store: Store, context: KindContext) {
    this.#store = store;
    this.#context = context;
  }

  /** Checks a body against the kind and the path, and brings it into the storage version. */
  decode(request: WriteRequest, body: JsonObject, name: string | undefined): Item {
    const { kind } = request;
    const item = body as unknown as Item;
    const wanted = groupVersion(kind);
    if (item.kind === undefined || item.kind === '') item.kind = kind.kind;
    // `/v1` is what group and version of a core kind make when they are joined; istiod writes it, and a cluster reads it.
    if (item.apiVersion === undefined || item.apiVersion === '' || item.apiVersion === `/${wanted}`)
      item.apiVersion = wanted;
    if (item.kind !== kind.kind || item.apiVersion !== wanted)
      throw badRequest(
        item.kind === kind.kind
          ? `the API version in the data (${item.apiVersion}) does not match the expected API version (${wanted})`
          : `${item.kind} in version "${item.apiVersion}" cannot be handled as a ${kind.kind}: the path is of ${wanted} ${kind.plural}`,
      );
    if (item.metadata === undefined || item.metadata === null) item.metadata = { name: '' };
    if (!isObject(item.metadata)) throw badRequest(`${kind.kind}: metadata is not an object`);
    const { unknown } = decodeItem(item, kind.schema, kind.custom);
    this.reportUnknown(request, item, unknown);
    const { metadata } = item;
    if (name !== undefined) {
      if ((metadata.name ?? '') === '') metadata.name = name;
      else if (metadata.name !== name)
        throw badRequest(
          `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
        );
    }
    if (kind.namespaced) {
      if ((metadata.namespace ?? '') === '') metadata.namespace = request.namespace;
      else if (metadata.namespace !== request.namespace)
        throw badRequest(
          `the namespace of the provided object does not match the namespace sent on the request`,
        );
    } else delete metadata.namespace;
    kind.convert?.toStorage(item);
    item.apiVersion = kind.storageApiVersion;
    return item;
  }

  reportUnknown(request: WriteRequest, item: Item, unknown: readonly string[]): void {
    if (unknown.length === 0) return;
    const texts = unknown.map((path) => `unknown field ${JSON.stringify(path)}`);
    switch (request.fieldValidation) {
      case 'Strict':
        throw badRequest(
          `${item.kind} in version "${groupVersion(request.kind).split('/').at(-1) ?? ''}" cannot be handled as a ${item.kind}: strict decoding error: ${texts.join(', ')}`,
        );
      case 'Warn':
        for (const text of texts) request.warn(text);
        return;
      case 'Ignore':
        return;
    }
  }

  async create(request: WriteRequest, item: Item, origin?: Partial<WriteOrigin>): Promise<Written> {
    const { kind, namespace } = request;
    const { metadata } = item;
    const collection = this.#store.collection(kind.collection);
    if ((metadata.resourceVersion ?? '') !== '')
      throw badRequest('resourceVersion should not be set on objects to be created');
    const generated = (metadata.name ?? '') === '' && (metadata.generateName ?? '') !== '';
    if (generated) {
      // The server's part makes the name too long before the limit is reached.
      const base = (metadata.generateName as string).slice(0, 58);
      do metadata.name = base + suffix();
      while (collection.get(namespace, metadata.name) !== undefined);
    }
    if ((metadata.name ?? '') === '')
      throw invalid(kind.group, kind.kind, '', [
        {
          reason: 'FieldValueRequired',
          message: 'Required value: name or generateName is required',
          field: 'metadata.name',
        },
      ]);
    if (kind.namespaced) this.#checkNamespace(kind, namespace, metadata.name);
    const there = collection.get(namespace, metadata.name);
    if (there !== undefined) {
      if (kind.rules.yields?.(parseStored(there)) !== true) throw alreadyExists(kind, metadata.name);
      const { stored } = await this.update(request, metadata.name, '', () => item, origin);
      return { stored, created: true, changed: true };
    }
    metadata.uid = randomUUID();
    metadata.creationTimestamp = formatTime(this.#context.now());
    delete metadata.deletionTimestamp;
    delete metadata.deletionGracePeriodSeconds;
    delete metadata.generation;
    delete (metadata as { selfLink?: string }).selfLink;
    if (kind.custom !== undefined && kind.subresources.has('status')) delete item.status;
    applyDefaults(item as unknown as JsonObject, kind.schema);
    kind.rules.defaults?.(item);
    kind.rules.create?.(item, this.#context, request.user);
    if (kind.rules.generation === true || kind.custom !== undefined) metadata.generation = 1;
    try {
      const admission = this.#admissionOf(request, 'CREATE', '', item, undefined);
      const mutated = this.admission?.mutate(admission);
      if (mutated !== undefined) item = this.#afterWebhooks(kind, await mutated, item);
      this.#validate(kind, item, undefined);
      const checked = this.admission?.validate({ ...admission, item });
      if (checked !== undefined) await checked;
      trackFields(kind, undefined, item, this.#origin(request, origin));
      // Webhooks take time, in which another may have been faster.
      if (collection.get(namespace, item.metadata.name) !== undefined)
        throw alreadyExists(kind, item.metadata.name);
    } catch (error) {
      kind.rules.removed?.(item, this.#context);
      throw error;
    }
    if (request.dryRun) {
      kind.rules.removed?.(item, this.#context);
      return { stored: unsaved(item, 0), created: true, changed: true };
    }
    return { stored: this.#store.create(collection, item), created: true, changed: true };
  }

  /**
   * Changes an object that is there. `change` gets a copy in the version of `request.kind` and gives the new one,
   * decoded (in the storage version); it may be called again if the object has changed under a webhook.
   */
  async update(
    request: WriteRequest,
    name: string,
    subresource: '' | 'status' | 'scale' | (string & {}),
    change: (old: Item) => Item | Promise<Item>,
    origin?: Partial<WriteOrigin>,
  ): Promise<Written> {
    const { kind, namespace } = request;
    const collection = this.#store.collection(kind.collection);
    for (let attempt = 0; ; attempt++) {
      const before = collection.get(namespace, name);
      if (before === undefined) throw notFound(kind, name);
      const old = parseStored(before);
      let item = await change(viewItem(kind, before));
      this.#checkPreconditions(kind, item, before, request);
      this.#keepSystemFields(item, old);
      const tracked = item.metadata.managedFields;
      this.#prepareUpdate(kind, item, old, subresource);
      try {
        const admission = this.#admissionOf(request, 'UPDATE', subresource, item, old);
        const mutated = this.admission?.mutate(admission);
        if (mutated !== undefined) item = this.#afterWebhooks(kind, await mutated, item);
        this.#countGeneration(kind, item, old);
        this.#validate(kind, item, old);
        const checked = this.admission?.validate({ ...admission, item });
        if (checked !== undefined) await checked;
      } catch (error) {
        this.#undo(kind, item, old);
        throw error;
      }
      item.metadata.managedFields = tracked ?? [];
      trackFields(kind, old, item, { ...this.#origin(request, origin), subresource });
      if (collection.get(namespace, name) !== before) {
        this.#undo(kind, item, old);
        if (attempt < 5) continue;
        throw staleObject(kind, name);
      }
      // A change that changes nothing writes nothing, and no watcher hears of it.
      if (sameObject(old, item)) {
        this.#undo(kind, item, old);
        return { stored: before, created: false, changed: false };
      }
      if (request.dryRun) {
        this.#undo(kind, item, old);
        return { stored: unsaved(item, before.rv), created: false, changed: true };
      }
      if (isFinished(kind, item)) {
        const stored = this.#store.remove(collection, before, item);
        kind.rules.removed?.(item, this.#context);
        return { stored, created: false, changed: true };
      }
      return { stored: this.#store.update(collection, before, item), created: false, changed: true };
    }
  }

  /** Takes an object away at once. */
  remove(kind: Kind, before: Stored): Stored {
    const item = parseStored(before);
    const stored = this.#store.remove(this.#store.collection(kind.collection), before, item);
    kind.rules.removed?.(item, this.#context);
    return stored;
  }

  /** Writes a change that the server itself makes to the metadata or status: no checks, no admission. */
  patchStored(kind: Kind, before: Stored, change: (item: Item) => void): Stored {
    const item = parseStored(before);
    change(item);
    const collection = this.#store.collection(kind.collection);
    if (isFinished(kind, item)) {
      const stored = this.#store.remove(collection, before, item);
      kind.rules.removed?.(item, this.#context);
      return stored;
    }
    return this.#store.update(collection, before, item);
  }

  #undo(kind: Kind, item: Item, old: Item): void {
    if (kind.collection === 'services') this.#context.serviceAddresses.reallocate(structuredClone(old), item);
  }

  #origin(request: WriteRequest, origin: Partial<WriteOrigin> | undefined): WriteOrigin {
    return {
      manager: request.manager,
      operation: 'Update',
      apiVersion: groupVersion(request.kind),
      subresource: '',
      time: formatTime(this.#context.now()),
      ...origin,
    };
  }

  #admissionOf(
    request: WriteRequest,
    operation: AdmissionRequest['operation'],
    subresource: string,
    item: Item,
    old: Item | undefined,
  ): AdmissionRequest {
    const { kind, namespace, user, dryRun, warn } = request;
    return {
      kind,
      namespace,
      name: item.metadata.name,
      operation,
      subresource,
      user,
      dryRun,
      item,
      old,
      warn,
    };
  }

  /** What a webhook gave back is decoded and completed like what a client sent. */
  #afterWebhooks(kind: Kind, item: Item, before: Item): Item {
    decodeItem(item, kind.schema, kind.custom);
    applyDefaults(item as unknown as JsonObject, kind.schema);
    kind.rules.defaults?.(item);
    item.metadata.uid = before.metadata.uid as string;
    item.metadata.name = before.metadata.name;
    return item;
  }

  #checkNamespace(kind: Kind, namespace: string, name: string): void {
    const found = this.#store.collection('namespaces').get('', namespace);
    if (found === undefined) throw notFound({ group: '', plural: 'namespaces' }, namespace);
    if (found.deleting)
      throw forbidden(
        kind,
        name,
        `unable to create new content in namespace ${namespace} because it is being terminated`,
      );
  }

  #checkPreconditions(kind: Kind, item: Item, before: Stored, request: WriteRequest): void {
    const { resourceVersion, uid, name } = item.metadata;
    if (uid !== undefined && uid !== '' && uid !== before.uid)
      throw conflict(
        kind,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${before.uid}`,
      );
    if (resourceVersion !== undefined && resourceVersion !== '' && resourceVersion !== '0') {
      if (resourceVersion !== String(before.rv)) throw staleObject(kind, name);
    } else if (kind.custom !== undefined)
      throw invalid(kind.group, kind.kind, name, [
        {
          reason: 'FieldValueInvalid',
          message: 'Invalid value: 0: must be specified for an update',
          field: 'metadata.resourceVersion',
        },
      ]);
    void request;
  }

  /** The fields that only the server sets. */
  #keepSystemFields(item: Item, old: Item): void {
    const { metadata } = item;
    const was = old.metadata;
    metadata.name = was.name;
    if (was.namespace !== undefined) metadata.namespace = was.namespace;
    if (was.uid !== undefined) metadata.uid = was.uid;
    if (was.resourceVersion !== undefined) metadata.resourceVersion = was.resourceVersion;
    delete (metadata as { selfLink?: string }).selfLink;
    for (const key of [
      'creationTimestamp',
      'deletionTimestamp',
      'deletionGracePeriodSeconds',
      'generation',
      'generateName',
    ] as const) {
      if (was[key] === undefined) delete metadata[key];
      else (metadata as unknown as Record<string, unknown>)[key] = was[key];
    }
  }

  #prepareUpdate(kind: Kind, item: Item, old: Item, subresource: string): void {
    if (subresource === 'status') {
      // Only the status is written, and for built-in kinds the metadata.
      for (const key of Object.keys(item))
        if (key !== 'status' && key !== 'metadata' && key !== 'kind' && key !== 'apiVersion')
          delete item[key];
      for (const key of Object.keys(old))
        if (key !== 'status' && key !== 'metadata' && key !== 'kind' && key !== 'apiVersion')
          item[key] = old[key];
      if (kind.custom !== undefined)
        item.metadata = { ...old.metadata, managedFields: item.metadata.managedFields ?? [] };
      kind.rules.updateStatus?.(item, old, this.#context);
      if (kind.custom !== undefined) applyDefaults(item as unknown as JsonObject, kind.schema);
      return;
    }
    if (subresource === '' && kind.subresources.has('status')) {
      if (old.status === undefined) delete item.status;
      else item.status = old.status;
    }
    applyDefaults(item as unknown as JsonObject, kind.schema);
    kind.rules.defaults?.(item);
    if (subresource === '' || subresource === 'scale') kind.rules.update?.(item, old, this.#context);
  }

  #countGeneration(kind: Kind, item: Item, old: Item): void {
    if (kind.rules.generation !== true && kind.custom === undefined) return;
    const content = (of: Item): unknown => {
      const { metadata: _m, apiVersion: _a, kind: _k, ...rest } = of;
      if (kind.subresources.has('status')) delete (rest as { status?: unknown }).status;
      return rest;
    };
    const generation = old.metadata.generation ?? 1;
    item.metadata.generation = equal(content(item), content(old)) ? generation : generation + 1;
  }

  #validate(kind: Kind, item: Item, old: Item | undefined): void {
    const causes: Cause[] = [
      ...checkMetadata(item, old, kind.rules.nameForm ?? 'subdomain'),
      ...(kind.custom === undefined ? requiredCauses(item, kind.schema) : kind.custom.validate(item, old)),
    ];
    // A rule may read what the shape says must be there.
    if (causes.length === 0) causes.push(...(kind.rules.validate?.(item, old) ?? []));
    if (causes.length > 0) throw this.invalid(kind, item.metadata.name, causes);
  }

  invalid(kind: Kind, name: string, causes: readonly Cause[]): ApiError {
    const seen = new Set<string>();
    const unique = causes.filter(({ field, message }) => {
      const key = `${field} ${message}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
    return invalid(kind.group, kind.kind, name, unique.slice(0, 50));
  }
}
