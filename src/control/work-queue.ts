// Keys with something to do: each once, a few at a time, again after a while when it fails.
import { backoffDelay, systemClock, type Clock } from '#/kit/index.ts';

export interface WorkQueueOptions {
  readonly work: (key: string, signal: AbortSignal) => Promise<void>;
  /** Called when work has thrown; it is tried again. */
  readonly onError: (key: string, error: unknown) => void;
  readonly concurrency?: number;
  readonly clock?: Clock;
}

/** Holds no more than one entry per key: the limit is the number of objects. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #clock: Clock;
  readonly #waiting = new Set<string>();
  readonly #busy = new Set<string>();
  /** Asked for again while it was being worked on. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  #signal: AbortSignal | undefined;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  add(key: string): void {
    if (this.#busy.has(key)) this.#again.add(key);
    else {
      this.#waiting.add(key);
      this.#pump();
    }
  }

  /** Works until the signal aborts; what waits is kept for the next start. */
  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#pump();
  }

  get size(): number {
    return this.#waiting.size + this.#busy.size;
  }

  #pump(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted) return;
    for (const key of this.#waiting) {
      if (this.#busy.size >= (this.#options.concurrency ?? 4)) return;
      this.#waiting.delete(key);
      this.#busy.add(key);
      void this.#do(key, signal);
    }
  }

  async #do(key: string, signal: AbortSignal): Promise<void> {
    let retryMs: number | undefined;
    try {
      await this.#options.work(key, signal);
      this.#failures.delete(key);
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      retryMs = backoffDelay({ initial: 200, max: 60_000, jitter: 0.2 }, failures);
      if (!signal.aborted) this.#options.onError(key, error);
    }
    this.#busy.delete(key);
    if (this.#again.delete(key)) this.#waiting.add(key);
    else if (signal.aborted && retryMs !== undefined) this.#waiting.add(key);
    else if (retryMs !== undefined) this.#clock.after(retryMs, () => this.add(key));
    this.#pump();
  }
}
