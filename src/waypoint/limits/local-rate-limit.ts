// A limit of rate that each worker keeps by itself. Time is an argument.
import type { LocalRateLimit } from '#/model/index.ts';

/** What a client gets that is over the limit; the status is the configuration's, the response flag RL. */
export const localLimitReply = { body: 'local_rate_limited', details: 'local_rate_limited' } as const;

export class TokenBucket {
  readonly #max: number;
  readonly #perFill: number;
  readonly #intervalMs: number;
  #tokens: number;
  #filledAt: number;

  /** Full at the start. `now` in milliseconds. */
  constructor(max: number, perFill: number, intervalMs: number, now: number) {
    this.#max = max;
    this.#perFill = perFill;
    this.#intervalMs = Math.max(1, intervalMs);
    this.#tokens = max;
    this.#filledAt = now;
  }

  /** Takes one; false if there is none. */
  take(now: number): boolean {
    const fills = Math.floor((now - this.#filledAt) / this.#intervalMs);
    if (fills > 0) {
      this.#tokens = Math.min(this.#max, this.#tokens + fills * this.#perFill);
      this.#filledAt += fills * this.#intervalMs;
    }
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  get remaining(): number {
    return Math.floor(this.#tokens);
  }
}

/**
 * One configured limit in one worker. A limit of the waypoint is shared out evenly over its workers, but each may hold
 * at least one token, so that none is shut for good.
 */
export class LocalRateLimiter {
  readonly config: LocalRateLimit;
  readonly #share: number;
  #bucket: TokenBucket | undefined;
  readonly #byConnection = new WeakMap<object, TokenBucket>();

  constructor(config: LocalRateLimit, workers: number) {
    this.config = config;
    this.#share = config.per === 'waypoint' ? Math.max(1, workers) : 1;
  }

  /** `connection`: any object that lives as long as the client's connection. */
  take(connection: object, now: number): boolean {
    if (this.config.per === 'waypoint') return (this.#bucket ??= this.#make(now)).take(now);
    let bucket = this.#byConnection.get(connection);
    if (bucket === undefined) {
      bucket = this.#make(now);
      this.#byConnection.set(connection, bucket);
    }
    return bucket.take(now);
  }

  #make(now: number): TokenBucket {
    const { maxTokens, tokensPerFill, intervalMs } = this.config;
    const max = maxTokens <= 0 ? 0 : Math.max(1, maxTokens / this.#share);
    return new TokenBucket(max, tokensPerFill / this.#share, intervalMs, now);
  }
}
