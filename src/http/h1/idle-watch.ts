// Tells when a connection has had nothing to do for long. One timer per connection that is seldom set again: a busy
// one only writes down the time.
import type { Clock } from '#/kit/index.ts';

export class IdleWatch {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #isIdle: () => boolean;
  readonly #expired: () => void;
  #since = 0;
  #timer: Disposable | undefined;
  #stopped = false;

  constructor(clock: Clock, ms: number, isIdle: () => boolean, expired: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#isIdle = isIdle;
    this.#expired = expired;
  }

  /** The connection is idle from now on. */
  begin(): void {
    this.#since = this.#clock.now();
    if (this.#timer === undefined && !this.#stopped) this.#set(this.#ms);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  #set(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined;
      if (!this.#isIdle()) return;
      const left = this.#since + this.#ms - this.#clock.now();
      if (left > 0) this.#set(left);
      else this.#expired();
    });
  }
}
