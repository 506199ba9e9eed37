// Log lines of a few milliseconds, sent on as one text: a message to the main thread costs more than many lines.
// Bounded: more lines than the limit are sent early.
const limit = 10_000;
const delayMs = 10;

export class LineBatch {
  readonly #send: (text: string, lines: number) => void;
  #text = '';
  #lines = 0;
  #planned = false;

  constructor(send: (text: string, lines: number) => void) {
    this.#send = send;
  }

  /** A line with its line break. */
  add(line: string): void {
    this.#text += line;
    this.#lines++;
    if (this.#lines >= limit) this.flush();
    else if (!this.#planned) {
      this.#planned = true;
      setTimeout(() => this.flush(), delayMs);
    }
  }

  flush(): void {
    this.#planned = false;
    if (this.#lines === 0) return;
    const text = this.#text;
    const lines = this.#lines;
    this.#text = '';
    this.#lines = 0;
    this.#send(text, lines);
  }
}
