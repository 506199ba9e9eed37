// Makes the objects of a waypoint, and repairs them: server-side apply of what differs, never of what somebody else has
// made under the same name.
import { createHash } from 'node:crypto';
import { equalJson, type KubeClient, type KubeObject } from '#/kube/index.ts';
import { gatewayLabel, gatewayManager, managedByMesh, type Gateway } from './gateway-object.ts';
import { ownedResources, type GatewayInformers } from './gateway-informers.ts';
import { overlayKeys, type OverlayKey } from './overlay.ts';
import type { WaypointObject, WaypointObjects } from './waypoint-objects.ts';

/** An object of that name is there and is not this Gateway's. */
export class ForeignObjectError extends Error {
  override readonly name = 'ForeignObjectError';
}

/** Whether all that we want is there as we want it; what others have added does not count. */
export function covers(live: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return live === wanted;
  if (Array.isArray(wanted))
    return (
      Array.isArray(live) && live.length === wanted.length && wanted.every((item, i) => covers(live[i], item))
    );
  if (typeof live !== 'object' || live === null) return false;
  return Object.entries(wanted).every(([field, value]) =>
    covers((live as Record<string, unknown>)[field], value),
  );
}

const hashOf = (object: unknown): string =>
  createHash('sha256').update(JSON.stringify(object)).digest('base64');

interface Selecting extends KubeObject {
  readonly spec?: { readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> } };
}

/** A Deployment's selector cannot be changed: one that an older release has made keeps it. */
export function withSelectorOf(object: WaypointObject, live: Selecting | undefined): WaypointObject {
  const selector = live?.spec?.selector;
  const spec = object['spec'] as {
    readonly selector: unknown;
    readonly template: { readonly metadata: { readonly labels: Readonly<Record<string, string>> } };
  };
  if (selector === undefined || equalJson(selector, spec.selector)) return object;
  const { template } = spec;
  const labels = { ...template.metadata.labels, ...selector.matchLabels };
  return {
    ...object,
    spec: { ...spec, selector, template: { ...template, metadata: { ...template.metadata, labels } } },
  };
}

export class OwnedObjects {
  readonly #client: KubeClient;
  readonly #informers: GatewayInformers;
  /** What was applied last, by `kind ns/name`; an entry per object that is there. */
  readonly #applied = new Map<string, string>();

  constructor(client: KubeClient, informers: GatewayInformers) {
    this.#client = client;
    this.#informers = informers;
  }

  /**
   * Gives the objects that were written, by kind. Throws ForeignObjectError, and KubeError for what the API server
   * refuses.
   */
  async apply(
    gateway: Gateway,
    objects: WaypointObjects,
    signal: AbortSignal,
  ): Promise<Partial<Record<OverlayKey, KubeObject>>> {
    const written: Partial<Record<OverlayKey, KubeObject>> = {};
    for (const key of overlayKeysInOrder) {
      const object = objects[key];
      if (object === undefined) await this.#remove(key, gateway, signal);
      else {
        const result = await this.#write(key, gateway, object, signal);
        if (result !== undefined) written[key] = result;
      }
    }
    return written;
  }

  /** The Gateway is gone, and Kubernetes removes what was its own. */
  forget(namespace: string, gateway: string): void {
    for (const id of this.#applied.keys())
      if (id.startsWith(`${namespace}/${gateway} `)) this.#applied.delete(id);
  }

  async #write(
    key: OverlayKey,
    gateway: Gateway,
    object: WaypointObject,
    signal: AbortSignal,
  ): Promise<KubeObject | undefined> {
    const { namespace, name } = object.metadata;
    const resource = ownedResources[key];
    let live = this.#informers.owned(key, namespace, name);
    // The informer shows only what has our label.
    live ??= await this.#client.find(resource, namespace, name, { signal });
    const labels = live?.metadata.labels;
    const isOurs =
      labels?.[gatewayLabel.managed] === managedByMesh && labels[gatewayLabel.name] === gateway.metadata.name;
    if (live !== undefined && !isOurs) {
      // An account may be anybody's: the pods use it as it is.
      if (key === 'serviceAccount') return undefined;
      throw new ForeignObjectError(
        `${resource.kind} ${namespace}/${name} is there and is not this Gateway's: remove it, or give the Gateway's objects another name by the annotation gateway.istio.io/name-override`,
      );
    }
    const wanted = key === 'deployment' ? withSelectorOf(object, live) : object;
    const hash = hashOf(wanted);
    const id = `${namespace}/${gateway.metadata.name} ${key}/${name}`;
    if (live !== undefined && this.#applied.get(id) === hash && covers(live, wanted)) return undefined;
    const { apiVersion: _version, kind: _kind, ...body } = wanted;
    const result = await this.#client.patch(resource, namespace, name, body, 'apply', {
      fieldManager: gatewayManager,
      force: true,
      signal,
    });
    this.#applied.set(id, hash);
    return result;
  }

  /** An autoscaler or a budget that no overlay asks for any more. */
  async #remove(key: OverlayKey, gateway: Gateway, signal: AbortSignal): Promise<void> {
    const { namespace = '', name } = gateway.metadata;
    for (const { metadata } of this.#informers.ownedBy(key, namespace, name))
      await this.#client.delete(ownedResources[key], namespace, metadata.name, { signal });
  }
}

/** The account first: pods are not made without it. The Service before the pods: they find its name in place. */
const overlayKeysInOrder: readonly OverlayKey[] = [
  'serviceAccount',
  'service',
  ...overlayKeys.filter((key) => key !== 'serviceAccount' && key !== 'service'),
];
