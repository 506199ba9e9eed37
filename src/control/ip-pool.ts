// Addresses for host names that have none of their own: one of each family, handed out in order, never twice.
import { cidrContains, formatIp, parseCidr, parseIpBytes, type Cidr, type Ip } from '#/kit/index.ts';

const v4Pool = '240.240.0.0/16';
const v6Pool = '2001:2::/48';

export type Family = 4 | 6;

class Sequence {
  readonly range: Cidr;
  /** How many addresses the pool gives; of a v6 pool no more than a counter of 32 bits reaches. */
  readonly size: number;
  #next = 1;

  constructor(range: string) {
    this.range = parseCidr(range) as Cidr;
    this.size = Math.min(2 ** 32, 2 ** (this.range.base.length * 8 - this.range.length)) - 2;
  }

  /** The next address that is not taken; undefined if all are. */
  take(taken: (ip: Ip) => boolean): Ip | undefined {
    for (let tried = 0; tried < this.size; tried++) {
      const ip = this.#at(this.#next);
      this.#next = this.#next >= this.size ? 1 : this.#next + 1;
      if (!taken(ip)) return ip;
    }
    return undefined;
  }

  #at(offset: number): Ip {
    const bytes = Uint8Array.from(this.range.base);
    for (let i = bytes.length - 1, rest = offset; rest > 0; i--, rest = Math.floor(rest / 256))
      bytes[i] = (bytes[i] as number) + (rest % 256);
    return formatIp(bytes);
  }
}

export class IpPool {
  readonly #v4 = new Sequence(v4Pool);
  readonly #v6 = new Sequence(v6Pool);

  take(family: Family, taken: (ip: Ip) => boolean): Ip | undefined {
    return (family === 4 ? this.#v4 : this.#v6).take(taken);
  }

  /** Which pool an address belongs to; undefined: none. */
  familyOf(ip: string): Family | undefined {
    const bytes = parseIpBytes(ip);
    if (bytes === undefined) return undefined;
    if (cidrContains(this.#v4.range, bytes)) return 4;
    return cidrContains(this.#v6.range, bytes) ? 6 : undefined;
  }
}
