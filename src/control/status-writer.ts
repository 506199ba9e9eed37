// Writes conditions to the status of the objects that they are about. Only the leader writes; replicas that do not
// lead know as well what to write, and take over where it left off.
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  authorizationPolicies,
  destinationRules,
  extensions,
  grpcRoutes,
  httpRoutes,
  isNotFound,
  KubeError,
  peerAuthentications,
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
import { conditionType, type Origin, type ParentStatus, type WantedCondition } from '#/translate/index.ts';
import type { Kept } from './mesh-watch.ts';
import { conditionOf, currentConditions, settledCondition, type Condition } from './status-conditions.ts';
import { mergedParents } from './status-parents.ts';
import { WorkQueue } from './work-queue.ts';

interface Owner {
  /** Field manager of server-side apply. */
  readonly manager: string;
  readonly types: readonly string[];
}

interface Written {
  readonly resource: Resource<KubeObject>;
  /** Of conditions. Routes have theirs in `status.parents` instead. */
  readonly owners: readonly Owner[];
  readonly parents?: boolean;
}

const { waypointBound, waypointMissing, visibilityApplied, ztunnelAccepted, waypointAccepted, valid } =
  conditionType;

const forWaypoints = (...types: readonly string[]): Owner => ({
  manager: 'istio-ambient-waypoint-policy',
  types,
});

const written: Readonly<Record<string, Written>> = {
  Service: {
    resource: services,
    owners: [{ manager: 'istio-ambient-service', types: [waypointBound, waypointMissing, valid] }],
  },
  ServiceEntry: {
    resource: serviceEntries,
    owners: [
      {
        manager: 'istio-ambient-service',
        types: [waypointBound, waypointMissing, visibilityApplied, valid],
      },
    ],
  },
  WorkloadEntry: {
    resource: workloadEntries,
    owners: [{ manager: 'istio-ambient-workloadentry', types: [waypointBound, valid] }],
  },
  AuthorizationPolicy: {
    resource: authorizationPolicies,
    owners: [
      { manager: 'istio-ambient-ztunnel-policy', types: [ztunnelAccepted] },
      { manager: 'istio-ambient-waypoint-policy', types: [waypointAccepted] },
    ],
  },
  PeerAuthentication: {
    resource: peerAuthentications,
    owners: [{ manager: 'istio-ambient-ztunnel-policy', types: [valid] }],
  },
  VirtualService: { resource: virtualServices, owners: [forWaypoints(valid)] },
  DestinationRule: { resource: destinationRules, owners: [forWaypoints(valid)] },
  RequestAuthentication: {
    resource: requestAuthentications,
    owners: [forWaypoints(waypointAccepted, valid)],
  },
  Telemetry: { resource: telemetries, owners: [forWaypoints(waypointAccepted, valid)] },
  TrafficPolicy: { resource: trafficPolicies, owners: [forWaypoints('Accepted')] },
  Extension: { resource: extensions, owners: [forWaypoints('Accepted')] },
  HTTPRoute: { resource: httpRoutes, owners: [], parents: true },
  GRPCRoute: { resource: grpcRoutes, owners: [], parents: true },
  TCPRoute: { resource: tcpRoutes, owners: [], parents: true },
  TLSRoute: { resource: tlsRoutes, owners: [], parents: true },
};

/** True if the object says already what we want to say. */
function settled(owner: Owner, wanted: readonly WantedCondition[], current: readonly Condition[]): boolean {
  return owner.types.every((type) => {
    const want = wanted.find((condition) => condition.type === type);
    const have = current.find((condition) => condition.type === type);
    return settledCondition(want, have);
  });
}

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly onWrite?: (kind: string, ok: boolean) => void;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #clock: Clock;
  readonly #objects = new Map<string, Kept>();
  readonly #wanted = new Map<string, readonly WantedCondition[]>();
  readonly #wantedParents = new Map<string, readonly ParentStatus[]>();
  readonly #queue: WorkQueue;
  /** The server has no server-side apply for status: found out at the first try. */
  #mergeOnly = false;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#queue = new WorkQueue({
      work: (id) => this.#write(id),
      onError: (id, error) => {
        options.onWrite?.(id.slice(0, id.indexOf(' ')), false);
        options.log.warn(`status of ${id}: ${errorText(error)}`);
      },
      ...(options.clock === undefined ? {} : { clock: options.clock }),
    });
  }

  /** An object as the API has it now; undefined: gone. */
  observe(kind: string, key: string, object: Kept | undefined): void {
    if (written[kind] === undefined) return;
    const id = `${kind} ${key}`;
    if (object === undefined) {
      this.#objects.delete(id);
      return;
    }
    // Only objects that may need a write are kept: most have no conditions and want none.
    const relevant =
      currentConditions(object.conditions).length > 0 ||
      object.parents !== undefined ||
      this.#wanted.has(id) ||
      this.#wantedParents.has(id);
    this.#objects.set(id, object);
    if (relevant) this.#check(id);
  }

  want({ kind, key }: Origin, conditions: readonly WantedCondition[]): void {
    if (written[kind] === undefined) return;
    const id = `${kind} ${key}`;
    if (conditions.length === 0) this.#wanted.delete(id);
    else this.#wanted.set(id, conditions);
    this.#check(id);
  }

  /** Of a route; entries of other controllers are left alone. */
  wantParents({ kind, key }: Origin, parents: readonly ParentStatus[]): void {
    if (written[kind]?.parents !== true) return;
    const id = `${kind} ${key}`;
    if (parents.length === 0) this.#wantedParents.delete(id);
    else this.#wantedParents.set(id, parents);
    this.#check(id);
  }

  /** Writes while the signal holds. */
  lead(signal: AbortSignal): void {
    for (const id of this.#objects.keys()) this.#check(id);
    this.#queue.start(signal);
  }

  get waiting(): number {
    return this.#queue.size;
  }

  #pending(id: string): readonly Owner[] {
    const object = this.#objects.get(id);
    const kind = written[id.slice(0, id.indexOf(' '))];
    if (object === undefined || kind === undefined) return [];
    const current = currentConditions(object.conditions);
    const wanted = this.#wanted.get(id) ?? [];
    return kind.owners.filter((owner) => !settled(owner, wanted, current));
  }

  #check(id: string): void {
    if (this.#pending(id).length > 0 || this.#pendingParents(id)) this.#queue.add(id);
  }

  #pendingParents(id: string): boolean {
    const object = this.#objects.get(id);
    if (object === undefined || written[id.slice(0, id.indexOf(' '))]?.parents !== true) return false;
    return mergedParents(object.parents, this.#wantedParents.get(id) ?? [], this.#clock.now()) !== undefined;
  }

  async #write(id: string): Promise<void> {
    const owners = this.#pending(id);
    const object = this.#objects.get(id);
    const kind = id.slice(0, id.indexOf(' '));
    const resource = written[kind]?.resource;
    if (object === undefined || resource === undefined) return;
    if (this.#pendingParents(id)) {
      try {
        await this.#sendParents(resource, object, id);
        this.#options.onWrite?.(kind, true);
      } catch (error) {
        if (isNotFound(error)) return;
        throw error;
      }
    }
    for (const owner of owners) {
      const current = currentConditions(object.conditions);
      const conditions = (this.#wanted.get(id) ?? [])
        .filter(({ type }) => owner.types.includes(type))
        .map((wanted) => conditionOf(wanted, current, this.#clock.now()));
      try {
        await this.#send(resource, object, owner, conditions);
        this.#options.onWrite?.(kind, true);
      } catch (error) {
        // Deleted in the meantime; the informer will say so.
        if (isNotFound(error)) return;
        throw error;
      }
    }
  }

  /** The list is replaced as a whole, so the version guards what other controllers have written to it. */
  async #sendParents(resource: Resource<KubeObject>, object: Kept, id: string): Promise<void> {
    const { client } = this.#options;
    const { name, namespace } = object.metadata;
    const fresh = (await client.get(resource, namespace, name)) as Kept & { status?: { parents?: unknown } };
    const parents = mergedParents(
      fresh.status?.parents,
      this.#wantedParents.get(id) ?? [],
      this.#clock.now(),
    );
    if (parents === undefined) return;
    const body = { metadata: { resourceVersion: fresh.metadata.resourceVersion }, status: { parents } };
    await client.patch(resource, namespace, name, body, 'merge', {
      subresource: 'status',
      fieldManager: 'istio-ambient-route',
    });
  }

  async #send(
    resource: Resource<KubeObject>,
    object: Kept,
    owner: Owner,
    conditions: readonly Condition[],
  ): Promise<void> {
    const { client } = this.#options;
    const { name, namespace } = object.metadata;
    const options = { subresource: 'status', fieldManager: owner.manager };
    if (!this.#mergeOnly) {
      try {
        const body = { metadata: { name, namespace }, status: { conditions } };
        await client.patch(resource, namespace, name, body, 'apply', { ...options, force: true });
        return;
      } catch (error) {
        if (!(error instanceof KubeError) || error.code !== 415) throw error;
        this.#mergeOnly = true;
        this.#options.log.warn('the API server has no server-side apply, status is written by merge patches');
      }
    }
    // The list is replaced as a whole, so what others have written is read first; the version guards it.
    const fresh = await client.get(resource, namespace, name);
    const others = currentConditions(
      (fresh as Kept & { status?: { conditions?: unknown } }).status?.conditions,
    );
    const body = {
      metadata: { resourceVersion: fresh.metadata.resourceVersion },
      status: {
        conditions: [...others.filter(({ type }) => !owner.types.includes(type)), ...conditions],
      },
    };
    await client.patch(resource, namespace, name, body, 'merge', options);
  }
}
