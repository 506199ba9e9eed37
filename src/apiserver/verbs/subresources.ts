// The parts of objects that have their own path: scale, binding, eviction, token, finalize, approval.
import { ApiError, badRequest, conflict, methodNotAllowed, notFound } from '../api-error.ts';
import { issuer, type Tokens } from '../auth/tokens.ts';
import { sendValue, type Call } from '../serving/call.ts';
import {
  digList,
  digNumber,
  digText,
  formatTime,
  isObject,
  type Item,
  type Json,
  type JsonObject,
} from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { decodeItem } from '../schema/decode.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import { formatSelector, parseSelectorObject } from '../store/selectors.ts';
import type { Store } from '../store/store.ts';
import { removeObject } from './remove.ts';
import type { Writer } from './write.ts';
import type { WriteRequest } from './write-request.ts';
import type { Schema } from '../schema/schema.ts';

/** `.spec.replicas` → its parts. Only plain paths, as CustomResourceDefinitions allow. */
export const simplePath = (path: string): string[] => path.split('.').filter((part) => part !== '');

function at(item: Item, path: string): Json | undefined {
  let value: unknown = item;
  for (const key of simplePath(path)) value = isObject(value) ? value[key] : undefined;
  return value as Json | undefined;
}

/** `item` is in the version of `kind`. */
export function scaleOf(kind: Kind, item: Item): JsonObject {
  const { scale } = kind;
  if (scale === undefined) throw methodNotAllowed();
  const { name, namespace, uid, resourceVersion, creationTimestamp } = item.metadata;
  const selector =
    scale.selector === undefined
      ? kind.collection === 'replicationcontrollers'
        ? formatSelector(parseSelectorObject({ matchLabels: at(item, '.spec.selector') ?? {} }))
        : formatSelector(parseSelectorObject(at(item, '.spec.selector')))
      : at(item, scale.selector);
  const replicas = at(item, scale.specReplicas);
  const current = at(item, scale.statusReplicas);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: typeof replicas === 'number' ? { replicas } : {},
    status: {
      replicas: typeof current === 'number' ? current : 0,
      ...(typeof selector === 'string' && selector !== '' ? { selector } : {}),
    },
  };
}

/** Writes a Scale back into the object it stands for. */
export async function writeScale(
  writer: Writer,
  request: WriteRequest,
  name: string,
  change: (scale: JsonObject) => JsonObject | Promise<JsonObject>,
): Promise<Stored> {
  const { kind } = request;
  const written = await writer.update(request, name, 'scale', async (old) => {
    const scale = await change(scaleOf(kind, old));
    const version = isObject(scale['metadata']) ? scale['metadata']['resourceVersion'] : undefined;
    const replicas = isObject(scale['spec']) ? (scale['spec']['replicas'] ?? 0) : 0;
    if (typeof replicas !== 'number' || !Number.isInteger(replicas) || replicas < 0)
      throw writer.invalid({ ...kind, group: 'autoscaling', kind: 'Scale' }, name, [
        {
          reason: 'FieldValueInvalid',
          message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
          field: 'spec.replicas',
        },
      ]);
    let parent: JsonObject = old as unknown as JsonObject;
    const path = simplePath(kind.scale?.specReplicas ?? '');
    for (const key of path.slice(0, -1)) {
      if (!isObject(parent[key])) parent[key] = {};
      parent = parent[key];
    }
    parent[path[path.length - 1] as string] = replicas;
    if (typeof version === 'string' && version !== '') old.metadata.resourceVersion = version;
    kind.convert?.toStorage(old);
    old.apiVersion = kind.storageApiVersion;
    return old;
  });
  return written.stored;
}

/** A scheduler's decision: sets the pod's node, once. */
export function bindPod(
  writer: Writer,
  kind: Kind,
  before: Stored | undefined,
  name: string,
  binding: JsonObject,
): void {
  if (before === undefined) throw notFound(kind, name);
  const target = binding['target'];
  const node = digText(target, 'name');
  const targetKind = digText(target, 'kind');
  if (node === '' || (targetKind !== '' && targetKind !== 'Node'))
    throw badRequest('a binding names the node in target.name, with target.kind Node');
  const item = parseStored(before);
  const uid = digText(binding, 'metadata', 'uid');
  if (uid !== '' && uid !== before.uid)
    throw conflict(
      { group: '', plural: 'pods/binding' },
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${before.uid})`,
    );
  if (before.deleting)
    throw conflict(
      { group: '', plural: 'pods/binding' },
      name,
      `pod ${name} is being deleted, cannot be assigned to a host`,
    );
  const assigned = digText(item.spec, 'nodeName');
  if (assigned !== '')
    throw conflict(
      { group: '', plural: 'pods/binding' },
      name,
      `pod ${name} is already assigned to node "${assigned}"`,
    );
  writer.patchStored(kind, before, (pod) => {
    pod.spec = { ...pod.spec, nodeName: node };
    const conditions = digList(pod.status, 'conditions').filter(
      (entry) => digText(entry, 'type') !== 'PodScheduled',
    );
    conditions.push({
      type: 'PodScheduled',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: formatTime(Date.now()),
    });
    pod.status = { ...pod.status, conditions };
    const annotations = isObject(binding['metadata']) ? binding['metadata']['annotations'] : undefined;
    if (isObject(annotations))
      pod.metadata.annotations = { ...pod.metadata.annotations, ...(annotations as Record<string, string>) };
  });
}

/** Deletes a pod unless a PodDisruptionBudget forbids it. */
export function evictPod(
  writer: Writer,
  store: Store,
  kind: Kind,
  before: Stored | undefined,
  name: string,
  eviction: JsonObject,
): void {
  if (before === undefined) throw notFound(kind, name);
  for (const budget of store.collection('poddisruptionbudgets.policy').inOrder(before.namespace)) {
    const item = parseStored(budget);
    const requirements = parseSelectorObject(item.spec?.['selector']);
    const labels = before.labels ?? {};
    const concerned =
      requirements.length > 0 &&
      requirements.every(
        ({ key, operator, values }) => operator === 'in' && values.includes(labels[key] ?? ''),
      );
    if (concerned && digNumber(item.status, 'disruptionsAllowed') <= 0)
      throw new ApiError(
        429,
        'TooManyRequests',
        "Cannot evict pod as it would violate the pod's disruption budget.",
        {
          causes: [
            {
              reason: 'DisruptionBudget',
              message: `The disruption budget ${budget.name} needs ${digNumber(item.status, 'desiredHealthy')} healthy pods and has ${digNumber(item.status, 'currentHealthy')} currently`,
              field: '',
            },
          ],
          retryAfterSeconds: 10,
        },
      );
  }
  const options = isObject(eviction['deleteOptions']) ? eviction['deleteOptions'] : {};
  const grace = options['gracePeriodSeconds'];
  removeObject(writer, store, kind, before, {
    graceSeconds: typeof grace === 'number' ? grace : undefined,
    propagation: 'Background',
    uid: undefined,
    resourceVersion: undefined,
    dryRun: Array.isArray(options['dryRun']) && options['dryRun'].length > 0,
  });
}

/** serviceaccounts/NAME/token */
export function issueToken(
  call: Call,
  store: Store,
  tokens: Tokens,
  namespace: string,
  name: string,
  body: JsonObject,
  schema: Schema,
): void {
  const request = body as unknown as Item;
  request.metadata ??= { name };
  decodeItem({ ...request, kind: 'TokenRequest' }, schema);
  const account = store.collection('serviceaccounts').get(namespace, name);
  if (account === undefined) throw notFound({ group: '', plural: 'serviceaccounts' }, name);
  const spec = isObject(body['spec']) ? body['spec'] : {};
  const audiences = digList(spec, 'audiences').map(String);
  const asked = spec['expirationSeconds'];
  const seconds = typeof asked === 'number' ? asked : 3600;
  if (seconds < 600)
    throw new ApiError(
      422,
      'Invalid',
      `TokenRequest.authentication.k8s.io "${name}" is invalid: spec.expirationSeconds: Invalid value: ${seconds}: may not specify a duration less than 10 minutes`,
      { kind: 'TokenRequest', group: 'authentication.k8s.io', name },
    );
  if (seconds > 2 ** 32)
    throw badRequest('spec.expirationSeconds: may not specify a duration larger than 2^32 seconds');
  const bound = spec['boundObjectRef'];
  let pod: { name: string; uid: string } | undefined;
  let node: { name: string; uid: string } | undefined;
  let secret: { name: string; uid: string } | undefined;
  if (isObject(bound)) {
    const ref = digText(bound, 'name');
    const kind = digText(bound, 'kind');
    const collections: Readonly<Record<string, string>> = { Pod: 'pods', Secret: 'secrets', Node: 'nodes' };
    const collection = collections[kind];
    if (collection === undefined)
      throw badRequest(`cannot bind token to object of type ${digText(bound, 'apiVersion')}, Kind=${kind}`);
    const found = store.collection(collection).get(kind === 'Node' ? '' : namespace, ref);
    if (found === undefined) throw notFound({ group: '', plural: collection }, ref);
    const uid = digText(bound, 'uid');
    if (uid !== '' && uid !== found.uid)
      throw conflict(
        { group: '', plural: collection },
        ref,
        `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    const self = { name: ref, uid: found.uid };
    if (kind === 'Pod') {
      pod = self;
      const item = parseStored(found);
      const account = digText(item.spec, 'serviceAccountName') || 'default';
      if (account !== name)
        throw badRequest(
          `cannot bind token for serviceaccount "${name}" to pod running with different serviceaccount name.`,
        );
      const nodeName = digText(item.spec, 'nodeName');
      const stored = nodeName === '' ? undefined : store.collection('nodes').get('', nodeName);
      if (stored !== undefined) node = { name: nodeName, uid: stored.uid };
    } else if (kind === 'Node') node = self;
    else secret = self;
  }
  const { token, expires } = tokens.issue(
    {
      namespace,
      serviceAccount: { name, uid: account.uid },
      ...(pod === undefined ? {} : { pod }),
      ...(node === undefined ? {} : { node }),
      ...(secret === undefined ? {} : { secret }),
    },
    audiences,
    seconds,
  );
  sendValue(call.response, 201, {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: formatTime(Date.now()) },
    spec: {
      audiences: audiences.length === 0 ? [issuer] : audiences,
      expirationSeconds: seconds,
      boundObjectRef: isObject(bound) ? bound : null,
    },
    status: { token, expirationTimestamp: formatTime(expires) },
  });
}

/** namespaces/NAME/finalize */
export function finalizeNamespace(
  writer: Writer,
  kind: Kind,
  before: Stored | undefined,
  name: string,
  body: JsonObject,
): Stored {
  if (before === undefined) throw notFound(kind, name);
  const finalizers = digList(body['spec'], 'finalizers').map(String);
  return writer.patchStored(kind, before, (item) => {
    item.spec = { ...item.spec, finalizers };
  });
}
