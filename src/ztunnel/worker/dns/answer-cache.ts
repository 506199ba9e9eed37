// What name servers said to one pod, for as long as they said it holds. Each pod has its own: a pod that can meddle
// with the traffic in its namespace must not choose the answers that other pods get.
import { Lru } from '#/kit/index.ts';
import type { DnsAnswer } from '#/wire/index.ts';

interface Entry {
  readonly answer: DnsAnswer;
  readonly size: number;
  readonly storedAt: number;
  readonly until: number;
}

export interface CachedAnswer {
  readonly answer: DnsAnswer;
  readonly ageSeconds: number;
}

export interface AnswerCacheLimits {
  readonly entries: number;
  readonly bytes: number;
}

/** The number of entries is upstream's. */
const defaultLimits: AnswerCacheLimits = { entries: 4096, bytes: 2 * 1024 * 1024 };
const longestSeconds = 3600;
const largestAnswer = 8192;
/** What an entry costs besides its message and its key, about. */
const entryCost = 300;

export class AnswerCache {
  readonly #entries: Lru<string, Entry>;
  readonly #limits: AnswerCacheLimits;
  #bytes = 0;

  constructor(limits: AnswerCacheLimits = defaultLimits) {
    this.#limits = limits;
    this.#entries = new Lru(limits.entries, (_key, entry) => {
      this.#bytes -= entry.size;
    });
  }

  get size(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#entries.size, bytes: this.#bytes };
  }

  /** `now`: milliseconds. */
  get(key: string, now: number): CachedAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // A clock that was set back makes nothing live longer.
    if (now >= entry.until || now < entry.storedAt) {
      this.#drop(key, entry);
      return undefined;
    }
    return { answer: entry.answer, ageSeconds: Math.floor((now - entry.storedAt) / 1000) };
  }

  put(key: string, answer: DnsAnswer, now: number): void {
    const before = this.#entries.peek(key);
    if (before !== undefined) this.#drop(key, before);
    if (answer.lifeSeconds <= 0 || answer.message.length > largestAnswer) return;
    const size = answer.message.length + 2 * key.length + 16 * answer.ends.length + entryCost;
    const until = now + Math.min(answer.lifeSeconds, longestSeconds) * 1000;
    this.#entries.set(key, { answer, size, storedAt: now, until });
    this.#bytes += size;
    while (this.#bytes > this.#limits.bytes) {
      const oldest = this.#entries.keys().next().value as string;
      this.#drop(oldest, this.#entries.peek(oldest) as Entry);
    }
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.size;
  }
}
