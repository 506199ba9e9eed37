// The one timer that a connection has beside its idle watch.
import type { Clock } from '#/kit/index.ts';

export class OneTimer {
  readonly #clock: Clock;
  #timer: Disposable | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Does nothing if it runs already. */
  start(ms: number, expired: () => void): void {
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      expired();
    });
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }
}
