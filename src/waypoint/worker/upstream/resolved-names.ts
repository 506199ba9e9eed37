// Addresses of names outside the mesh, remembered for a while. A name that cannot be resolved any more keeps its last
// addresses until they are old.
import { resolve4, resolve6 } from 'node:dns/promises';
import { Lru, parseIp, type Clock, type Ip } from '#/kit/index.ts';

interface Entry {
  readonly addresses: readonly Ip[];
  /** Asked again after this time; the addresses stay in use meanwhile. */
  readonly staleAt: number;
  /** Somebody has asked for it since it was resolved. */
  used: boolean;
}

export type Resolve = (
  name: string,
) => Promise<readonly { readonly address: string; readonly ttl: number }[]>;

const minimumMs = 5000;
const maximumMs = 60_000;
/** How soon a name that has no address is asked for again. */
const failedMs = 2000;
const maxNames = 4096;

export class ResolvedNames {
  readonly #clock: Clock;
  readonly #resolve: Resolve;
  readonly #entries = new Lru<string, Entry>(maxNames);
  readonly #asking = new Map<string, Promise<void>>();
  /** Grows with each change of an address. */
  version = 0;

  constructor(clock: Clock, resolve: Resolve = resolveBoth) {
    this.#clock = clock;
    this.#resolve = resolve;
  }

  knows(name: string): boolean {
    if (name === '' || parseIp(name) !== undefined) return true;
    const entry = this.#entries.get(name);
    if (entry !== undefined) entry.used = true;
    return entry !== undefined;
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
    const records = await this.#resolve(name);
    const before = this.#entries.get(name);
    const now = this.#clock.now();
    if (records.length === 0) {
      this.#entries.set(name, { addresses: before?.addresses ?? [], staleAt: now + failedMs, used: false });
      return;
    }
    const addresses = records.flatMap(({ address }) => parseIp(address) ?? []).toSorted();
    const ttl = Math.min(...records.map((record) => record.ttl)) * 1000;
    this.#entries.set(name, {
      addresses,
      staleAt: now + Math.min(maximumMs, Math.max(minimumMs, ttl)),
      used: false,
    });
    if (before?.addresses.join() !== addresses.join()) this.version++;
  }

  /** Asks again for what is old; what nobody has asked for since is forgotten, or names of clients' choice would cost for ever. */
  sweep(): void {
    const now = this.#clock.now();
    for (const name of this.#entries.keys()) {
      const entry = this.#entries.peek(name);
      if (entry === undefined || entry.staleAt >= now || this.#asking.has(name)) continue;
      if (entry.used) void this.#ask(name);
      else this.#entries.delete(name);
    }
  }
}

/** Never rejects. */
async function resolveBoth(name: string): Promise<readonly { address: string; ttl: number }[]> {
  const answers = await Promise.allSettled([resolve4(name, { ttl: true }), resolve6(name, { ttl: true })]);
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
}
