// What has to be mirrored to answer a key: a graph of nodes that are counted by their users. A node is a question at
// a level; levels fall along every edge, so there are no rings. Level 3 is what a client addresses, 2 a waypoint or
// an endpoint, 1 a gateway to another network, 0 a bare record.
import type { Ip } from '#/kit/index.ts';
import {
  parseMeshKey,
  serviceKey,
  type GatewayAddress,
  type MeshKey,
  type Service,
  type ServiceKey,
  type Workload,
} from '#/model/index.ts';
import type { MeshChanges, MeshStore } from './mesh-store.ts';

type Kind =
  | 'address' /* network/ip: what is found there */
  | 'gateway' /* ns/hostname, as a waypoint or gateway is named: the service, else the workload */
  | 'hostname' /* services of any namespace */
  | 'service'
  | 'workload'
  | 'local'; /* a workload of this node, with the services it is listed under */

const kinds: readonly Kind[] = ['address', 'gateway', 'hostname', 'service', 'workload', 'local'];
const levels = [0, 1, 2, 3] as const;
type Level = (typeof levels)[number];

interface Node {
  readonly kind: Kind;
  readonly level: Level;
  readonly name: string;
  users: number;
  /** Ids of the nodes this one uses, but for endpoints. */
  children: ReadonlySet<string>;
  /** Of a service whose endpoints are needed: their uids. */
  readonly endpoints: Set<string>;
}

const idOf = (kind: Kind, level: Level, name: string): string => `${kinds.indexOf(kind)}${level}${name}`;

function splitAddress(name: string): [string, Ip] {
  const slash = name.lastIndexOf('/');
  return [name.slice(0, slash), name.slice(slash + 1) as Ip];
}

const splitService = (key: ServiceKey): { namespace: string; hostname: string } => {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), hostname: key.slice(slash + 1) };
};

function gatewayNode({ destination }: GatewayAddress, level: Level): string {
  return destination.kind === 'address'
    ? idOf('address', level, `${destination.network}/${destination.ip}`)
    : idOf('gateway', level, `${destination.namespace}/${destination.hostname}`);
}

/** The level of a service's endpoints; undefined if they are not needed. */
const endpointLevel = ({ kind, level }: Node): Level | undefined =>
  kind !== 'service' || level === 0 ? undefined : level === 1 ? 0 : 2;

/** The record of a node that a view has to hold. */
export interface RecordUse {
  workload(uid: string, used: boolean): void;
  service(key: ServiceKey, used: boolean): void;
}

export class MirrorGraph {
  readonly #store: MeshStore;
  readonly #use: RecordUse;
  readonly #nodes = new Map<string, Node>();

  constructor(store: MeshStore, use: RecordUse) {
    this.#store = store;
    this.#use = use;
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Starts to hold what answers the key. Text that is no key answers itself: nothing. */
  addKey(key: MeshKey): void {
    const id = this.#root(key);
    if (id !== undefined) this.#acquire(id);
  }

  dropKey(key: MeshKey): void {
    const id = this.#root(key);
    if (id !== undefined) this.#release(id);
  }

  addLocal(uid: string): void {
    this.#acquire(idOf('local', 0, uid));
  }

  dropLocal(uid: string): void {
    this.#release(idOf('local', 0, uid));
  }

  /** Follows a change of the store. New and lost records are told to `use`; records that only changed are not. */
  follow(changes: MeshChanges): void {
    const stale = new Set<string>();
    const all = (kind: Kind, name: string): void => {
      for (const level of levels) stale.add(idOf(kind, level, name));
    };
    for (const [uid, { before, after }] of changes.workloads) {
      all('workload', uid);
      all('local', uid);
      for (const workload of [before, after]) {
        if (workload === undefined) continue;
        for (const ip of workload.addresses) all('address', `${workload.network}/${ip}`);
        if (workload.hostname !== '') all('gateway', `${workload.namespace}/${workload.hostname}`);
      }
    }
    let ranges = false;
    for (const [key, { before, after }] of changes.services) {
      all('service', key);
      all('gateway', key);
      all('hostname', splitService(key).hostname);
      for (const service of [before, after]) {
        if (service === undefined) continue;
        for (const { network, ip } of service.addresses) all('address', `${network}/${ip}`);
        ranges ||= service.cidrAddresses.length > 0;
      }
    }
    if (ranges) for (const [id, { kind }] of this.#nodes) if (kind === 'address') stale.add(id);

    for (const [uid, { before, after }] of changes.workloads) {
      for (const key of Object.keys(after?.services ?? {})) this.#putEndpoint(key, uid);
      for (const key of Object.keys(before?.services ?? {}))
        if (after?.services[key] === undefined) this.#takeEndpoint(key, uid);
    }
    for (const id of stale) {
      const node = this.#nodes.get(id);
      if (node !== undefined) this.#rewire(node);
    }
  }

  #root(key: MeshKey): string | undefined {
    const parsed = parseMeshKey(key);
    if (parsed === undefined) return undefined;
    if (parsed.kind === 'host') return idOf('hostname', 0, parsed.hostname);
    return idOf('address', parsed.kind === 'ip' ? 3 : 0, `${parsed.network}/${parsed.ip}`);
  }

  #acquire(id: string): void {
    const known = this.#nodes.get(id);
    if (known !== undefined) {
      known.users++;
      return;
    }
    const node: Node = {
      kind: kinds[Number(id[0])] as Kind,
      level: Number(id[1]) as Level,
      name: id.slice(2),
      users: 1,
      children: new Set(),
      endpoints: new Set(),
    };
    this.#nodes.set(id, node);
    if (node.kind === 'workload' || node.kind === 'local') this.#use.workload(node.name, true);
    if (node.kind === 'service') this.#use.service(node.name, true);
    this.#rewire(node);
    const level = endpointLevel(node);
    if (level === undefined) return;
    for (const { uid } of this.#store.members(node.name)) {
      node.endpoints.add(uid);
      this.#acquire(idOf('workload', level, uid));
    }
  }

  #release(id: string): void {
    const node = this.#nodes.get(id);
    if (node === undefined || --node.users > 0) return;
    this.#nodes.delete(id);
    if (node.kind === 'workload' || node.kind === 'local') this.#use.workload(node.name, false);
    if (node.kind === 'service') this.#use.service(node.name, false);
    for (const child of node.children) this.#release(child);
    const level = endpointLevel(node);
    if (level !== undefined) for (const uid of node.endpoints) this.#release(idOf('workload', level, uid));
  }

  #rewire(node: Node): void {
    const before = node.children;
    const after = new Set(this.#children(node));
    node.children = after;
    for (const id of after) if (!before.has(id)) this.#acquire(id);
    for (const id of before) if (!after.has(id)) this.#release(id);
  }

  // Both may be called again for an endpoint that is there or gone already: a service that comes into the graph
  // while a change is followed has its endpoints from the store as it is after the change.
  #putEndpoint(key: ServiceKey, uid: string): void {
    for (const level of levels) {
      const node = this.#nodes.get(idOf('service', level, key));
      const child = node === undefined ? undefined : endpointLevel(node);
      if (node === undefined || child === undefined || node.endpoints.has(uid)) continue;
      node.endpoints.add(uid);
      this.#acquire(idOf('workload', child, uid));
    }
  }

  #takeEndpoint(key: ServiceKey, uid: string): void {
    for (const level of levels) {
      const node = this.#nodes.get(idOf('service', level, key));
      const child = node === undefined ? undefined : endpointLevel(node);
      if (child !== undefined && node?.endpoints.delete(uid) === true)
        this.#release(idOf('workload', child, uid));
    }
  }

  #children({ kind, level, name }: Node): string[] {
    switch (kind) {
      case 'address':
        return this.#atAddress(name, level);
      case 'gateway':
        return this.#behindGateway(name, level);
      case 'hostname':
        return this.#store.servicesByHostname(name).map((service) => idOf('service', 0, serviceKey(service)));
      case 'service':
        return this.#hopsOfService(this.#store.serviceByKey(name), level);
      case 'workload':
        return this.#hopsOfWorkload(this.#store.workloadByUid(name), level);
      case 'local':
        return Object.keys(this.#store.workloadByUid(name)?.services ?? {}).map((key) =>
          idOf('service', 0, key),
        );
    }
  }

  #atAddress(name: string, level: Level): string[] {
    const [network, ip] = splitAddress(name);
    const workloads = this.#store.workloadsAt(network, ip).map(({ uid }) => idOf('workload', level, uid));
    if (level === 0) return workloads;
    const services = this.#store.servicesAt(network, ip);
    return [...workloads, ...services.map((service) => idOf('service', level, serviceKey(service)))];
  }

  #behindGateway(name: string, level: Level): string[] {
    if (this.#store.serviceByKey(name) !== undefined) return [idOf('service', level, name)];
    const workload = this.#store.workloadByHostname(splitService(name));
    return workload === undefined ? [] : [idOf('workload', level, workload.uid)];
  }

  #hopsOfService(service: Service | undefined, level: Level): string[] {
    if (service === undefined || level < 3) return [];
    const hops = service.weightedWaypoints.map(({ destination }) => destination);
    if (service.waypoint !== undefined) hops.push(service.waypoint);
    return hops.map((hop) => gatewayNode(hop, 2));
  }

  #hopsOfWorkload(workload: Workload | undefined, level: Level): string[] {
    const hops: string[] = [];
    if (level >= 2 && workload?.networkGateway !== undefined)
      hops.push(gatewayNode(workload.networkGateway, 1));
    if (level === 3 && workload?.waypoint !== undefined) hops.push(gatewayNode(workload.waypoint, 2));
    return hops;
  }
}
