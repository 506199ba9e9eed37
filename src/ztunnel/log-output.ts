// The program's log on its way out. Lines are written without waiting; a reader that does not keep up costs
// lines beyond the limit, and is told how many.
import type { Writable } from 'node:stream';

/** Lines that may wait. */
const lineLimit = 10_000;

export class LogOutput {
  readonly #out: Writable;
  #waiting = 0;
  #dropped = 0;
  /** Lines lost so far because the reader did not keep up. */
  droppedTotal = 0;

  constructor(out: Writable) {
    this.#out = out;
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
      all = `${new Date().toISOString()}\twarn\tlog\tlines were lost because the log was not read fast enough\tcount=${this.#dropped}\n${text}`;
      this.#dropped = 0;
    }
    this.#waiting += lines;
    this.#out.write(all, () => {
      this.#waiting -= lines;
    });
  }

  /** Resolves when all that was accepted is written, or the reader is gone. */
  async flush(): Promise<void> {
    if (this.#out.destroyed || this.#waiting === 0) return;
    await new Promise<void>((resolve) => {
      this.#out.once('error', () => resolve());
      this.#out.write('', () => resolve());
    });
  }
}
