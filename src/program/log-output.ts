// The program's log on its way out. Lines are written without waiting; a reader that does not keep up costs
// lines beyond the limit, and is told how many.
import type { Writable } from 'node:stream';
import { createLogger, type Logger } from '#/kit/index.ts';

/** Lines that may wait. */
const lineLimit = 10_000;
/** How long the end of the program waits for a reader. */
const flushMs = 1000;

export class LogOutput {
  readonly #out: Writable;
  /** Makes the line that tells of lost ones. */
  readonly #log: Logger;
  #notice = '';
  #waiting = 0;
  #dropped = 0;
  /** Lines lost so far because the reader did not keep up. */
  droppedTotal = 0;

  constructor(out: Writable, format: 'plain' | 'json') {
    this.#out = out;
    const write = (line: string): void => {
      this.#notice = line;
    };
    this.#log = createLogger({ level: 'warn', format, write }, 'log');
    out.on('error', () => {}); // A reader that is gone: there is nobody left to tell.
  }

  /** Whole lines, with their line breaks. */
  write(text: string, lines = 1): void {
    if (this.#waiting + lines > lineLimit && this.#waiting > 0) {
      this.#dropped += lines;
      this.droppedTotal += lines;
      return;
    }
    let all = text;
    if (this.#dropped > 0) {
      this.#log.warn('lines were lost because the log was not read fast enough', { count: this.#dropped });
      all = this.#notice + text;
      this.#dropped = 0;
    }
    this.#waiting += lines;
    this.#out.write(all, () => {
      this.#waiting -= lines;
    });
  }

  /** Resolves when all that was accepted is written, the reader is gone, or has not read for a second. */
  async flush(): Promise<void> {
    if (this.#out.destroyed || this.#waiting === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, flushMs);
      const done = (): void => {
        clearTimeout(late);
        resolve();
      };
      this.#out.once('error', done);
      this.#out.write('', done);
    });
  }
}
