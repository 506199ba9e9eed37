// Admission webhooks: others who may change or refuse what is written. They are asked over HTTPS, the mutating ones
// one after another, the validating ones at once; one that does not answer is a refusal unless it says otherwise.
import { randomUUID } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { ApiError, internal } from '../api-error.ts';
import {
  dig,
  digList,
  digNumber,
  digText,
  isObject,
  type Item,
  type Json,
  type JsonObject,
} from '../json.ts';
import { groupVersion } from '../kinds/kind.ts';
import { applyJsonPatch } from '../patch/json-patch.ts';
import { parseStored, type Collection, type Stored } from '../store/collection.ts';
import type { Store } from '../store/store.ts';
import type { Admission, AdmissionRequest } from '../verbs/admission.ts';
import { concerns, conditionsHold, webhooksOf, type Webhook } from './webhook-rules.ts';

const maxAnswer = 4 * 1024 * 1024;

interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly serverName: string | undefined;
}

export class Webhooks implements Admission {
  readonly #store: Store;
  readonly #mutating: Collection;
  readonly #validating: Collection;
  /** Parsed once for each version of a configuration. */
  readonly #parsed = new WeakMap<Stored, readonly Webhook[]>();

  constructor(store: Store) {
    this.#store = store;
    this.#mutating = store.collection('mutatingwebhookconfigurations.admissionregistration.k8s.io');
    this.#validating = store.collection('validatingwebhookconfigurations.admissionregistration.k8s.io');
  }

  mutate(request: AdmissionRequest): Promise<Item> | undefined {
    const hooks = this.#concerned(this.#mutating, request);
    return hooks.length === 0 || request.item === undefined
      ? undefined
      : this.#mutateBy(hooks, request, request.item);
  }

  validate(request: AdmissionRequest): Promise<void> | undefined {
    const hooks = this.#concerned(this.#validating, request);
    return hooks.length === 0 ? undefined : this.#validateBy(hooks, request);
  }

  #concerned(collection: Collection, request: AdmissionRequest): Webhook[] {
    if (collection.size === 0) return [];
    const labels =
      request.namespace === ''
        ? undefined
        : this.#store.collection('namespaces').get('', request.namespace)?.labels;
    const out: Webhook[] = [];
    for (const stored of collection.inOrder(undefined)) {
      let hooks = this.#parsed.get(stored);
      if (hooks === undefined) this.#parsed.set(stored, (hooks = webhooksOf(parseStored(stored))));
      for (const hook of hooks) if (concerns(hook, request, labels)) out.push(hook);
    }
    return out;
  }

  async #mutateBy(hooks: readonly Webhook[], request: AdmissionRequest, first: Item): Promise<Item> {
    let item = first;
    for (const hook of hooks) {
      const response = await this.#ask(hook, { ...request, item });
      const patch = dig(response, 'patch');
      if (typeof patch !== 'string' || patch === '') continue;
      if (digText(response, 'patchType') !== 'JSONPatch')
        throw internal(`failed calling webhook "${hook.name}": its patch is not a JSONPatch`);
      let changed: JsonObject;
      try {
        const parsed = JSON.parse(Buffer.from(patch, 'base64').toString('utf8')) as Json;
        changed = applyJsonPatch(item as unknown as JsonObject, parsed);
      } catch (error) {
        throw internal(
          `the patch of webhook "${hook.name}" cannot be applied: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      item = changed as unknown as Item;
    }
    return item;
  }

  async #validateBy(hooks: readonly Webhook[], request: AdmissionRequest): Promise<void> {
    await Promise.all(hooks.map((hook) => this.#ask(hook, request)));
  }

  /** The `response` of the review. Throws what the client gets if the webhook refuses or cannot be asked. */
  async #ask(hook: Webhook, request: AdmissionRequest): Promise<Json | undefined> {
    const uid = randomUUID();
    const review = reviewOf(request, uid);
    let answer: Json | undefined;
    try {
      if (!conditionsHold(hook, review)) return undefined;
      if (request.dryRun && hook.hasSideEffects)
        throw new ApiError(400, 'BadRequest', `admission webhook "${hook.name}" does not support dry run`);
      answer = await this.#call(hook, JSON.stringify(review));
      if (digText(answer, 'response', 'uid') !== uid) throw new Error('the answer is not to this request');
    } catch (error) {
      if (error instanceof ApiError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      if (hook.ignoreFailure) {
        request.warn(`webhook ${hook.title} could not be asked and was passed over: ${why}`);
        return undefined;
      }
      throw internal(`failed calling webhook "${hook.name}": ${why}`);
    }
    const response = dig(answer, 'response');
    for (const warning of digList(response, 'warnings')) request.warn(String(warning));
    if (isObject(response) && response['allowed'] === true) return response;
    const message =
      digText(response, 'status', 'message') ||
      digText(response, 'status', 'reason') ||
      'without explanation';
    const code = digNumber(response, 'status', 'code') || 400;
    throw new ApiError(
      code >= 400 && code < 600 ? code : 400,
      digText(response, 'status', 'reason') || (code === 403 ? 'Forbidden' : 'BadRequest'),
      `admission webhook "${hook.name}" denied the request: ${message}`,
    );
  }

  #call(hook: Webhook, body: string): Promise<Json> {
    const target = this.#target(hook);
    const bundle = digText(hook.client, 'caBundle');
    return new Promise((resolve, reject) => {
      const call = httpsRequest(
        {
          agent: false,
          method: 'POST',
          host: target.host,
          port: target.port,
          path: target.path,
          ...(target.serverName === undefined ? {} : { servername: target.serverName }),
          ...(bundle === '' ? {} : { ca: Buffer.from(bundle, 'base64').toString('utf8') }),
          headers: {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            accept: 'application/json',
          },
          signal: AbortSignal.timeout(hook.timeoutMs),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on('data', (chunk: Buffer) => {
            size += chunk.length;
            if (size > maxAnswer) response.destroy(new Error(`the answer is longer than ${maxAnswer} bytes`));
            else chunks.push(chunk);
          });
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            if (response.statusCode !== 200) {
              reject(new Error(`it answered with status ${response.statusCode ?? 0}`));
              return;
            }
            try {
              resolve(JSON.parse(text) as Json);
            } catch {
              reject(new Error('its answer is not JSON'));
            }
          });
        },
      );
      call.on('error', (error) =>
        reject(
          error.name === 'AbortError' || error.name === 'TimeoutError'
            ? new Error(`no answer within ${hook.timeoutMs / 1000} s`)
            : error,
        ),
      );
      call.end(body);
    });
  }

  #target(hook: Webhook): Target {
    const url = digText(hook.client, 'url');
    if (url !== '') {
      const parsed = new URL(url);
      return {
        host: parsed.hostname.replace(/^\[|\]$/g, ''),
        port: parsed.port === '' ? 443 : Number(parsed.port),
        path: parsed.pathname + parsed.search,
        serverName: undefined,
      };
    }
    const service = dig(hook.client, 'service');
    const namespace = digText(service, 'namespace');
    const name = digText(service, 'name');
    const port = digNumber(service, 'port') || 443;
    const stored = this.#store.collection('services').get(namespace, name);
    if (stored === undefined) throw new Error(`service ${namespace}/${name} does not exist`);
    const endpoint = this.#endpoint(parseStored(stored), port);
    if (endpoint === undefined)
      throw new Error(`service ${namespace}/${name} has no ready endpoint for port ${port}`);
    return { ...endpoint, path: digText(service, 'path') || '/', serverName: `${name}.${namespace}.svc` };
  }

  /** Straight to a pod: this process need not be where cluster IPs are forwarded. */
  #endpoint(service: Item, port: number): { host: string; port: number } | undefined {
    const wanted = digList(service.spec, 'ports').find((entry) => digNumber(entry, 'port') === port);
    if (wanted === undefined) return undefined;
    const portName = digText(wanted, 'name');
    const found: { host: string; port: number }[] = [];
    for (const stored of this.#store
      .collection('endpointslices.discovery.k8s.io')
      .inOrder(service.metadata.namespace)) {
      if (stored.labels?.['kubernetes.io/service-name'] !== service.metadata.name) continue;
      const slice = parseStored(stored);
      const target = digList(slice, 'ports').find((entry) => digText(entry, 'name') === portName);
      if (target === undefined) continue;
      for (const endpoint of digList(slice, 'endpoints'))
        if (dig(endpoint, 'conditions', 'ready') !== false)
          for (const address of digList(endpoint, 'addresses'))
            found.push({ host: String(address), port: digNumber(target, 'port') });
    }
    const chosen = found[Math.floor(Math.random() * found.length)];
    if (chosen !== undefined) return chosen;
    const clusterIp = digText(service.spec, 'clusterIP');
    return clusterIp === '' || clusterIp === 'None' ? undefined : { host: clusterIp, port };
  }
}

function reviewOf(request: AdmissionRequest, uid: string): JsonObject {
  const { kind, user } = request;
  const version = (item: Item | undefined): Json => {
    if (item === undefined) return null;
    const copy = structuredClone(item);
    kind.convert?.fromStorage(copy);
    copy.apiVersion = groupVersion(kind);
    return copy as unknown as Json;
  };
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };
  const gvr = { group: kind.group, version: kind.version, resource: kind.plural };
  return {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid,
      kind: gvk,
      resource: gvr,
      ...(request.subresource === '' ? {} : { subResource: request.subresource }),
      requestKind: gvk,
      requestResource: gvr,
      ...(request.subresource === '' ? {} : { requestSubResource: request.subresource }),
      name: request.name,
      ...(request.namespace === '' ? {} : { namespace: request.namespace }),
      operation: request.operation,
      userInfo: {
        username: user.name,
        ...(user.uid === undefined ? {} : { uid: user.uid }),
        groups: [...user.groups],
        ...(user.extra === undefined ? {} : { extra: structuredClone(user.extra) as unknown as JsonObject }),
      },
      object: version(request.item),
      oldObject: version(request.old),
      dryRun: request.dryRun,
      options: null,
    },
  };
}
