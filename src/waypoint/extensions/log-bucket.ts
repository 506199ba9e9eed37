// An extension's lines into the log, no more of them than anybody can read.
import type { Clock, Logger } from '#/kit/index.ts';
import type { LogLine } from './protocol.ts';

const linesPerSecond = 50;

export class LogBucket {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #extension: string;
  #second = 0;
  #written = 0;
  #dropped = 0;

  constructor(log: Logger, clock: Clock, extension: string) {
    this.#log = log;
    this.#clock = clock;
    this.#extension = extension;
  }

  write(lines: readonly LogLine[]): void {
    for (const [level, text] of lines) {
      const second = Math.floor(this.#clock.now() / 1000);
      if (second !== this.#second) {
        if (this.#dropped > 0)
          this.#log.warn('lines of an extension were left out', {
            extension: this.#extension,
            lines: this.#dropped,
          });
        this.#second = second;
        this.#written = this.#dropped = 0;
      }
      if (this.#written >= linesPerSecond) this.#dropped++;
      else {
        this.#written++;
        this.#log.log(level, text, { extension: this.#extension });
      }
    }
  }
}
