// Workloads by uid, by address, by DNS name, and those of this node by identity.
import type { Ip } from '#/kit/index.ts';
import { knownIdentity, type Identity, type NamespacedHostname, type Workload } from '#/model/index.ts';
import { OneOrMany } from './one-or-many.ts';

/** How a pod is named to the proxy by the node agent. */
export interface LocalName {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly name: string;
}

const isPod = (workload: Workload): boolean => workload.uid.includes('//Pod/');

/** Several workloads on one address: a pod before others, HBONE before TCP, then by uid so that order of arrival is nothing. */
function better(a: Workload, b: Workload): number {
  const pods = Number(isPod(b)) - Number(isPod(a));
  if (pods !== 0) return pods;
  const hbone = Number(b.protocol === 'HBONE') - Number(a.protocol === 'HBONE');
  if (hbone !== 0) return hbone;
  return a.uid < b.uid ? -1 : a.uid > b.uid ? 1 : 0;
}

const accountKey = (workload: Pick<Workload, 'namespace' | 'serviceAccount'>): string =>
  `${workload.namespace}/${workload.serviceAccount}`;

export class WorkloadIndex {
  readonly #node: string | undefined;
  readonly #byUid = new Map<string, Workload>();
  readonly #byAddress = new Map<string, OneOrMany<Ip, Workload>>();
  readonly #byHostname = new OneOrMany<string, Workload>(better);
  readonly #local = new Map<string, Set<Workload>>();

  constructor(node: string | undefined) {
    this.#node = node;
  }

  isLocal(workload: Workload): boolean {
    return this.#node === undefined || workload.node === this.#node;
  }

  get(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  get size(): number {
    return this.#byUid.size;
  }

  all(): IterableIterator<Workload> {
    return this.#byUid.values();
  }

  at(network: string, ip: Ip): Workload | undefined {
    return this.#byAddress.get(network)?.first(ip);
  }

  allAt(network: string, ip: Ip): readonly Workload[] {
    return this.#byAddress.get(network)?.all(ip) ?? [];
  }

  byHostname({ namespace, hostname }: NamespacedHostname): Workload | undefined {
    return this.#byHostname.first(`${namespace}/${hostname}`);
  }

  *local(): IterableIterator<Workload> {
    for (const workloads of this.#local.values()) yield* workloads;
  }

  localByName(name: LocalName): Workload | undefined {
    let found: Workload | undefined;
    for (const workload of this.#local.get(accountKey(name)) ?? [])
      if (workload.name === name.name && (found === undefined || better(workload, found) < 0))
        found = workload;
    return found;
  }

  hasLocal(identity: Identity): boolean {
    const [, , , , namespace, , serviceAccount] = identity.split('/');
    for (const workload of this.#local.get(`${namespace}/${serviceAccount}`) ?? [])
      if (knownIdentity(workload) === identity) return true;
    return false;
  }

  set(workload: Workload): void {
    this.delete(workload.uid);
    this.#byUid.set(workload.uid, workload);
    if (workload.networkMode !== 'HostNetwork')
      for (const ip of workload.addresses) {
        let addresses = this.#byAddress.get(workload.network);
        if (addresses === undefined)
          this.#byAddress.set(workload.network, (addresses = new OneOrMany(better)));
        addresses.add(ip, workload);
      }
    if (workload.hostname !== '')
      this.#byHostname.add(`${workload.namespace}/${workload.hostname}`, workload);
    if (this.isLocal(workload)) {
      const key = accountKey(workload);
      const peers = this.#local.get(key);
      if (peers === undefined) this.#local.set(key, new Set([workload]));
      else peers.add(workload);
    }
  }

  /** The workload that was removed, if there was one. */
  delete(uid: string): Workload | undefined {
    const workload = this.#byUid.get(uid);
    if (workload === undefined) return undefined;
    this.#byUid.delete(uid);
    const addresses = this.#byAddress.get(workload.network);
    if (addresses !== undefined) {
      for (const ip of workload.addresses) addresses.remove(ip, workload);
      if (addresses.size === 0) this.#byAddress.delete(workload.network);
    }
    if (workload.hostname !== '')
      this.#byHostname.remove(`${workload.namespace}/${workload.hostname}`, workload);
    const key = accountKey(workload);
    const peers = this.#local.get(key);
    if (peers?.delete(workload) === true && peers.size === 0) this.#local.delete(key);
    return workload;
  }
}
