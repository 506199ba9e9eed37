// Services by key, by address, by address range, by hostname, and the workloads behind each. A service and its
// endpoints may arrive in either order: endpoints of a service that is not known (yet) wait for it here.
import { cidr, cidrContains, parseIpBytes, type Cidr, type Ip, type IpBytes } from '#/kit/index.ts';
import {
  isSingleAddress,
  noEndpoints,
  serviceKey,
  virtualAddresses,
  type CidrAddress,
  type EndpointSet,
  type Service,
  type ServiceKey,
  type Workload,
} from '#/model/index.ts';
import { EndpointList } from './endpoint-list.ts';
import { OneOrMany } from './one-or-many.ts';

interface Entry {
  service: Service | undefined;
  readonly endpoints: EndpointList;
  /** Listed under the service, but refused for their health. */
  readonly refused: EndpointList;
}

interface Range {
  readonly range: Cidr;
  readonly service: Service;
}

const byKey = (a: Service, b: Service): number => {
  const [left, right] = [serviceKey(a), serviceKey(b)];
  return left < right ? -1 : left > right ? 1 : 0;
};

const visibleTo = (service: Service, namespace: string | undefined): boolean =>
  namespace === undefined || service.visibility === 'PUBLIC' || service.namespace === namespace;

/** Visible ones only; of the client's namespace, else canonical, else the first by key. */
function best(services: readonly Service[], namespace: string | undefined): Service | undefined {
  let canonical: Service | undefined;
  let first: Service | undefined;
  for (const service of services) {
    if (!visibleTo(service, namespace)) continue;
    if (service.namespace === namespace) return service;
    if (service.canonical) canonical ??= service;
    first ??= service;
  }
  return canonical ?? first;
}

export function rangeOf(address: CidrAddress): Cidr {
  const bytes = parseIpBytes(address.base);
  if (bytes === undefined) throw new TypeError(`not an address: "${address.base}"`);
  return cidr(bytes, address.length);
}

const accepts = (service: Service, workload: Workload): boolean =>
  workload.status === 'Healthy' || service.loadBalancing.healthPolicy === 'ALLOW_ALL';

export class ServiceIndex {
  readonly #entries = new Map<ServiceKey, Entry>();
  readonly #byAddress = new Map<string, OneOrMany<Ip, Service>>();
  readonly #ranges = new Map<string, Range[]>();
  readonly #byHostname = new OneOrMany<string, Service>(byKey);
  #size = 0;

  get(key: ServiceKey): Service | undefined {
    return this.#entries.get(key)?.service;
  }

  get size(): number {
    return this.#size;
  }

  *all(): IterableIterator<Service> {
    for (const { service } of this.#entries.values()) if (service !== undefined) yield service;
  }

  /** Keys that workloads list and that no service is known for, with those workloads. */
  *staged(): IterableIterator<[ServiceKey, readonly Workload[]]> {
    for (const [key, entry] of this.#entries)
      if (entry.service === undefined) yield [key, [...entry.refused.workloads]];
  }

  endpoints(key: ServiceKey): EndpointSet {
    return this.#entries.get(key)?.endpoints ?? noEndpoints;
  }

  /** All workloads listed under the key, refused ones too. */
  *members(key: ServiceKey): IterableIterator<Workload> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    yield* entry.endpoints.workloads;
    yield* entry.refused.workloads;
  }

  at(network: string, ip: Ip, namespace?: string): Service | undefined {
    const exact = this.#byAddress.get(network)?.all(ip);
    return (exact && best(exact, namespace)) ?? this.#inRanges(network, ip, namespace);
  }

  /** All services at the address, exact ones first, whoever they are visible to. */
  allAt(network: string, ip: Ip): readonly Service[] {
    const exact = this.#byAddress.get(network)?.all(ip) ?? [];
    const bytes = this.#ranges.has(network) ? parseIpBytes(ip) : undefined;
    if (bytes === undefined) return exact;
    const ranged = (this.#ranges.get(network) ?? []).filter(({ range }) => cidrContains(range, bytes));
    return ranged.length === 0 ? exact : [...exact, ...ranged.map(({ service }) => service)];
  }

  byHostname(hostname: string, namespace?: string): Service | undefined {
    return best(this.#byHostname.all(hostname), namespace);
  }

  allByHostname(hostname: string): readonly Service[] {
    return this.#byHostname.all(hostname);
  }

  set(service: Service): void {
    const key = serviceKey(service);
    const entry = this.#entry(key);
    const before = entry.service;
    if (before === undefined) this.#size++;
    else this.#unindex(before);
    entry.service = service;
    for (const { network, ip } of virtualAddresses(service)) this.#addresses(network).add(ip, service);
    for (const address of service.cidrAddresses) {
      if (isSingleAddress(address)) continue;
      const ranges = this.#ranges.get(address.network);
      const range = { range: rangeOf(address), service };
      if (ranges === undefined) this.#ranges.set(address.network, [range]);
      else ranges.push(range);
    }
    this.#byHostname.add(service.hostname, service);
    if (before?.loadBalancing.healthPolicy !== service.loadBalancing.healthPolicy) this.#rejudge(entry);
  }

  /** The service that was removed, if there was one. Its workloads wait for it to come back. */
  delete(key: ServiceKey): Service | undefined {
    const entry = this.#entries.get(key);
    const service = entry?.service;
    if (entry === undefined || service === undefined) return undefined;
    this.#unindex(service);
    this.#size--;
    entry.service = undefined;
    this.#rejudge(entry);
    this.#prune(key, entry);
    return service;
  }

  addEndpoint(key: ServiceKey, workload: Workload): void {
    const entry = this.#entry(key);
    entry.refused.delete(workload.uid);
    if (entry.service !== undefined && accepts(entry.service, workload)) entry.endpoints.set(workload);
    else {
      entry.endpoints.delete(workload.uid);
      entry.refused.set(workload);
    }
  }

  removeEndpoint(key: ServiceKey, uid: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.refused.delete(uid);
    entry.endpoints.delete(uid);
    this.#prune(key, entry);
  }

  #entry(key: ServiceKey): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined)
      this.#entries.set(
        key,
        (entry = { service: undefined, endpoints: new EndpointList(), refused: new EndpointList() }),
      );
    return entry;
  }

  #prune(key: ServiceKey, entry: Entry): void {
    if (
      entry.service === undefined &&
      entry.refused.workloads.length === 0 &&
      entry.endpoints.workloads.length === 0
    )
      this.#entries.delete(key);
  }

  // Moves endpoints that the service, as it is now, accepts or refuses. Without a service all wait as refused.
  #rejudge(entry: Entry): void {
    const { service, endpoints, refused } = entry;
    for (const workload of endpoints.workloads.slice())
      if (service === undefined || !accepts(service, workload)) {
        endpoints.delete(workload.uid);
        refused.set(workload);
      }
    if (service === undefined) return;
    for (const workload of refused.workloads.slice())
      if (accepts(service, workload)) {
        refused.delete(workload.uid);
        endpoints.set(workload);
      }
  }

  #addresses(network: string): OneOrMany<Ip, Service> {
    let addresses = this.#byAddress.get(network);
    if (addresses === undefined) this.#byAddress.set(network, (addresses = new OneOrMany(byKey)));
    return addresses;
  }

  #unindex(service: Service): void {
    for (const { network, ip } of virtualAddresses(service)) {
      const addresses = this.#byAddress.get(network);
      addresses?.remove(ip, service);
      if (addresses?.size === 0) this.#byAddress.delete(network);
    }
    for (const { network } of service.cidrAddresses) {
      const rest = (this.#ranges.get(network) ?? []).filter((range) => range.service !== service);
      if (rest.length === 0) this.#ranges.delete(network);
      else this.#ranges.set(network, rest);
    }
    this.#byHostname.remove(service.hostname, service);
  }

  #inRanges(network: string, ip: Ip, namespace: string | undefined): Service | undefined {
    const ranges = this.#ranges.get(network);
    if (ranges === undefined) return undefined;
    const bytes = parseIpBytes(ip);
    if (bytes === undefined) return undefined;
    return bestRange(ranges, bytes, namespace)?.service;
  }
}

/** Visible ones only; by (client's namespace, length, canonical), then by key. */
function bestRange(
  ranges: readonly Range[],
  address: IpBytes,
  namespace: string | undefined,
): Range | undefined {
  let found: Range | undefined;
  for (const candidate of ranges) {
    if (!cidrContains(candidate.range, address) || !visibleTo(candidate.service, namespace)) continue;
    if (found === undefined || outranks(candidate, found, namespace)) found = candidate;
  }
  return found;
}

function outranks(a: Range, b: Range, namespace: string | undefined): boolean {
  const own = Number(a.service.namespace === namespace) - Number(b.service.namespace === namespace);
  if (own !== 0) return own > 0;
  const length = a.range.length - b.range.length;
  if (length !== 0) return length > 0;
  const canonical = Number(a.service.canonical) - Number(b.service.canonical);
  if (canonical !== 0) return canonical > 0;
  return byKey(a.service, b.service) < 0;
}
