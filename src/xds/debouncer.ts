// Joins a burst of events into one run: after a pause without events, or after the longest wait.
import type { Clock } from '#/kit/index.ts';

export interface DebounceOptions {
  /** Run when nothing has come for so long, milliseconds. */
  readonly afterMs: number;
  /** Run at the latest so long after the first event. */
  readonly maxMs: number;
  /**
   * The first event after a time of quiet (`afterMs` without an event or a run) waits only so long: a single change is
   * live at once, and a burst costs one run more. Default: as any other.
   */
  readonly firstMs?: number;
}

export class Debouncer implements Disposable {
  readonly #options: DebounceOptions;
  readonly #clock: Clock;
  readonly #run: () => void;
  #burst: { first: number; last: number; timer: Disposable; readonly prompt: boolean } | undefined;
  /** Of the last run. */
  #ranAt = Number.NEGATIVE_INFINITY;

  constructor(options: DebounceOptions, clock: Clock, run: () => void) {
    this.#options = options;
    this.#clock = clock;
    this.#run = run;
  }

  touch(): void {
    const now = this.#clock.now();
    if (this.#burst !== undefined) {
      // The timer finds out by itself that there was more: re-arming it at every event would cost more than a run.
      this.#burst.last = now;
      return;
    }
    const { afterMs, maxMs, firstMs } = this.#options;
    const prompt = firstMs !== undefined && now - this.#ranAt >= afterMs;
    const wait = prompt ? Math.min(firstMs, afterMs) : afterMs;
    this.#burst = { first: now, last: now, timer: this.#arm(Math.min(wait, maxMs)), prompt };
  }

  /** Runs now if anything is waiting. */
  flush(): void {
    if (this.#burst === undefined) return;
    this.#cancel();
    this.#ranAt = this.#clock.now();
    this.#run();
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }

  #cancel(): void {
    this.#burst?.timer[Symbol.dispose]();
    this.#burst = undefined;
  }

  #arm(ms: number): Disposable {
    return this.#clock.after(ms, () => this.#due());
  }

  #due(): void {
    const burst = this.#burst;
    if (burst === undefined) return;
    const now = this.#clock.now();
    const { afterMs, maxMs } = this.#options;
    const left = burst.prompt ? 0 : Math.min(burst.last + afterMs, burst.first + maxMs) - now;
    if (left > 0) burst.timer = this.#arm(left);
    else this.flush();
  }
}
