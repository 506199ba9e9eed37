// A worker's end of a mirror: a store of the records that were sent, and the keys that they answer in full.
// A key that is not known is asked for; it then stays up to date until the limit pushes it out.
import { MeshError } from '#/errors/index.ts';
import { Lru, type Ip } from '#/kit/index.ts';
import type {
  EndpointSet,
  MeshKey,
  MeshView,
  NamespacedHostname,
  NameView,
  Service,
  ServiceKey,
  Workload,
} from '#/model/index.ts';
import type { PolicySet } from '#/policy/index.ts';
import { MeshStore, type MeshChanges, type MeshStoreOptions } from './mesh-store.ts';
import type { MirrorDelta, MirrorRequest } from './mirror-messages.ts';
import type { LocalName } from './workload-index.ts';

export interface MirrorViewOptions extends MeshStoreOptions {
  /** Takes a message to the source. Messages must arrive in order. */
  readonly send: (request: MirrorRequest) => void;
  /** Keys that are held, and keys that may be waited for; the one used longest ago leaves first. Default 10 000. */
  readonly limit?: number;
}

interface Waiting {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

export class MirrorView implements MeshView, NameView {
  readonly #store: MeshStore;
  readonly #send: (request: MirrorRequest) => void;
  readonly #known: Lru<MeshKey, true>;
  readonly #waiting = new Map<MeshKey, Waiting>();
  readonly #evicted: MeshKey[] = [];
  readonly #hostnames = new Set<string>();
  readonly #limit: number;

  constructor(options: MirrorViewOptions) {
    this.#store = new MeshStore(options);
    this.#send = options.send;
    this.#limit = options.limit ?? 10_000;
    this.#known = new Lru(this.#limit, (key) => this.#evicted.push(key));
  }

  /** A message of the source; applied as one change. */
  receive(delta: MirrorDelta): void {
    this.#store.apply({
      addresses: [...delta.services, ...delta.workloads],
      policies: delta.policies,
      removedWorkloads: delta.removedWorkloads,
      removedServices: delta.removedServices,
      removedPolicies: delta.removedPolicies,
    });
    for (const hostname of delta.hostnames) this.#hostnames.add(hostname);
    for (const hostname of delta.removedHostnames) this.#hostnames.delete(hostname);
    for (const key of delta.known) {
      this.#known.set(key, true);
      this.#waiting.get(key)?.resolve();
      this.#waiting.delete(key);
    }
    if (this.#evicted.length > 0) this.#send({ ask: [], forget: this.#evicted.splice(0) });
  }

  /** Resolves when all the keys are known. Rejects with OVER_LIMIT if too many are being waited for. */
  async ask(keys: readonly MeshKey[]): Promise<void> {
    const missing = new Set(keys.filter((key) => !this.knows(key)));
    const fresh = [...missing].filter((key) => !this.#waiting.has(key));
    if (this.#waiting.size + fresh.length > this.#limit)
      throw new MeshError(
        'OVER_LIMIT',
        `too many look-ups are under way (${this.#waiting.size} of ${this.#limit}): the main thread does not keep up`,
      );
    for (const key of fresh) this.#waiting.set(key, Promise.withResolvers());
    const answers = [...missing].map((key) => (this.#waiting.get(key) as Waiting).promise);
    if (fresh.length > 0) this.#send({ ask: fresh, forget: [] });
    await Promise.all(answers);
  }

  /** Called after each change of the records held. */
  onChange(listener: (changes: MeshChanges) => void): Disposable {
    return this.#store.onChange(listener);
  }

  /** Asking counts as use. */
  knows(key: MeshKey): boolean {
    return this.#known.get(key) === true;
  }

  workloadByAddress(network: string, ip: Ip): Workload | undefined {
    return this.#store.workloadByAddress(network, ip);
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#store.workloadByUid(uid);
  }

  workloadByHostname(name: NamespacedHostname): Workload | undefined {
    return this.#store.workloadByHostname(name);
  }

  serviceByAddress(network: string, ip: Ip, clientNamespace?: string): Service | undefined {
    return this.#store.serviceByAddress(network, ip, clientNamespace);
  }

  serviceByKey(key: ServiceKey): Service | undefined {
    return this.#store.serviceByKey(key);
  }

  serviceByHostname(hostname: string, clientNamespace?: string): Service | undefined {
    return this.#store.serviceByHostname(hostname, clientNamespace);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#store.servicesByHostname(hostname);
  }

  /** Without a question to the source, so that names which the mesh does not have cost nothing there. */
  hasHostname(hostname: string): boolean {
    return this.#hostnames.has(hostname);
  }

  servicesOf(workload: Workload): readonly Service[] {
    return this.#store.servicesOf(workload);
  }

  endpoints(service: ServiceKey): EndpointSet {
    return this.#store.endpoints(service);
  }

  /** The record of a pod of this node. */
  localWorkload(name: LocalName): Workload | undefined {
    return this.#store.localWorkload(name);
  }

  localWorkloads(): Iterable<Workload> {
    return this.#store.localWorkloads();
  }

  /** What a workload of this node stands under. Of other workloads the policies are not mirrored. */
  policiesFor(workload: Workload): PolicySet {
    return this.#store.policiesFor(workload);
  }

  /** Numbers for metrics. `evicted` counts keys that left because of the limit. */
  get size(): {
    readonly keys: number;
    readonly waiting: number;
    readonly evicted: number;
    readonly workloads: number;
    readonly services: number;
    readonly policies: number;
    readonly hostnames: number;
  } {
    return {
      keys: this.#known.size,
      waiting: this.#waiting.size,
      evicted: this.#known.evicted,
      hostnames: this.#hostnames.size,
      ...this.#store.size,
    };
  }
}
