// Keys whose work must be done, each by one worker at a time. A key that is added while it waits is done once; one
// that is added while it is worked on is done again. Failures come back after a growing delay, without end.
import { backoffDelay, type Clock } from '#/kit/index.ts';

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly workers: number;
  /** Does the work for a key. Resolves true if it is to be tried again. Must not reject. */
  readonly work: (key: string) => Promise<boolean>;
  readonly random?: () => number;
}

/** Of one key: 5 ms, doubled to 5 s. Of all together: 10 a second, after the first 100. */
const keyDelay = { initial: 5, max: 5000 };
const perSecond = 10;
const burst = 100;

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #working = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, Disposable>();
  #stopped = false;
  #tokens = burst;
  #filled: number;
  #idle: (() => void)[] = [];

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#filled = options.clock.now();
  }

  /** Done as soon as a worker is free, also if it waits for its next attempt. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#timers.get(key)?.[Symbol.dispose]();
    this.#timers.delete(key);
    this.#waiting.add(key);
    this.#fill();
  }

  /** Keys that wait or are worked on; those that wait for another attempt are not counted. */
  get size(): number {
    return this.#waiting.size + this.#working.size;
  }

  /** Resolves when nothing waits or is worked on. */
  async idle(): Promise<void> {
    if (this.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Takes no more; resolves when what is being worked on is done. */
  stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    this.#timers.clear();
    return this.idle();
  }

  #fill(): void {
    for (const key of this.#waiting) {
      if (this.#working.size >= this.#options.workers) return;
      if (this.#working.has(key)) continue;
      this.#waiting.delete(key);
      this.#working.add(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    const again = await this.#options.work(key);
    this.#working.delete(key);
    if (!again) this.#failures.delete(key);
    else if (!this.#waiting.has(key) && !this.#stopped) this.#later(key);
    this.#fill();
    if (this.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #later(key: string): void {
    const { clock, random } = this.#options;
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const now = clock.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filled) / 1000) * perSecond) - 1;
    this.#filled = now;
    const wait = Math.max(backoffDelay(keyDelay, failures, random), (-this.#tokens / perSecond) * 1000);
    this.#timers.set(
      key,
      clock.after(wait, () => {
        this.#timers.delete(key);
        this.add(key);
      }),
    );
  }
}
