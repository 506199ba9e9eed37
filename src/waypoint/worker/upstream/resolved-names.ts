// Addresses of names outside the mesh, remembered for a while. A name that cannot be resolved any more keeps its last
// addresses until they are old.
import { resolve4, resolve6 } from 'node:dns/promises';
import { Lru, parseIp, type Clock, type Ip } from '#/kit/index.ts';

interface Entry {
  readonly addresses: readonly Ip[];
  /** Asked again after this time; the addresses stay in use meanwhile. */
  readonly staleAt: number;
}

const minimumMs = 5000;
const maximumMs = 60_000;
/** How soon a name that has no address is asked for again. */
const failedMs = 2000;
const maxNames = 4096;

export class ResolvedNames {
  readonly #clock: Clock;
  readonly #entries = new Lru<string, Entry>(maxNames);
  readonly #asking = new Map<string, Promise<void>>();
  /** Grows with each change of an address. */
  version = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  knows(name: string): boolean {
    return name === '' || parseIp(name) !== undefined || this.#entries.get(name) !== undefined;
  }

  addresses(name: string): readonly Ip[] {
    const literal = parseIp(name);
    if (literal !== undefined) return [literal];
    return this.#entries.get(name)?.addresses ?? [];
  }

  /** Never rejects: a name without an answer has no addresses. */
  async resolve(names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#ask(name)));
  }

  #ask(name: string): Promise<void> {
    let asking = this.#asking.get(name);
    if (asking === undefined) {
      asking = this.#fetch(name).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
    return asking;
  }

  async #fetch(name: string): Promise<void> {
    const answers = await Promise.allSettled([resolve4(name, { ttl: true }), resolve6(name, { ttl: true })]);
    const records = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    const before = this.#entries.get(name);
    const now = this.#clock.now();
    if (records.length === 0) {
      this.#entries.set(name, { addresses: before?.addresses ?? [], staleAt: now + failedMs });
      return;
    }
    const addresses = records.flatMap(({ address }) => parseIp(address) ?? []).toSorted();
    const ttl = Math.min(...records.map((record) => record.ttl)) * 1000;
    this.#entries.set(name, {
      addresses,
      staleAt: now + Math.min(maximumMs, Math.max(minimumMs, ttl)),
    });
    if (before?.addresses.join() !== addresses.join()) this.version++;
  }

  /** Asks again for what is old. */
  sweep(): void {
    const now = this.#clock.now();
    for (const name of this.#entries.keys())
      if ((this.#entries.peek(name)?.staleAt ?? now) < now) void this.#ask(name);
  }
}
