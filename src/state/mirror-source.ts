// The main thread's end of a mirror: answers the keys of one view from the full store, and sends it what changes.
import { policyKey, type MeshKey, type Policy, type Service, type Workload } from '#/model/index.ts';
import type { MeshChanges, MeshStore } from './mesh-store.ts';
import { MirrorGraph } from './mirror-graph.ts';
import type { MirrorDelta, MirrorRequest } from './mirror-messages.ts';

/** Counts users by key. */
class Users {
  readonly #counts = new Map<string, number>();

  has(key: string): boolean {
    return this.#counts.has(key);
  }

  /** True if the key has gained its first user or lost its last. */
  use(key: string, used: boolean): boolean {
    const count = (this.#counts.get(key) ?? 0) + (used ? 1 : -1);
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
    return count === (used ? 1 : 0);
  }
}

/** What the view has been sent of one kind of record, and what may have to be sent next. */
class Sent<T> {
  readonly #sent = new Map<string, T>();
  readonly #dirty = new Set<string>();
  readonly #read: (key: string) => T | undefined;

  /** `read` gives what the view should hold now. */
  constructor(read: (key: string) => T | undefined) {
    this.#read = read;
  }

  get size(): number {
    return this.#sent.size;
  }

  touch(key: string): void {
    this.#dirty.add(key);
  }

  flush(): { put: T[]; drop: string[] } {
    const put: T[] = [];
    const drop: string[] = [];
    for (const key of this.#dirty) {
      const now = this.#read(key);
      if (now === this.#sent.get(key)) continue;
      if (now === undefined) {
        this.#sent.delete(key);
        drop.push(key);
      } else {
        this.#sent.set(key, now);
        put.push(now);
      }
    }
    this.#dirty.clear();
    return { put, drop };
  }
}

export interface MirrorSize {
  /** Keys that the view has asked for. */
  readonly keys: number;
  /** Records that the view holds. */
  readonly workloads: number;
  readonly services: number;
  readonly policies: number;
}

export interface MirrorSourceOptions {
  /** Tell the view the hostname of every service. Default: no. */
  readonly hostnames?: boolean;
}

/** Serves one view. Workloads of this node, and every policy that can apply to one, are sent unasked. */
export class MirrorSource implements Disposable {
  readonly #store: MeshStore;
  readonly #send: (delta: MirrorDelta) => void;
  readonly #graph: MirrorGraph;
  readonly #keys = new Set<MeshKey>();
  readonly #usedWorkloads = new Users();
  readonly #usedServices = new Users();
  /** Of workloads of this node. */
  readonly #namespaces = new Users();
  /** By workloads of this node. */
  readonly #listedPolicies = new Users();
  readonly #workloads: Sent<Workload>;
  readonly #services: Sent<Service>;
  readonly #policies: Sent<Policy>;
  readonly #tellsHostnames: boolean;
  #hostnames: string[] = [];
  #removedHostnames: string[] = [];
  readonly #subscription: Disposable;

  /** Sends the first delta before it returns, so that a view on the other end starts with what is local. */
  constructor(store: MeshStore, send: (delta: MirrorDelta) => void, options: MirrorSourceOptions = {}) {
    this.#store = store;
    this.#send = send;
    this.#tellsHostnames = options.hostnames === true;
    this.#workloads = new Sent((uid) =>
      this.#usedWorkloads.has(uid) ? store.workloadByUid(uid) : undefined,
    );
    this.#services = new Sent((key) => (this.#usedServices.has(key) ? store.serviceByKey(key) : undefined));
    this.#policies = new Sent((key) => {
      const policy = store.policy(key);
      return policy !== undefined && this.#canApply(key, policy) ? policy : undefined;
    });
    this.#graph = new MirrorGraph(store, {
      workload: (uid, used) => {
        if (this.#usedWorkloads.use(uid, used)) this.#workloads.touch(uid);
      },
      service: (key, used) => {
        if (this.#usedServices.use(key, used)) this.#services.touch(key);
      },
    });
    for (const workload of store.localWorkloads()) this.#local(workload, true);
    for (const policy of store.policies()) this.#policies.touch(policyKey(policy));
    if (this.#tellsHostnames)
      this.#hostnames = [...new Set(Array.from(store.services(), ({ hostname }) => hostname))];
    this.#flush([], true);
    this.#subscription = store.onChange((changes) => this.#follow(changes));
  }

  [Symbol.dispose](): void {
    this.#subscription[Symbol.dispose]();
  }

  get size(): MirrorSize {
    return {
      keys: this.#keys.size,
      workloads: this.#workloads.size,
      services: this.#services.size,
      policies: this.#policies.size,
    };
  }

  /** A message of the view. */
  receive(request: MirrorRequest): void {
    for (const key of request.ask)
      if (!this.#keys.has(key)) {
        this.#keys.add(key);
        this.#graph.addKey(key);
      }
    for (const key of request.forget) if (this.#keys.delete(key)) this.#graph.dropKey(key);
    this.#flush(request.ask, false);
  }

  #follow(changes: MeshChanges): void {
    // What comes goes first: a record that both need is not dropped and sent again.
    for (const { after } of changes.workloads.values())
      if (after !== undefined && this.#store.isLocal(after)) this.#local(after, true);
    for (const { before } of changes.workloads.values())
      if (before !== undefined && this.#store.isLocal(before)) this.#local(before, false);
    this.#graph.follow(changes);
    if (this.#tellsHostnames) this.#followHostnames(changes);
    for (const uid of changes.workloads.keys()) this.#workloads.touch(uid);
    for (const key of changes.services.keys()) this.#services.touch(key);
    for (const key of changes.policies.keys()) this.#policies.touch(key);
    this.#flush([], false);
  }

  // A name may be told again, or taken back twice: to the view that is the same.
  #followHostnames({ services }: MeshChanges): void {
    for (const { before, after } of services.values()) {
      if ((before === undefined) === (after === undefined)) continue;
      const { hostname } = (after ?? before) as Service;
      (this.#store.hasHostname(hostname) ? this.#hostnames : this.#removedHostnames).push(hostname);
    }
  }

  #canApply(key: string, policy: Policy): boolean {
    if (this.#listedPolicies.has(key) || policy.scope === 'Global') return true;
    return policy.scope === 'Namespace' && this.#namespaces.has(policy.namespace);
  }

  #local(workload: Workload, present: boolean): void {
    if (present) this.#graph.addLocal(workload.uid);
    else this.#graph.dropLocal(workload.uid);
    for (const key of workload.authorizationPolicies)
      if (this.#listedPolicies.use(key, present)) this.#policies.touch(key);
    if (this.#namespaces.use(workload.namespace, present))
      for (const policy of this.#store.policiesOfNamespace(workload.namespace))
        this.#policies.touch(policyKey(policy));
  }

  #flush(known: readonly MeshKey[], always: boolean): void {
    const workloads = this.#workloads.flush();
    const services = this.#services.flush();
    const policies = this.#policies.flush();
    const delta: MirrorDelta = {
      workloads: workloads.put,
      removedWorkloads: workloads.drop,
      services: services.put,
      removedServices: services.drop,
      policies: policies.put,
      removedPolicies: policies.drop,
      known,
      hostnames: this.#hostnames,
      removedHostnames: this.#removedHostnames,
    };
    this.#hostnames = [];
    this.#removedHostnames = [];
    if (always || Object.values(delta).some((part: readonly unknown[]) => part.length > 0)) this.#send(delta);
  }
}
