// Asks name servers on a pod's behalf: keeps what they say, and asks once for what several clients ask at a time.
import type { Clock, Ip } from '#/kit/index.ts';
import { questionText, type DnsAnswer, type DnsQuery } from '#/wire/index.ts';
import { AnswerCache, type CachedAnswer } from './answer-cache.ts';
import { askServers } from './ask-servers.ts';
import type { Exchange, ForwardedQuery } from './exchange.ts';

export interface ForwarderOptions {
  readonly nameservers: () => readonly Ip[];
  /** One question to one server. */
  readonly ask: (server: Ip, query: ForwardedQuery) => Exchange;
  readonly clock: Clock;
  readonly cache?: AnswerCache;
}

/** Questions of one pod that name servers are being asked at a time. */
export const flightLimit = 256;
/** What gets through networks in one piece (DNS flag day 2020). */
const payloadSize = 1232;

export class Forwarder implements Disposable {
  readonly #options: ForwarderOptions;
  readonly #cache: AnswerCache;
  readonly #flights = new Map<string, Promise<DnsAnswer>>();
  readonly #gone = new AbortController();

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#cache = options.cache ?? new AnswerCache();
  }

  /** Rejects when no server answers, and when too much is being asked. */
  async lookup(query: DnsQuery): Promise<CachedAnswer> {
    const { clock } = this.#options;
    const { question, checkingDisabled, extension } = query;
    const dnssecOk = extension?.dnssecOk === true;
    const key = `${dnssecOk ? 'D' : ''}${checkingDisabled ? 'C' : ''}${questionText(question)}`;
    const cached = this.#cache.get(key, clock.now());
    if (cached !== undefined) return cached;
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      if (this.#flights.size >= flightLimit)
        throw new Error(`too many questions are under way (${flightLimit})`);
      flight = this.#fetch(key, {
        question,
        checkingDisabled,
        ...(extension === undefined ? {} : { extension: { payloadSize, dnssecOk } }),
      });
      this.#flights.set(key, flight);
    }
    return { answer: await flight, ageSeconds: 0 };
  }

  async #fetch(key: string, query: ForwardedQuery): Promise<DnsAnswer> {
    try {
      const { nameservers, ask, clock } = this.#options;
      const answer = await askServers({
        servers: nameservers(),
        ask: (server) => ask(server, query),
        clock,
        gone: this.#gone.signal,
      });
      this.#cache.put(key, answer, clock.now());
      return answer;
    } finally {
      this.#flights.delete(key);
    }
  }

  /** Everything that is being asked fails. */
  [Symbol.dispose](): void {
    this.#gone.abort();
  }
}
