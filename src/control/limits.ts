// Bounds on how much is done for callers: so many at once with a bounded queue, so many per second for each.
import { Lru, systemClock, type Clock } from '#/kit/index.ts';

/** At most `concurrency` at a time; up to `queue` wait in order, more are refused. */
export class Gate {
  readonly #concurrency: number;
  readonly #queue: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(concurrency: number, queue: number) {
    this.#concurrency = concurrency;
    this.#queue = queue;
  }

  /** Undefined if the queue is full. Otherwise resolves when it is our turn; dispose to let the next one in. */
  enter(): Promise<Disposable> | undefined {
    const pass: Disposable = {
      [Symbol.dispose]: () => {
        this.#running--;
        this.#waiting.shift()?.();
      },
    };
    if (this.#running < this.#concurrency) {
      this.#running++;
      return Promise.resolve(pass);
    }
    if (this.#waiting.length >= this.#queue) return undefined;
    return new Promise((resolve) => {
      this.#waiting.push(() => {
        this.#running++;
        resolve(pass);
      });
    });
  }

  get waiting(): number {
    return this.#waiting.length;
  }
}

/** A token bucket per key: `perSecond` on average, ten seconds' worth at once. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #clock: Clock;
  readonly #buckets = new Lru<string, { tokens: number; at: number }>(10_000);

  constructor(perSecond: number, clock: Clock = systemClock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
  }

  /** False if the key has had its share. */
  take(key: string): boolean {
    if (this.#perSecond <= 0) return true;
    const now = this.#clock.now();
    const burst = 10 * this.#perSecond;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, at: now };
    // A clock that jumps back takes nothing away.
    const passed = Math.max(0, now - bucket.at) / 1000;
    bucket.tokens = Math.min(burst, bucket.tokens + passed * this.#perSecond);
    bucket.at = now;
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
