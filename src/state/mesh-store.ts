// The mesh as this proxy knows it. What it answers depends only on the records in it, never on the order in which
// they came. Applying a change costs in proportion to the change.
import type { Ip } from '#/kit/index.ts';
import {
  policyKey,
  serviceKey,
  type EndpointSet,
  type Identity,
  type MeshKey,
  type MeshView,
  type NamespacedHostname,
  type NameView,
  type Policy,
  type PolicyKey,
  type Service,
  type ServiceKey,
  type Workload,
} from '#/model/index.ts';
import type { PolicySet } from '#/policy/index.ts';
import { PolicyIndex } from './policy-index.ts';
import { ServiceIndex } from './service-index.ts';
import { WorkloadIndex, type LocalName } from './workload-index.ts';

/** Records that were decoded and found good. Removals come first, then services, workloads, policies. */
export interface MeshBatch {
  readonly addresses?: Iterable<Workload | Service>;
  readonly policies?: Iterable<Policy>;
  /** Resource names of addresses: tried as a workload's uid, then as a service's key. */
  readonly removedNames?: Iterable<string>;
  readonly removedWorkloads?: Iterable<string>;
  readonly removedServices?: Iterable<ServiceKey>;
  readonly removedPolicies?: Iterable<PolicyKey>;
}

export interface Change<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/** What one batch has changed. Records that stayed the same object are not in it. */
export interface MeshChanges {
  readonly workloads: ReadonlyMap<string, Change<Workload>>;
  readonly services: ReadonlyMap<ServiceKey, Change<Service>>;
  readonly policies: ReadonlyMap<PolicyKey, Change<Policy>>;
}

export interface MeshStoreOptions {
  /** The name of this node. Absent: every workload counts as local. */
  readonly node?: string;
}

function note<K, V>(map: Map<K, Change<V>>, key: K, before: V | undefined, after: V | undefined): void {
  const earlier = map.get(key);
  const first = earlier === undefined ? before : earlier.before;
  if (first === after) map.delete(key);
  else map.set(key, { before: first, after });
}

export class MeshStore implements MeshView, NameView {
  readonly #workloads: WorkloadIndex;
  readonly #services = new ServiceIndex();
  readonly #policies = new PolicyIndex();
  readonly #listeners = new Set<(changes: MeshChanges) => void>();

  constructor(options: MeshStoreOptions = {}) {
    this.#workloads = new WorkloadIndex(options.node);
  }

  /** Applies a batch as one change, then tells the listeners in the order in which they came. */
  apply(batch: MeshBatch): MeshChanges {
    const workloads = new Map<string, Change<Workload>>();
    const services = new Map<ServiceKey, Change<Service>>();
    const policies = new Map<PolicyKey, Change<Policy>>();

    const setWorkload = (uid: string, after: Workload | undefined): boolean => {
      const before = this.#workloads.get(uid);
      if (before === after) return before !== undefined;
      if (before !== undefined)
        for (const key of Object.keys(before.services))
          if (after?.services[key] === undefined) this.#services.removeEndpoint(key, uid);
      if (after === undefined) this.#workloads.delete(uid);
      else {
        this.#workloads.set(after);
        for (const key of Object.keys(after.services)) this.#services.addEndpoint(key, after);
      }
      note(workloads, uid, before, after);
      return true;
    };
    const setService = (key: ServiceKey, after: Service | undefined): void => {
      const before = this.#services.get(key);
      if (before === after) return;
      if (after === undefined) this.#services.delete(key);
      else this.#services.set(after);
      note(services, key, before, after);
    };
    const setPolicy = (key: PolicyKey, after: Policy | undefined): void => {
      const before = this.#policies.get(key);
      if (before === after) return;
      if (after === undefined) this.#policies.delete(key);
      else this.#policies.set(after);
      note(policies, key, before, after);
    };

    for (const name of batch.removedNames ?? [])
      if (!setWorkload(name, undefined)) setService(name, undefined);
    for (const uid of batch.removedWorkloads ?? []) setWorkload(uid, undefined);
    for (const key of batch.removedServices ?? []) setService(key, undefined);
    for (const key of batch.removedPolicies ?? []) setPolicy(key, undefined);
    for (const record of batch.addresses ?? [])
      if (record.kind === 'workload') setWorkload(record.uid, record);
      else setService(serviceKey(record), record);
    for (const policy of batch.policies ?? []) setPolicy(policyKey(policy), policy);

    const changes = { workloads, services, policies };
    if (workloads.size + services.size + policies.size > 0)
      for (const listener of this.#listeners) listener(changes);
    return changes;
  }

  /** Called after each batch that changed something. Dispose to stop. */
  onChange(listener: (changes: MeshChanges) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** The full store knows all that there is to know. */
  knows(_key: MeshKey): boolean {
    return true;
  }

  workloadByAddress(network: string, ip: Ip): Workload | undefined {
    return this.#workloads.at(network, ip);
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#workloads.get(uid);
  }

  workloadByHostname(name: NamespacedHostname): Workload | undefined {
    return this.#workloads.byHostname(name);
  }

  serviceByAddress(network: string, ip: Ip, clientNamespace?: string): Service | undefined {
    return this.#services.at(network, ip, clientNamespace);
  }

  serviceByKey(key: ServiceKey): Service | undefined {
    return this.#services.get(key);
  }

  serviceByHostname(hostname: string, clientNamespace?: string): Service | undefined {
    return this.#services.byHostname(hostname, clientNamespace);
  }

  servicesOf(workload: Workload): readonly Service[] {
    const services: Service[] = [];
    for (const key of Object.keys(workload.services)) {
      const service = this.#services.get(key);
      if (service !== undefined) services.push(service);
    }
    return services;
  }

  endpoints(service: ServiceKey): EndpointSet {
    return this.#services.endpoints(service);
  }

  /** All workloads listed under the service, also while it is not known, and those refused for their health. */
  members(service: ServiceKey): Iterable<Workload> {
    return this.#services.members(service);
  }

  workloadsAt(network: string, ip: Ip): readonly Workload[] {
    return this.#workloads.allAt(network, ip);
  }

  /** All services at the address, by exact address and by range, whoever they are visible to. */
  servicesAt(network: string, ip: Ip): readonly Service[] {
    return this.#services.allAt(network, ip);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#services.allByHostname(hostname);
  }

  hasHostname(hostname: string): boolean {
    return this.#services.allByHostname(hostname).length > 0;
  }

  isLocal(workload: Workload): boolean {
    return this.#workloads.isLocal(workload);
  }

  /** The workloads of this node. */
  localWorkloads(): Iterable<Workload> {
    return this.#workloads.local();
  }

  /** The record of a pod of this node, by the names that the node agent gave. */
  localWorkload(name: LocalName): Workload | undefined {
    return this.#workloads.localByName(name);
  }

  /** Whether any workload of this node has the identity; a certificate without one may be dropped. */
  hasLocalIdentity(identity: Identity): boolean {
    return this.#workloads.hasLocal(identity);
  }

  policy(key: PolicyKey): Policy | undefined {
    return this.#policies.get(key);
  }

  /** What the workload stands under, with the listed policies that are not known. Kept until a policy changes. */
  policiesFor(workload: Workload): PolicySet {
    return this.#policies.setFor(workload);
  }

  /** The policies of scope `Namespace` of a namespace. */
  policiesOfNamespace(namespace: string): Iterable<Policy> {
    return this.#policies.ofNamespace(namespace);
  }

  workloads(): Iterable<Workload> {
    return this.#workloads.all();
  }

  services(): Iterable<Service> {
    return this.#services.all();
  }

  policies(): Iterable<Policy> {
    return this.#policies.all();
  }

  /** Services that workloads list and that are not known (yet), with those workloads. */
  stagedServices(): Iterable<[ServiceKey, readonly Workload[]]> {
    return this.#services.staged();
  }

  get size(): { readonly workloads: number; readonly services: number; readonly policies: number } {
    return {
      workloads: this.#workloads.size,
      services: this.#services.size,
      policies: this.#policies.size,
    };
  }
}
