// Gives addresses to the hosts of ServiceEntries that have none, and records them in the entries' status, so that the
// DNS proxy of ztunnel has something to answer with. Only the leader writes; all replicas know who holds what.
import { errorText } from '#/errors/index.ts';
import { parseIp, type Clock, type Ip, type Logger } from '#/kit/index.ts';
import { isNotFound, serviceEntries, type KubeClient } from '#/kube/index.ts';
import { autoAllocatedHosts, type ServiceEntryFacts } from '#/translate/index.ts';
import { IpPool, type Family } from './ip-pool.ts';
import type { Kept } from './mesh-watch.ts';
import { WorkQueue } from './work-queue.ts';

interface Allocation {
  readonly host: string;
  readonly value: string;
}

export interface IpAllocatorOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly clock?: Clock;
}

const older = (a: ServiceEntryFacts, b: ServiceEntryFacts): boolean =>
  a.created !== b.created ? a.created < b.created : `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}`;

export class IpAllocator {
  readonly #options: IpAllocatorOptions;
  readonly #pool = new IpPool();
  readonly #entries = new Map<
    string,
    { readonly facts: ServiceEntryFacts; readonly version: string | undefined }
  >();
  /** Entries that have an address of the pools, in their spec or their status. */
  readonly #holders = new Map<Ip, Set<string>>();
  /** What was written and has not come back yet. */
  readonly #promised = new Map<string, readonly Allocation[]>();
  /** An address is not given again before a restart, as clients may still hold it. */
  readonly #used = new Set<Ip>();
  readonly #queue: WorkQueue;

  constructor(options: IpAllocatorOptions) {
    this.#options = options;
    this.#queue = new WorkQueue({
      work: (key) => this.#reconcile(key),
      onError: (key, error) => options.log.warn(`addresses of ServiceEntry ${key}: ${errorText(error)}`),
      // One at a time: two entries must not be given one address.
      concurrency: 1,
      ...(options.clock === undefined ? {} : { clock: options.clock }),
    });
  }

  observe(key: string, object: Kept | undefined): void {
    const old = this.#entries.get(key);
    const freed = old === undefined ? [] : this.#held(old.facts);
    for (const ip of freed) this.#holders.get(ip)?.delete(key);
    this.#promised.delete(key);
    if (object === undefined) {
      this.#entries.delete(key);
      return;
    }
    const facts = object.facts as ServiceEntryFacts;
    this.#entries.set(key, { facts, version: object.metadata.resourceVersion });
    for (const ip of this.#held(facts)) {
      this.#used.add(ip);
      const holders = this.#holders.get(ip) ?? new Set<string>();
      this.#holders.set(ip, holders.add(key));
      // A new claim to an address concerns those that have it.
      if (holders.size > 1) for (const other of holders) this.#queue.add(other);
    }
    this.#queue.add(key);
  }

  lead(signal: AbortSignal): void {
    for (const key of this.#entries.keys()) this.#queue.add(key);
    this.#queue.start(signal);
  }

  get waiting(): number {
    return this.#queue.size;
  }

  #held(facts: ServiceEntryFacts): readonly Ip[] {
    return [...facts.addresses, ...facts.allocated.map(({ value }) => value)]
      .map((address) => parseIp(address))
      .filter((ip): ip is Ip => ip !== undefined && this.#pool.familyOf(ip) !== undefined);
  }

  /** True if another entry has more right to the address: by its spec, or as the older of automatic holders. */
  #contested(ip: Ip, key: string, facts: ServiceEntryFacts): boolean {
    for (const other of this.#holders.get(ip) ?? []) {
      const entry = other === key ? undefined : this.#entries.get(other);
      if (entry === undefined) continue;
      if (entry.facts.addresses.some((address) => parseIp(address) === ip) || older(entry.facts, facts))
        return true;
    }
    return false;
  }

  #plan(key: string, facts: ServiceEntryFacts): readonly Allocation[] {
    const mine = new Set<Ip>();
    return autoAllocatedHosts(facts).flatMap((host) =>
      ([4, 6] as const).flatMap((family: Family) => {
        const kept = facts.allocated
          .filter((allocation) => allocation.host === host)
          .map(({ value }) => parseIp(value))
          .find(
            (ip) =>
              ip !== undefined &&
              this.#pool.familyOf(ip) === family &&
              !mine.has(ip) &&
              !this.#contested(ip, key, facts),
          );
        const ip = kept ?? this.#pool.take(family, (candidate) => this.#used.has(candidate));
        if (ip === undefined) {
          this.#options.log.error(`no address of family ${family} is left for ${host} (ServiceEntry ${key})`);
          return [];
        }
        mine.add(ip);
        this.#used.add(ip);
        return [{ host, value: ip }];
      }),
    );
  }

  async #reconcile(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#promised.has(key)) return;
    const { facts, version } = entry;
    const planned = this.#plan(key, facts);
    if (
      JSON.stringify(planned) === JSON.stringify(facts.allocated.map(({ host, value }) => ({ host, value })))
    )
      return;
    this.#promised.set(key, planned);
    try {
      await this.#options.client.patch(
        serviceEntries,
        facts.namespace,
        facts.name,
        // The version makes it conditional: of two leaders in a row, one would give an address that is taken.
        {
          metadata: { resourceVersion: version },
          status: { addresses: planned.length === 0 ? null : planned },
        },
        'merge',
        { subresource: 'status' },
      );
    } catch (error) {
      this.#promised.delete(key);
      if (!isNotFound(error)) throw error;
    }
  }
}
