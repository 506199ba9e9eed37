// Gives every waypoint's Gateway the pods and the Service that it stands for, and tells in its status how that went.
// Only the leader does. What it is not asked for it leaves alone: Gateways of other classes and revisions.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  equalJson,
  isAlreadyExists,
  isNotFound,
  KubeError,
  services,
  type KubeClient,
  type KubeObject,
  type KubeService,
  type Resource,
} from '#/kube/index.ts';
import type { MeshSettings } from '#/translate/index.ts';
import { WorkQueue } from '../work-queue.ts';
import { classStatus, waypointClassObject } from './gateway-class.ts';
import { classResource, gatewayResource, GatewayInformers } from './gateway-informers.ts';
import {
  claim,
  controllerVersion,
  gatewayAnnotation,
  gatewayLabel,
  gatewayManager,
  isManaged,
  meshController,
  objectName,
  waypointClass,
  wantedRevision,
  type Gateway,
  type GatewayStatus,
} from './gateway-object.ts';
import { gatewayStatus, referredHostname, type GatewayProblem } from './gateway-status.ts';
import { OverlayError, type Overlay } from './overlay.ts';
import { ForeignObjectError, OwnedObjects } from './owned-objects.ts';
import { waypointObjects } from './waypoint-objects.ts';
import type { WaypointSettings } from './waypoint-pod.ts';

export interface GatewayControllerOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly revision: string;
  /** Of our own objects, and of the defaults of classes. */
  readonly namespace: string;
  readonly image: string;
  /** `https://host:port` at which waypoints find us. */
  readonly xdsAddress: string;
  readonly caAddress: string;
  readonly mesh: () => MeshSettings;
  /** Whether to make the GatewayClass. */
  readonly makeClass: boolean;
  readonly onWrite?: (kind: string, ok: boolean) => void;
}

/** Key of the queue for the class; no Gateway has it. */
const classKey = '';

export class GatewayController {
  readonly #options: GatewayControllerOptions;
  #term: Term | undefined;

  constructor(options: GatewayControllerOptions) {
    this.#options = options;
  }

  /** Follows and writes while the signal holds. */
  lead(signal: AbortSignal): void {
    const term = new Term(this.#options, signal);
    this.#term = term;
    signal.addEventListener(
      'abort',
      () => {
        if (this.#term === term) this.#term = undefined;
      },
      { once: true },
    );
    term.run().catch((error: unknown) => {
      if (!signal.aborted) this.#options.log.error(`waypoints are not looked after: ${errorText(error)}`);
    });
  }

  /** Settings of the mesh have changed. */
  refresh(): void {
    this.#term?.refresh();
  }
}

class Term {
  readonly #options: GatewayControllerOptions;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #informers: GatewayInformers;
  readonly #objects: OwnedObjects;
  readonly #queue: WorkQueue;

  constructor(options: GatewayControllerOptions, signal: AbortSignal) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#signal = signal;
    this.#queue = new WorkQueue({
      work: (key) => (key === classKey ? this.#reconcileClass() : this.#reconcile(key)),
      onError: (key, error) =>
        options.log.warn(`${key === classKey ? 'GatewayClass' : `Gateway ${key}`}: ${errorText(error)}`),
      clock: this.#clock,
    });
    const ofClass = (name: string): void => this.#each((gateway) => gateway.spec.gatewayClassName === name);
    this.#informers = new GatewayInformers({
      client: options.client,
      log: options.log,
      clock: this.#clock,
      events: {
        gateway: (namespace, name) => this.#queue.add(`${namespace}/${name}`),
        gatewayClass: (name) => {
          this.#queue.add(classKey);
          ofClass(name);
        },
        namespace: (name) => this.#each(({ metadata }) => metadata.namespace === name),
        configMap: ({ metadata: { name, namespace, labels } }) => {
          const className = labels?.[gatewayLabel.classDefaults];
          if (className !== undefined && namespace === options.namespace) ofClass(className);
          this.#each(
            (gateway) =>
              gateway.metadata.namespace === namespace &&
              gateway.spec.infrastructure?.parametersRef?.name === name,
          );
        },
      },
    });
    this.#objects = new OwnedObjects(options.client, this.#informers);
  }

  async run(): Promise<void> {
    await this.#informers.start(this.#signal);
    this.#queue.add(classKey);
    this.#queue.start(this.#signal);
  }

  refresh(): void {
    this.#each(() => true);
  }

  #each(matches: (gateway: Gateway) => boolean): void {
    for (const gateway of this.#informers.gateways.list())
      if (matches(gateway)) this.#queue.add(`${gateway.metadata.namespace}/${gateway.metadata.name}`);
  }

  async #reconcileClass(): Promise<void> {
    const { client, makeClass } = this.#options;
    const { classes, classesKnown } = this.#informers;
    if (makeClass && classesKnown && classes.get(undefined, waypointClass) === undefined)
      try {
        await client.create(classResource, undefined, waypointClassObject, { fieldManager: gatewayManager });
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
      }
    for (const gatewayClass of classes.list()) {
      if (gatewayClass.spec.controllerName !== meshController) continue;
      const status = classStatus(gatewayClass, this.#clock.now());
      if (status !== undefined) await this.#writeStatus('GatewayClass', gatewayClass.metadata, status);
    }
  }

  #isOurs(gateway: Gateway): boolean {
    const { log, revision } = this.#options;
    const { metadata, spec } = gateway;
    const gatewayClass = this.#informers.classes.get(undefined, spec.gatewayClassName);
    const controller =
      gatewayClass?.spec.controllerName ??
      (spec.gatewayClassName === waypointClass ? meshController : undefined);
    if (controller !== meshController || metadata.deletionTimestamp !== undefined) return false;
    const wanted = wantedRevision(gateway, this.#informers.namespaceLabels(metadata.namespace ?? ''));
    if (wanted !== (revision === '' ? 'default' : revision)) {
      log.debug(`Gateway ${metadata.namespace}/${metadata.name} is for revision ${wanted}`);
      return false;
    }
    const owner = claim(gateway);
    if (owner !== 'ours')
      log.info(
        `Gateway ${metadata.namespace}/${metadata.name} belongs to a controller of ${owner.replace('-', ' ')}`,
      );
    return owner === 'ours';
  }

  async #reconcile(key: string): Promise<void> {
    const slash = key.indexOf('/');
    const [namespace, name] = [key.slice(0, slash), key.slice(slash + 1)];
    const gateway = this.#informers.gateways.get(namespace, name);
    if (gateway === undefined) {
      this.#objects.forget(namespace, name);
      return;
    }
    if (!this.#isOurs(gateway)) return;
    const own = isManaged(gateway);
    if (
      own &&
      gateway.metadata.annotations?.[gatewayAnnotation.controllerVersion] !== String(controllerVersion)
    )
      await this.#takeOver(gateway);
    const { service, problem, failure } = own
      ? await this.#make(gateway)
      : { service: await this.#referred(gateway), problem: undefined, failure: undefined };
    const status = gatewayStatus({
      gateway,
      service,
      deployment: this.#informers.deployment(namespace, objectName(gateway)),
      clusterDomain: this.#options.mesh().clusterDomain,
      problem,
      addressSuffices: this.#options.mesh().upstreamCompat,
      nowMs: this.#clock.now(),
    });
    if (!settled(gateway.status, status)) await this.#writeStatus('Gateway', gateway.metadata, status);
    if (failure !== undefined) throw failure;
    // Of a Service that is not ours nothing is heard.
    if (!own && service === undefined) throw new Error('the Service that spec.addresses names is not there');
  }

  async #make(gateway: Gateway): Promise<{
    readonly service: KubeService | undefined;
    readonly problem?: GatewayProblem;
    readonly failure?: unknown;
  }> {
    const { namespace = '' } = gateway.metadata;
    const service = this.#informers.service(namespace, objectName(gateway));
    try {
      const objects = waypointObjects(gateway, this.#settings(), this.#overlays(gateway));
      const written = await this.#objects.apply(gateway, objects, this.#signal);
      return { service: (written.service as KubeService | undefined) ?? service };
    } catch (error) {
      const message = errorText(error);
      // Tried again when one of the objects changes: later is no better.
      if (error instanceof OverlayError)
        return { service, problem: { condition: 'Accepted', reason: 'InvalidParameters', message } };
      const problem: GatewayProblem = { condition: 'Programmed', reason: 'Invalid', message };
      if (error instanceof ForeignObjectError) return { service, problem, failure: error };
      // A name that cannot be part of a path is a TypeError.
      const refused =
        error instanceof TypeError || (error instanceof KubeError && [400, 403, 422].includes(error.code));
      if (!refused) throw error;
      return { service, problem, failure: error };
    }
  }

  /** Throws OverlayError for a reference that leads nowhere. */
  #overlays(gateway: Gateway): readonly Overlay[] {
    const { metadata, spec } = gateway;
    const overlays: Overlay[] = [];
    const defaults = this.#informers.classDefaults(this.#options.namespace, spec.gatewayClassName);
    if (defaults !== undefined)
      overlays.push({
        title: `ConfigMap ${this.#options.namespace}/${defaults.metadata.name}`,
        data: defaults.data ?? {},
      });
    const reference = spec.infrastructure?.parametersRef;
    if (reference === undefined) return overlays;
    const { group, kind, name } = reference;
    const title = `${kind} ${metadata.namespace}/${name}`;
    if (group !== '' || kind !== 'ConfigMap')
      throw new OverlayError(`infrastructure.parametersRef names ${title}: it has to be a ConfigMap`);
    const map = this.#informers.configMap(metadata.namespace ?? '', name);
    if (map === undefined)
      throw new OverlayError(`infrastructure.parametersRef names ${title}, which is not there: create it`);
    overlays.push({ title, data: map.data ?? {} });
    return overlays;
  }

  #settings(): WaypointSettings {
    const { image, revision, namespace, xdsAddress, caAddress } = this.#options;
    const { clusterId, clusterDomain, trustDomain, systemNamespace } = this.#options.mesh();
    return {
      image,
      revision,
      systemNamespace: namespace,
      clusterId,
      clusterDomain,
      trustDomain,
      network: this.#informers.namespaceLabels(systemNamespace)?.[gatewayLabel.network] ?? '',
      xdsAddress,
      caAddress,
      graceSeconds: 30,
    };
  }

  async #referred(gateway: Gateway): Promise<KubeService | undefined> {
    const hostname = referredHostname(gateway, this.#options.mesh().clusterDomain);
    const [name = '', namespace = '', svc] = hostname.split('.');
    return svc === 'svc'
      ? this.#options.client.find(services, namespace, name, { signal: this.#signal })
      : undefined;
  }

  async #takeOver({ metadata: { namespace, name } }: Gateway): Promise<void> {
    const annotations = { [gatewayAnnotation.controllerVersion]: String(controllerVersion) };
    await this.#options.client.patch(
      gatewayResource,
      namespace,
      name,
      { metadata: { annotations } },
      'apply',
      {
        fieldManager: gatewayManager,
        force: true,
        signal: this.#signal,
      },
    );
  }

  async #writeStatus(
    kind: 'Gateway' | 'GatewayClass',
    { namespace, name }: { readonly namespace?: string; readonly name: string },
    status: unknown,
  ): Promise<void> {
    const resource: Resource<KubeObject> = kind === 'Gateway' ? gatewayResource : classResource;
    try {
      await this.#options.client.patch(
        resource,
        namespace,
        name,
        { metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, status },
        'apply',
        { subresource: 'status', fieldManager: gatewayManager, force: true, signal: this.#signal },
      );
      this.#options.onWrite?.(kind, true);
    } catch (error) {
      // Deleted in the meantime; the informer will say so.
      if (isNotFound(error)) return;
      this.#options.onWrite?.(kind, false);
      throw error;
    }
  }
}

/** Conditions that others have written do not count. */
function settled(current: GatewayStatus | undefined, wanted: Required<GatewayStatus>): boolean {
  const hasAll = (have: GatewayStatus['conditions'], want: GatewayStatus['conditions']): boolean =>
    (want ?? []).every((condition) =>
      equalJson(
        have?.find(({ type }) => type === condition.type),
        condition,
      ),
    );
  return (
    equalJson(current?.addresses ?? [], wanted.addresses) &&
    hasAll(current?.conditions, wanted.conditions) &&
    wanted.listeners.length === (current?.listeners ?? []).length &&
    wanted.listeners.every((listener) => {
      const have = current?.listeners?.find(({ name }) => name === listener.name);
      return (
        have !== undefined &&
        have.attachedRoutes === listener.attachedRoutes &&
        hasAll(have.conditions, listener.conditions)
      );
    })
  );
}
