// What the leader follows to keep waypoints as their Gateways want them. Made anew for each term of leadership.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import {
  configMaps,
  defineResource,
  deployments,
  gatewayClasses,
  gateways,
  Informer,
  isNotFound,
  namespaces,
  serviceAccounts,
  services,
  type ConfigMap,
  type Deployment,
  type KubeClient,
  type KubeObject,
  type KubeService,
  type Namespace,
  type Resource,
} from '#/kube/index.ts';
import { gatewayLabel, managedByMesh, type Gateway, type GatewayClass } from './gateway-object.ts';
import { overlayKeys, type OverlayKey } from './overlay.ts';

export const gatewayResource = gateways as Resource<KubeObject> as Resource<Gateway>;
export const classResource = gatewayClasses as Resource<KubeObject> as Resource<GatewayClass>;

/** The kinds that a waypoint consists of. */
export const ownedResources: Readonly<Record<OverlayKey, Resource<KubeObject>>> = {
  serviceAccount: serviceAccounts,
  deployment: deployments,
  service: services,
  horizontalPodAutoscaler: defineResource(
    'autoscaling/v2',
    'horizontalpodautoscalers',
    'HorizontalPodAutoscaler',
  ),
  podDisruptionBudget: defineResource('policy/v1', 'poddisruptionbudgets', 'PodDisruptionBudget'),
};

export interface GatewayEvents {
  readonly gateway: (namespace: string, name: string) => void;
  readonly gatewayClass: (name: string) => void;
  readonly namespace: (name: string) => void;
  readonly configMap: (map: ConfigMap) => void;
}

export interface GatewayInformersOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock: Clock;
  readonly events: GatewayEvents;
}

export class GatewayInformers {
  readonly gateways: Informer<Gateway>;
  readonly classes: Informer<GatewayClass>;
  readonly #namespaces: Informer<Namespace>;
  readonly #configMaps: Informer<ConfigMap>;
  readonly #owned: ReadonlyMap<OverlayKey, Informer<KubeObject>>;
  readonly #options: GatewayInformersOptions;
  #classesKnown = false;

  constructor(options: GatewayInformersOptions) {
    this.#options = options;
    const { client, log, clock, events } = options;
    const shared = { log, clock };
    this.gateways = new Informer(client, gatewayResource, shared);
    this.classes = new Informer(client, classResource, shared);
    this.#namespaces = new Informer(client, namespaces, { ...shared, transform: labelsOnly });
    this.#configMaps = new Informer(client, configMaps, { ...shared, transform: overlaysOnly });
    this.#owned = new Map(
      overlayKeys.map((key) => [
        key,
        new Informer(client, ownedResources[key], {
          ...shared,
          labelSelector: `${gatewayLabel.managed}=${managedByMesh}`,
        }),
      ]),
    );
    const all = <T extends KubeObject>(informer: Informer<T>, changed: (object: T) => void): void => {
      informer.on('add', changed);
      informer.on('update', changed);
      informer.on('delete', changed);
    };
    all(this.gateways, ({ metadata }) => events.gateway(metadata.namespace ?? '', metadata.name));
    all(this.classes, ({ metadata }) => events.gatewayClass(metadata.name));
    all(this.#namespaces, ({ metadata }) => events.namespace(metadata.name));
    all(this.#configMaps, (map) => events.configMap(map));
    for (const informer of this.#owned.values())
      all(informer, ({ metadata }) => {
        const name = metadata.labels?.[gatewayLabel.name];
        if (name !== undefined) events.gateway(metadata.namespace ?? '', name);
      });
  }

  /** Resolves when all is known that a decision needs; rejects if aborted before. */
  async start(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    this.#namespaces.start(signal);
    this.#configMaps.start(signal);
    for (const informer of this.#owned.values()) informer.start(signal);
    let waiting = false;
    while (!(await this.#served(signal))) {
      if (!waiting)
        log.info('the API server does not have gateways.gateway.networking.k8s.io yet, waiting for it');
      waiting = true;
      await this.#options.clock.sleep(5000, signal);
    }
    this.gateways.start(signal);
    this.classes.start(signal);
    await Promise.all([
      this.gateways.synced,
      this.classes.synced,
      this.#namespaces.synced,
      this.#configMaps.synced,
      ...(['serviceAccount', 'deployment', 'service'] as const).map((key) => this.#owned.get(key)?.synced),
    ]);
    this.#classesKnown = true;
  }

  /** Whether the absence of a class is known. */
  get classesKnown(): boolean {
    return this.#classesKnown;
  }

  namespaceLabels(name: string): Readonly<Record<string, string>> | undefined {
    return this.#namespaces.get(undefined, name)?.metadata.labels;
  }

  configMap(namespace: string, name: string): ConfigMap | undefined {
    return this.#configMaps.get(namespace, name);
  }

  /** The oldest ConfigMap of that namespace with the defaults of a class. */
  classDefaults(namespace: string, className: string): ConfigMap | undefined {
    const age = ({ metadata: { creationTimestamp = '', name } }: ConfigMap): string =>
      `${creationTimestamp} ${name}`;
    return this.#configMaps
      .list()
      .filter(
        ({ metadata }) =>
          metadata.namespace === namespace && metadata.labels?.[gatewayLabel.classDefaults] === className,
      )
      .toSorted((a, b) => (age(a) < age(b) ? -1 : 1))[0];
  }

  owned(key: OverlayKey, namespace: string, name: string): KubeObject | undefined {
    return this.#owned.get(key)?.get(namespace, name);
  }

  /** Those that carry a Gateway's name. */
  ownedBy(key: OverlayKey, namespace: string, gateway: string): readonly KubeObject[] {
    return (this.#owned.get(key)?.list() ?? []).filter(
      ({ metadata }) => metadata.namespace === namespace && metadata.labels?.[gatewayLabel.name] === gateway,
    );
  }

  service(namespace: string, name: string): KubeService | undefined {
    return this.owned('service', namespace, name) as KubeService | undefined;
  }

  deployment(namespace: string, name: string): Deployment | undefined {
    return this.owned('deployment', namespace, name) as Deployment | undefined;
  }

  async #served(signal: AbortSignal): Promise<boolean> {
    const { client, log, clock } = this.#options;
    const { group, version, plural } = gatewayResource;
    for (;;) {
      try {
        const list = await client.request<{ resources?: { name?: string }[] }>(
          'GET',
          `/apis/${group}/${version}`,
          undefined,
          { signal },
        );
        return list.resources?.some(({ name }) => name === plural) === true;
      } catch (error) {
        if (isNotFound(error)) return false;
        signal.throwIfAborted();
        log.warn(`discovery of ${group}/${version}: ${errorText(error)}`);
        await clock.sleep(1000, signal);
      }
    }
  }
}

function labelsOnly({ metadata: { name, uid, resourceVersion, labels } }: Namespace): Namespace {
  return {
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
    },
  };
}

/** Of a ConfigMap that may be of any size, only what a waypoint can be changed by; of the rest, the keys' names. */
function overlaysOnly(map: ConfigMap): ConfigMap {
  const { name, namespace, uid, resourceVersion, labels, creationTimestamp } = map.metadata;
  const isOverlay = (key: string): boolean => (overlayKeys as readonly string[]).includes(key);
  const keys = Object.keys(map.data ?? {}).slice(0, 100);
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    data: Object.fromEntries(keys.map((key) => [key, isOverlay(key) ? (map.data?.[key] ?? '') : ''])),
  };
}
