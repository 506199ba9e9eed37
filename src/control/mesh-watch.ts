// Follows the objects that the mesh is made from, and keeps the tables of resources up to date with them.
// Caches hold facts, not objects: of a pod, a tenth of its size.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  Informer,
  authorizationPolicies,
  destinationRules,
  endpointSlices,
  extensions,
  gatewayClasses,
  gateways,
  grpcRoutes,
  httpRoutes,
  isNotFound,
  namespaces,
  nodes,
  peerAuthentications,
  pods,
  requestAuthentications,
  serviceEntries,
  services,
  tcpRoutes,
  telemetries,
  tlsRoutes,
  trafficPolicies,
  virtualServices,
  workloadEntries,
  type KubeClient,
  type KubeObject,
  type Resource,
} from '#/kube/index.ts';
import {
  MeshIndex,
  objectKey,
  type ClusterSink,
  readFacts,
  type FactsByKind,
  type Kind,
  type KindOnDemand,
  type MeshSettings,
  type Origin,
  type ParentStatus,
  type Problem,
  type SourceObject,
  type WantedCondition,
} from '#/translate/index.ts';
import { MeshTables } from './mesh-tables.ts';
import { PodDirectory } from './pod-directory.ts';
import { ReferencedObjects } from './referenced-objects.ts';

interface Watched {
  readonly resource: Resource<KubeObject>;
  /** A kind that the server may not have (yet): its absence keeps nothing up. */
  readonly custom?: boolean;
  readonly labelSelector?: string;
}

type WatchedKind = Exclude<Kind, KindOnDemand>;

const watched: { readonly [K in WatchedKind]: Watched } = {
  Namespace: { resource: namespaces },
  Node: { resource: nodes },
  Service: { resource: services },
  Pod: { resource: pods },
  EndpointSlice: {
    resource: endpointSlices,
    // Slices of Kubernetes' own controller say nothing that pods do not say.
    labelSelector: 'endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io',
  },
  GatewayClass: { resource: gatewayClasses, custom: true },
  Gateway: { resource: gateways, custom: true },
  ServiceEntry: { resource: serviceEntries, custom: true },
  WorkloadEntry: { resource: workloadEntries, custom: true },
  AuthorizationPolicy: { resource: authorizationPolicies, custom: true },
  PeerAuthentication: { resource: peerAuthentications, custom: true },
  HTTPRoute: { resource: httpRoutes, custom: true },
  GRPCRoute: { resource: grpcRoutes, custom: true },
  TCPRoute: { resource: tcpRoutes, custom: true },
  TLSRoute: { resource: tlsRoutes, custom: true },
  VirtualService: { resource: virtualServices, custom: true },
  DestinationRule: { resource: destinationRules, custom: true },
  RequestAuthentication: { resource: requestAuthentications, custom: true },
  Telemetry: { resource: telemetries, custom: true },
  TrafficPolicy: { resource: trafficPolicies, custom: true },
  Extension: { resource: extensions, custom: true },
};

/** What a cache keeps of an object. */
export interface Kept extends KubeObject {
  readonly facts: FactsByKind[Kind];
  /** `status.conditions`, where we write some. */
  readonly conditions?: unknown;
  /** `status.parents` of routes. */
  readonly parents?: unknown;
}

const withStatus: readonly Kind[] = [
  'Service',
  'ServiceEntry',
  'WorkloadEntry',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'VirtualService',
  'DestinationRule',
  'RequestAuthentication',
  'Telemetry',
  'TrafficPolicy',
  'Extension',
];

const routeKinds: readonly Kind[] = ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'];

/** Problems of one object that are logged. */
const maxReported = 10;

const reported: readonly Kind[] = ['Namespace', ...withStatus, ...routeKinds];

/** Where the records of an index go, other than straight to the tables. */
export interface MeshSink extends ClusterSink {
  /** Makes what has come since the last call visible. Gives how many resources really changed. */
  commit(): number;
}

export interface MeshWatchOptions {
  /** Default: all. */
  readonly kinds?: readonly Kind[];
  /** Default: `tables`. */
  readonly sink?: MeshSink;
  readonly client: KubeClient;
  readonly settings: MeshSettings;
  readonly log: Logger;
  readonly clock?: Clock;
  /** A namespace, or an object whose status we may write, has appeared, changed or (undefined) gone. */
  readonly onObject?: (kind: Kind, key: string, object: Kept | undefined) => void;
  /** For each change that the API reports. */
  readonly onChange?: (kind: Kind) => void;
  readonly onConditions?: (origin: Origin, conditions: readonly WantedCondition[]) => void;
  readonly onParents?: (origin: Origin, parents: readonly ParentStatus[]) => void;
  /** After each round of translation: milliseconds and resources that changed. */
  readonly onRound?: (ms: number, changed: number) => void;
  /** Milliseconds for which a round may keep the event loop before it lets others in. */
  readonly sliceMs?: number;
}

export class MeshWatch {
  readonly tables: MeshTables;
  readonly pods = new PodDirectory();
  readonly index: MeshIndex;
  readonly #options: MeshWatchOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #referenced: ReferencedObjects;
  readonly #synced = Promise.withResolvers<void>();
  #live = false;
  #scheduled = false;
  #roundStarted: number | undefined;

  constructor(options: MeshWatchOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.tables = new MeshTables(options.log);
    this.#referenced = new ReferencedObjects({
      client: options.client,
      log: options.log,
      clock: this.#clock,
      onPut: (kind, object) => {
        this.index.set(kind, object);
        this.#schedule();
      },
      onGone: (kind, key) => {
        this.index.delete(kind, key);
        this.#schedule();
      },
    });
    this.index = new MeshIndex(options.settings, {
      upsert: (record, name, global) =>
        options.sink === undefined
          ? this.tables.upsert(record, name)
          : options.sink.upsert(record, name, global),
      upsertWaypoint: (record, name) => this.tables.upsertWaypoint(record, name),
      remove: (table, name) => (options.sink ?? this.tables).remove(table, name),
      networkGateways: (origin, gateways) => options.sink?.networkGateways(origin, gateways),
      conditions: (origin, conditions) => options.onConditions?.(origin, conditions),
      problems: (origin, problems) => this.#report(origin, problems),
      parents: (origin, parents) => options.onParents?.(origin, parents),
      needs: (kind, key, needed) => this.#referenced.needs(kind, key, needed),
    });
    this.#synced.promise.catch(() => {});
  }

  /** New settings for all translations. */
  reconfigure(settings: MeshSettings): void {
    this.index.reconfigure(settings);
    this.#schedule();
  }

  /** Resolves when all kinds have been listed and translated once. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  start(signal: AbortSignal): void {
    this.#referenced.start(signal);
    const { kinds } = this.#options;
    const waiting = (Object.entries(watched) as [WatchedKind, Watched][])
      .filter(([kind]) => kinds?.includes(kind) ?? true)
      .map(([kind, each]) => this.#follow(kind, each, signal));
    void Promise.all(waiting).then(
      () => {
        this.#live = true;
        this.#schedule();
      },
      (error: unknown) => this.#synced.reject(error as Error),
    );
  }

  /** Resolves when the first list of this kind is in; for a custom kind also when the server does not have it. */
  async #follow(
    kind: Kind,
    { resource, custom, labelSelector }: Watched,
    signal: AbortSignal,
  ): Promise<void> {
    const informer = new Informer(this.#options.client, resource, {
      log: this.#log,
      clock: this.#clock,
      transform: (object) => keep(kind, object),
      ...(labelSelector === undefined ? {} : { labelSelector }),
    });
    informer.on('add', (object) => this.#put(kind, object as Kept));
    informer.on('update', (object) => this.#put(kind, object as Kept));
    informer.on('delete', (object) => this.#remove(kind, object as Kept));
    if (custom === true && !(await this.#serves(resource, signal))) {
      this.#log.info(`the API server does not have ${resource.plural}.${resource.group} yet, waiting for it`);
      void this.#startLater(informer, resource, signal);
      return;
    }
    informer.start(signal);
    await informer.synced;
  }

  async #startLater(
    informer: Informer<KubeObject>,
    resource: Resource<KubeObject>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      do await this.#clock.sleep(5000, signal);
      while (!(await this.#serves(resource, signal)));
      this.#log.info(`${resource.plural}.${resource.group} has appeared`);
      informer.start(signal);
    } catch {
      // Aborted.
    }
  }

  async #serves(resource: Resource<KubeObject>, signal: AbortSignal): Promise<boolean> {
    for (;;) {
      try {
        const list = await this.#options.client.request<{ resources?: { name?: string }[] }>(
          'GET',
          `/apis/${resource.group}/${resource.version}`,
        );
        return list.resources?.some(({ name }) => name === resource.plural) === true;
      } catch (error) {
        if (isNotFound(error)) return false;
        this.#log.warn(`discovery of ${resource.group}/${resource.version}: ${errorText(error)}`);
        await this.#clock.sleep(1000, signal);
      }
    }
  }

  #put(kind: Kind, { facts, ...object }: Kept): void {
    this.#options.onChange?.(kind);
    if (kind === 'Pod') this.pods.set(facts as FactsByKind['Pod']);
    this.index.setFacts(kind, facts);
    if (reported.includes(kind)) this.#options.onObject?.(kind, objectKey(facts), { ...object, facts });
    this.#schedule();
  }

  #remove(kind: Kind, { facts }: Kept): void {
    const key = objectKey(facts);
    this.#options.onChange?.(kind);
    if (kind === 'Pod') this.pods.delete(key);
    this.index.delete(kind, key);
    if (reported.includes(kind)) this.#options.onObject?.(kind, key, undefined);
    this.#schedule();
  }

  /** Translates in slices, after the events at hand: a burst is one round, and nobody waits for its end. */
  #schedule(): void {
    if (!this.#live || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#work());
  }

  #work(): void {
    const began = performance.now();
    this.#roundStarted ??= began;
    const slice = this.#options.sliceMs ?? 10;
    const done = this.index.work(() => performance.now() - began > slice);
    const changed = (this.#options.sink ?? this.tables).commit();
    this.#scheduled = false;
    if (!done) {
      this.#schedule();
      return;
    }
    this.#options.onRound?.(performance.now() - this.#roundStarted, changed);
    this.#roundStarted = undefined;
    this.#synced.resolve();
  }

  #report(origin: Origin, problems: readonly Problem[]): void {
    for (const { field, reason } of problems.slice(0, maxReported))
      this.#log.warn(`${origin.kind} ${origin.key}: ${field === '' ? '' : `${field}: `}${reason}`);
    if (problems.length > maxReported)
      this.#log.warn(`${origin.kind} ${origin.key}: and ${problems.length - maxReported} more problems`);
  }
}

function keep(kind: Kind, object: KubeObject): Kept {
  const { name, namespace, uid, resourceVersion, generation } = object.metadata;
  const conditions = withStatus.includes(kind)
    ? (object as { status?: { conditions?: unknown } }).status?.conditions
    : undefined;
  const parents = routeKinds.includes(kind)
    ? (object as { status?: { parents?: unknown } }).status?.parents
    : undefined;
  return {
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(generation === undefined ? {} : { generation }),
    },
    facts: readFacts(kind, object as SourceObject),
    ...(conditions === undefined ? {} : { conditions }),
    ...(parents === undefined ? {} : { parents }),
  };
}
