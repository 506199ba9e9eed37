// The name servers of ztunnel's own resolv.conf: what the mesh does not answer is asked of them, for every pod.
import { parseIp, type Clock, type Ip, type Logger } from '#/kit/index.ts';

/** As many as the C library asks. */
const most = 3;
/** The file may be changed while the program runs. */
const readAgainMs = 5000;

/** The lines `nameserver ADDRESS`. An address with a zone belongs to another namespace's interfaces: it is left out. */
export function parseResolvConf(text: string): readonly Ip[] {
  const found = text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1])
    .map((address) => (address === undefined ? undefined : parseIp(address)))
    .filter((address) => address !== undefined);
  return [...new Set(found)].slice(0, most);
}

export class Nameservers {
  readonly #read: () => string;
  readonly #clock: Clock;
  readonly #log: Logger;
  #list: readonly Ip[] = [];
  #readAt = -Infinity;
  #told = false;

  /** `read` gives the file's text, or throws. */
  constructor(read: () => string, clock: Clock, log: Logger) {
    this.#read = read;
    this.#clock = clock;
    this.#log = log;
  }

  /** Those that the file names; if it cannot be read, those that it named last. */
  list(): readonly Ip[] {
    const now = this.#clock.now();
    if (now - this.#readAt < readAgainMs) return this.#list;
    this.#readAt = now;
    let failure = 'it names no name server';
    try {
      const list = parseResolvConf(this.#read());
      this.#told &&= list.length === 0;
      this.#list = list;
    } catch (error) {
      failure = (error as Error).message;
    }
    if (this.#list.length === 0 && !this.#told) {
      this.#told = true;
      this.#log.warn('resolv.conf is of no use: names outside the mesh cannot be resolved', {
        error: failure,
      });
    }
    return this.#list;
  }
}
