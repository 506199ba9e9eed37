// What has to be mirrored to answer a key: a graph of nodes that are counted by their users. A node is a question at
// a level; levels fall along every edge, so there are no rings. Level 3 is what a client addresses, 2 a waypoint or
// an endpoint, 1 a gateway to another network, 0 a bare record.
import type { Ip } from '#/kit/index.ts';
import {
  parseMeshKey,
  serviceKey,
  virtualAddresses,
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
  | 'name' /* the same, with the endpoints of those that have no address */
  | 'service'
  | 'workload'
  | 'local'; /* a workload of this node, with the services it is listed under */

type Level = 0 | 1 | 2 | 3;

/** A question at a level. */
type Ref = readonly [kind: Kind, level: Level, name: string];

interface Node {
  readonly kind: Kind;
  readonly level: Level;
  readonly name: string;
  users: number;
  /** The nodes this one uses, but for endpoints; one that is used twice is counted twice. */
  children: readonly Node[];
  /** Of a service whose endpoints are needed: the nodes of those, by uid. */
  readonly endpoints: Map<string, Node>;
}

function splitAddress(name: string): [string, Ip] {
  const slash = name.lastIndexOf('/');
  return [name.slice(0, slash), name.slice(slash + 1) as Ip];
}

const splitService = (key: ServiceKey): { namespace: string; hostname: string } => {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), hostname: key.slice(slash + 1) };
};

const gatewayRef = ({ destination }: GatewayAddress, level: Level): Ref =>
  destination.kind === 'address'
    ? ['address', level, `${destination.network}/${destination.ip}`]
    : ['gateway', level, `${destination.namespace}/${destination.hostname}`];

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
  /** By name, each with its nodes by level. */
  readonly #nodes: Readonly<Record<Kind, Map<string, (Node | undefined)[]>>> = {
    address: new Map(),
    gateway: new Map(),
    hostname: new Map(),
    name: new Map(),
    service: new Map(),
    workload: new Map(),
    local: new Map(),
  };

  constructor(store: MeshStore, use: RecordUse) {
    this.#store = store;
    this.#use = use;
  }

  /** Starts to hold what answers the key. Text that is no key answers itself: nothing. */
  addKey(key: MeshKey): void {
    const ref = rootOf(key);
    if (ref !== undefined) this.#acquire(ref);
  }

  dropKey(key: MeshKey): void {
    const ref = rootOf(key);
    if (ref !== undefined) this.#release(this.#find(ref));
  }

  addLocal(uid: string): void {
    this.#acquire(['local', 0, uid]);
  }

  dropLocal(uid: string): void {
    this.#release(this.#find(['local', 0, uid]));
  }

  /** Follows a change of the store. New and lost records are told to `use`; records that only changed are not. */
  follow(changes: MeshChanges): void {
    const stale = new Set<Node>();
    const mark = (kind: Kind, name: string): void => {
      for (const node of this.#nodes[kind].get(name) ?? []) if (node !== undefined) stale.add(node);
    };
    const watchesAddresses = this.#nodes.address.size > 0;
    for (const [uid, { before, after }] of changes.workloads) {
      mark('workload', uid);
      mark('local', uid);
      for (const workload of [before, after]) {
        if (workload === undefined) continue;
        if (watchesAddresses)
          for (const ip of workload.addresses) mark('address', `${workload.network}/${ip}`);
        if (workload.hostname !== '') mark('gateway', `${workload.namespace}/${workload.hostname}`);
      }
    }
    let ranges = false;
    for (const [key, { before, after }] of changes.services) {
      mark('service', key);
      mark('gateway', key);
      const { hostname } = splitService(key);
      mark('hostname', hostname);
      mark('name', hostname);
      for (const service of [before, after]) {
        if (service === undefined) continue;
        if (watchesAddresses)
          for (const { network, ip } of service.addresses) mark('address', `${network}/${ip}`);
        ranges ||= service.cidrAddresses.length > 0;
      }
    }
    if (ranges) for (const name of this.#nodes.address.keys()) mark('address', name);

    for (const [uid, { before, after }] of changes.workloads) {
      for (const key of Object.keys(after?.services ?? {})) this.#putEndpoint(key, uid);
      for (const key of Object.keys(before?.services ?? {}))
        if (after?.services[key] === undefined) this.#takeEndpoint(key, uid);
    }
    for (const node of stale) if (node.users > 0) this.#rewire(node);
  }

  #find([kind, level, name]: Ref): Node | undefined {
    return this.#nodes[kind].get(name)?.[level];
  }

  #acquire(ref: Ref): Node {
    const found = this.#find(ref);
    if (found !== undefined) {
      found.users++;
      return found;
    }
    const [kind, level, name] = ref;
    const node: Node = { kind, level, name, users: 1, children: [], endpoints: new Map() };
    let siblings = this.#nodes[kind].get(name);
    if (siblings === undefined) this.#nodes[kind].set(name, (siblings = []));
    siblings[level] = node;
    this.#tell(node, true);
    this.#rewire(node);
    if (endpointLevel(node) !== undefined)
      for (const { uid } of this.#store.members(name)) this.#addEndpoint(node, uid);
    return node;
  }

  #release(node: Node | undefined): void {
    if (node === undefined || --node.users > 0) return;
    const siblings = this.#nodes[node.kind].get(node.name) ?? [];
    siblings[node.level] = undefined;
    if (siblings.every((sibling) => sibling === undefined)) this.#nodes[node.kind].delete(node.name);
    this.#tell(node, false);
    for (const child of node.children) this.#release(child);
    for (const endpoint of node.endpoints.values()) this.#release(endpoint);
  }

  #tell({ kind, name }: Node, used: boolean): void {
    if (kind === 'workload' || kind === 'local') this.#use.workload(name, used);
    if (kind === 'service') this.#use.service(name, used);
  }

  #rewire(node: Node): void {
    const before = node.children;
    node.children = this.#children(node).map((ref) => this.#acquire(ref));
    for (const child of before) this.#release(child);
  }

  #addEndpoint(node: Node, uid: string): void {
    const level = endpointLevel(node);
    if (level !== undefined && !node.endpoints.has(uid))
      node.endpoints.set(uid, this.#acquire(['workload', level, uid]));
  }

  // Both may be called again for an endpoint that is there or gone already: a service that comes into the graph
  // while a change is followed has its endpoints from the store as it is after the change.
  #putEndpoint(key: ServiceKey, uid: string): void {
    for (const node of this.#nodes.service.get(key) ?? [])
      if (node !== undefined) this.#addEndpoint(node, uid);
  }

  #takeEndpoint(key: ServiceKey, uid: string): void {
    for (const node of this.#nodes.service.get(key) ?? []) {
      const endpoint = node?.endpoints.get(uid);
      if (endpoint === undefined) continue;
      node?.endpoints.delete(uid);
      this.#release(endpoint);
    }
  }

  #children({ kind, level, name }: Node): Ref[] {
    switch (kind) {
      case 'address':
        return this.#atAddress(name, level);
      case 'gateway':
        return this.#behindGateway(name, level);
      case 'hostname':
        return this.#store.servicesByHostname(name).map((service) => ['service', 0, serviceKey(service)]);
      case 'name':
        return this.#store
          .servicesByHostname(name)
          .map((service) => ['service', virtualAddresses(service).length > 0 ? 0 : 1, serviceKey(service)]);
      case 'service':
        return hopsOfService(this.#store.serviceByKey(name), level);
      case 'workload':
        return hopsOfWorkload(this.#store.workloadByUid(name), level);
      case 'local':
        return Object.keys(this.#store.workloadByUid(name)?.services ?? {}).map((key) => ['service', 0, key]);
    }
  }

  #atAddress(name: string, level: Level): Ref[] {
    const [network, ip] = splitAddress(name);
    const refs = this.#store.workloadsAt(network, ip).map(({ uid }): Ref => ['workload', level, uid]);
    if (level > 0)
      for (const service of this.#store.servicesAt(network, ip))
        refs.push(['service', level, serviceKey(service)]);
    return refs;
  }

  #behindGateway(name: string, level: Level): Ref[] {
    if (this.#store.serviceByKey(name) !== undefined) return [['service', level, name]];
    const workload = this.#store.workloadByHostname(splitService(name));
    return workload === undefined ? [] : [['workload', level, workload.uid]];
  }
}

function rootOf(key: MeshKey): Ref | undefined {
  const parsed = parseMeshKey(key);
  if (parsed === undefined) return undefined;
  switch (parsed.kind) {
    case 'host':
      return ['hostname', 0, parsed.hostname];
    case 'name':
      return ['name', 2, parsed.hostname];
    case 'ip':
      return ['address', 3, `${parsed.network}/${parsed.ip}`];
    case 'peer':
      return ['address', 0, `${parsed.network}/${parsed.ip}`];
  }
}

function hopsOfService(service: Service | undefined, level: Level): Ref[] {
  if (service === undefined || level < 3) return [];
  const hops = service.weightedWaypoints.map(({ destination }) => destination);
  if (service.waypoint !== undefined) hops.push(service.waypoint);
  return hops.map((hop) => gatewayRef(hop, 2));
}

function hopsOfWorkload(workload: Workload | undefined, level: Level): Ref[] {
  const hops: Ref[] = [];
  if (level >= 2 && workload?.networkGateway !== undefined) hops.push(gatewayRef(workload.networkGateway, 1));
  if (level === 3 && workload?.waypoint !== undefined) hops.push(gatewayRef(workload.waypoint, 2));
  return hops;
}
