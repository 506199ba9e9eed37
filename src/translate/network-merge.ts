// Several clusters as the proxies of one are to see them. What is on our own network is sent as it is; the workloads
// of another network are behind its gateway, so one record stands for all that a service has there. Only services
// that are for all clusters are shared. Plain computing: each cluster's index writes to its sink, and `flush` hands on
// what has become different.
import { knownIdentity, type Service, type ServiceKey, type Workload } from '#/model/index.ts';
import { farWorkload, mergedService, sourceOf, withCapacityOf, type FarCapacity } from './merged-records.ts';
import type { Origin, RecordTable } from './mesh-index.ts';
import { compareText } from './object.ts';
import type { MeshRecord, NetworkGateway } from './translation.ts';

/** Where the merged records go; an equal record may come again. */
export interface MergedOutput {
  upsert(record: MeshRecord, name: string): void;
  remove(table: RecordTable, name: string): void;
}

/** Takes what the index of one cluster gives. */
export interface ClusterSink {
  upsert(record: MeshRecord, name: string, global: boolean): void;
  remove(table: RecordTable, name: string): void;
  networkGateways(origin: Origin, gateways: readonly NetworkGateway[]): void;
}

export interface NetworkMergeOptions {
  readonly localCluster: string;
  /** The network of the local cluster, now. */
  readonly localNetwork: () => string;
  readonly trustDomain: string;
  readonly output: MergedOutput;
}

interface ServiceOf {
  readonly record: Service;
  readonly global: boolean;
}

/** One cluster's part. Of the local cluster only what needs merging is kept. */
interface Slot {
  readonly cluster: string;
  readonly workloads: Map<string, Workload>;
  readonly gateways: Map<string, readonly NetworkGateway[]>;
  readonly services: Map<ServiceKey, ServiceOf>;
  /** Workloads by service. */
  readonly members: Map<ServiceKey, Set<string>>;
}

const newSlot = (cluster: string): Slot => ({
  cluster,
  workloads: new Map(),
  gateways: new Map(),
  services: new Map(),
  members: new Map(),
});

const gatewayPrefix = 'NetworkGateway/';

export class NetworkMerge {
  readonly #options: NetworkMergeOptions;
  readonly #local: Slot;
  /** Other clusters, by their ids in order, so that replicas agree. */
  #remote = new Map<string, Slot>();
  readonly #dirtyServices = new Set<ServiceKey>();
  readonly #dirtyWorkloads = new Set<string>();
  /** Ours, at the last flush. */
  #network: string | undefined;
  /** Names of merged records that are out, so that they can be taken back; per service those of its networks. */
  readonly #sent = new Set<string>();
  readonly #sentNetworks = new Map<ServiceKey, ReadonlySet<string>>();

  constructor(options: NetworkMergeOptions) {
    this.#options = options;
    this.#local = newSlot(options.localCluster);
  }

  /** For the index of our own cluster. */
  get local(): ClusterSink {
    const sink = this.#sink(this.#local, () => true);
    const { output, localNetwork } = this.#options;
    return {
      ...sink,
      upsert: (record, name, global) => {
        // Nearly everything is this: nothing of it is kept here.
        const plain =
          !('kind' in record) || (record.kind === 'workload' && record.network === localNetwork());
        if (!plain) {
          // It may be out in the plain form of before.
          this.#sent.add(name);
          sink.upsert(record, name, global);
          return;
        }
        if ('kind' in record && this.#local.workloads.has(name)) this.#drop(this.#local, name);
        this.#sent.delete(name);
        output.upsert(record, name);
      },
      remove: (table, name) => {
        const kept = this.#local.workloads.has(name) || this.#local.services.has(name);
        if (table === 'address' && kept) sink.remove(table, name);
        else output.remove(table, name);
      },
    };
  }

  /**
   * A new index of another cluster. What it gives counts from `activate` on, in place of what an earlier index of
   * the same cluster gave: while a new credential is tried, nothing changes.
   */
  join(cluster: string): { readonly sink: ClusterSink; activate(): void } {
    const slot = newSlot(cluster);
    let active = false;
    return {
      sink: this.#sink(slot, () => active),
      activate: () => {
        if (active) return;
        active = true;
        this.leave(cluster);
        this.#remote.set(cluster, slot);
        this.#remote = new Map([...this.#remote].sort(([a], [b]) => compareText(a, b)));
        this.#touchAll(slot);
      },
    };
  }

  /** The cluster is no longer part of the mesh. */
  leave(cluster: string): void {
    const slot = this.#remote.get(cluster);
    if (slot === undefined) return;
    this.#remote.delete(cluster);
    this.#touchAll(slot);
  }

  /** All is merged anew at the next flush. */
  again(): void {
    for (const slot of this.#slots()) this.#touchAll(slot);
  }

  /** True if `flush` has something to do. */
  get pending(): boolean {
    return (
      this.#dirtyServices.size + this.#dirtyWorkloads.size > 0 ||
      this.#network !== this.#options.localNetwork()
    );
  }

  /** Hands on what has changed, until `pause` says true (asked now and then). True when nothing is left. */
  flush(pause: () => boolean = () => false): boolean {
    const network = this.#options.localNetwork();
    if (network !== this.#network) this.again();
    this.#network = network;
    for (const key of this.#dirtyServices) {
      if (pause()) return false;
      this.#dirtyServices.delete(key);
      this.#mergeService(key);
      // Whether the service is for all clusters decides what its workloads are.
      for (const slot of this.#slots())
        for (const uid of slot.members.get(key) ?? []) this.#dirtyWorkloads.add(uid);
    }
    for (const uid of this.#dirtyWorkloads) {
      if (pause()) return false;
      this.#dirtyWorkloads.delete(uid);
      this.#mergeWorkload(uid);
    }
    return true;
  }

  #slots(): readonly Slot[] {
    return [this.#local, ...this.#remote.values()];
  }

  #sink(slot: Slot, active: () => boolean): ClusterSink {
    const touchService = (key: ServiceKey) => active() && this.#dirtyServices.add(key);
    const touchWorkload = (uid: string) => active() && this.#dirtyWorkloads.add(uid);
    const touchServicesOf = (uid: string) => {
      for (const key of Object.keys(slot.workloads.get(uid)?.services ?? {})) touchService(key);
    };
    return {
      upsert: (record, name, global) => {
        // Policies are each cluster's own.
        if (!('kind' in record)) return;
        if (record.kind === 'service') {
          slot.services.set(name, { record, global });
          touchService(name);
          return;
        }
        touchServicesOf(name);
        this.#drop(slot, name);
        slot.workloads.set(name, record);
        for (const key of Object.keys(record.services)) {
          const members = slot.members.get(key);
          if (members === undefined) slot.members.set(key, new Set([name]));
          else members.add(name);
        }
        touchServicesOf(name);
        touchWorkload(name);
      },
      remove: (table, name) => {
        if (table !== 'address') return;
        if (slot.services.delete(name)) touchService(name);
        if (!slot.workloads.has(name)) return;
        touchServicesOf(name);
        this.#drop(slot, name);
        touchWorkload(name);
      },
      networkGateways: ({ key }, gateways) => {
        const networks = new Set(
          [...(slot.gateways.get(key) ?? []), ...gateways].map(({ network }) => network),
        );
        if (gateways.length === 0) slot.gateways.delete(key);
        else slot.gateways.set(key, gateways);
        if (active()) this.#touchNetworks(networks);
      },
    };
  }

  #drop(slot: Slot, uid: string): void {
    const old = slot.workloads.get(uid);
    if (old === undefined) return;
    slot.workloads.delete(uid);
    for (const key of Object.keys(old.services)) {
      const members = slot.members.get(key);
      members?.delete(uid);
      if (members?.size === 0) slot.members.delete(key);
    }
    for (const key of Object.keys(old.services)) this.#dirtyServices.add(key);
  }

  #touchAll(slot: Slot): void {
    for (const key of slot.services.keys()) this.#dirtyServices.add(key);
    for (const key of slot.members.keys()) this.#dirtyServices.add(key);
    for (const uid of slot.workloads.keys()) this.#dirtyWorkloads.add(uid);
    const gateways = [...slot.gateways.values()].flat();
    if (gateways.length > 0) this.#touchNetworks(new Set(gateways.map(({ network }) => network)));
  }

  #touchNetworks(networks: ReadonlySet<string>): void {
    for (const slot of this.#slots())
      for (const { network, services } of slot.workloads.values())
        if (networks.has(network)) for (const key of Object.keys(services)) this.#dirtyServices.add(key);
  }

  /** The clusters that share the service, ours first; empty if it is ours alone. */
  #sharing(key: ServiceKey): readonly Slot[] {
    const own = this.#local.services.get(key);
    if (own !== undefined && !own.global) return [];
    return this.#slots().filter((slot) => slot.services.get(key)?.global === true);
  }

  #mergeService(key: ServiceKey): void {
    const sharing = this.#sharing(key);
    const own = this.#local.services.get(key)?.record;
    const base = own ?? sharing[0]?.services.get(key)?.record;
    if (base === undefined) {
      this.#takeBack(key);
      this.#putNetworks(key, []);
      return;
    }
    const here = this.#options.localNetwork();
    const names = new Set(base.subjectAltNames);
    const far = new Map<string, FarCapacity>();
    for (const slot of sharing) {
      for (const name of slot.services.get(key)?.record.subjectAltNames ?? []) names.add(name);
      for (const uid of slot.members.get(key) ?? []) {
        const workload = slot.workloads.get(uid);
        if (workload === undefined || workload.network === here) continue;
        // The client speaks TLS with the workload itself, through the gateway, and knows it by these names only.
        const identity = knownIdentity(workload);
        if (identity !== undefined) names.add(identity);
        far.set(workload.network, withCapacityOf(workload, far.get(workload.network)));
      }
    }
    const merged = mergedService(
      base,
      sharing.flatMap((slot) => slot.services.get(key)?.record ?? []),
      names,
    );
    this.#put(merged, key);
    this.#putNetworks(
      key,
      [...far].flatMap(([network, capacity]) => {
        const gateway = this.#gatewayOf(network);
        return gateway === undefined
          ? []
          : [farWorkload(merged, gateway, capacity, this.#options.trustDomain)];
      }),
    );
  }

  /** Our own objects say best which gateway to use; upstream, too, takes one only. */
  #gatewayOf(network: string): NetworkGateway | undefined {
    for (const slot of this.#slots()) {
      const found = [...slot.gateways.values()].flat().filter((gateway) => gateway.network === network);
      if (found.length > 0) return found.sort((a, b) => compareText(sourceOf(a), sourceOf(b)))[0];
    }
    return undefined;
  }

  #mergeWorkload(uid: string): void {
    for (const slot of this.#slots()) {
      const workload = slot.workloads.get(uid);
      if (workload === undefined) continue;
      const sent = this.#visible(slot, workload);
      if (sent === undefined) break;
      this.#put(sent, uid);
      return;
    }
    this.#takeBack(uid);
  }

  /** The workload as our proxies get it; undefined if they do not. */
  #visible(slot: Slot, workload: Workload): Workload | undefined {
    if (workload.uid.startsWith(gatewayPrefix)) return workload;
    const shared = Object.entries(workload.services).filter(([key]) => this.#sharing(key).includes(slot));
    if (workload.network !== this.#options.localNetwork())
      // One that our own objects name, of services that are ours alone, is reached through its own gateway.
      return slot === this.#local && shared.length === 0 ? workload : undefined;
    if (slot === this.#local || shared.length === Object.keys(workload.services).length) return workload;
    return { ...workload, services: Object.fromEntries(shared) };
  }

  #put(record: Service | Workload, name: string): void {
    this.#sent.add(name);
    this.#options.output.upsert(record, name);
  }

  #takeBack(name: string): void {
    if (this.#sent.delete(name)) this.#options.output.remove('address', name);
  }

  #putNetworks(key: ServiceKey, workloads: readonly Workload[]): void {
    const names = new Set(workloads.map(({ uid }) => uid));
    for (const name of this.#sentNetworks.get(key) ?? []) if (!names.has(name)) this.#takeBack(name);
    if (names.size === 0) this.#sentNetworks.delete(key);
    else this.#sentNetworks.set(key, names);
    for (const workload of workloads) this.#put(workload, workload.uid);
  }
}
