// Keys that need a look. A key is looked at by one call at a time, however often it was added; a look that fails
// is repeated after a growing pause. Bounded by the number of objects.
import { backoffDelay, type Logger } from '#/kit/index.ts';
import { errorText } from '#/errors/index.ts';

const retry = { initial: 50, max: 10_000, jitter: 0.2 };

export class WorkQueue {
  readonly #name: string;
  readonly #look: (key: string) => Promise<void>;
  readonly #log: Logger;
  readonly #limit: number;
  readonly #waiting = new Set<string>();
  readonly #active = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #stopped = false;

  constructor(name: string, log: Logger, look: (key: string) => Promise<void>, concurrency = 4) {
    this.#name = name;
    this.#log = log;
    this.#look = look;
    this.#limit = concurrency;
  }

  add(key: string): void {
    if (this.#stopped) return;
    this.#waiting.add(key);
    this.#pump();
  }

  addAfter(key: string, ms: number): void {
    clearTimeout(this.#timers.get(key));
    const timer = setTimeout(() => {
      this.#timers.delete(key);
      this.add(key);
    }, ms);
    timer.unref();
    this.#timers.set(key, timer);
  }

  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #pump(): void {
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#limit) return;
      if (this.#active.has(key)) continue;
      this.#waiting.delete(key);
      this.#active.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    try {
      await this.#look(key);
      this.#failures.delete(key);
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      // The first conflict is no news: the cache was a moment behind.
      if (failures > 2) this.#log.warn(`${this.#name}: ${key}`, { error: errorText(error) });
      this.addAfter(key, backoffDelay(retry, failures));
    } finally {
      this.#active.delete(key);
      this.#pump();
    }
  }
}
