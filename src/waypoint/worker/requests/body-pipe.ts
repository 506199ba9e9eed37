// A body that somebody looks at, chunk by chunk, on its way. One chunk is asked about at a time; the others wait here,
// and their window is not given back meanwhile, so that the sender waits as well.

/** `pass` is called once, now or later, with what goes on instead. `last`: nothing follows; the chunk may be empty. */
export type BodyAsk = (chunk: Buffer, last: boolean, pass: (chunk: Buffer) => void) => void;

export interface BodySink {
  /** `owed`: window to give back once it has gone on, bytes. */
  data(chunk: Buffer, owed: number): void;
  end(): void;
}

const empty = Buffer.alloc(0);

export class BodyPipe {
  readonly #ask: BodyAsk;
  readonly #sink: BodySink;
  readonly #queue: { readonly chunk: Buffer; readonly owed: number }[] = [];
  #asking = false;
  #ended = false;
  #closed = false;
  /** Window of what has not gone on yet, bytes. */
  held = 0;

  constructor(ask: BodyAsk, sink: BodySink) {
    this.#ask = ask;
    this.#sink = sink;
  }

  /** Copies the chunk. */
  push(chunk: Buffer, owed = chunk.length): void {
    if (this.#closed) return;
    this.#queue.push({ chunk: Buffer.from(chunk), owed });
    this.held += owed;
    this.#next();
  }

  end(): void {
    this.#ended = true;
    this.#next();
  }

  /** Nothing goes on any more. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
  }

  #next(): void {
    if (this.#asking || this.#closed) return;
    const first = this.#queue.shift();
    if (first === undefined && !this.#ended) return;
    const { chunk, owed } = first ?? { chunk: empty, owed: 0 };
    const last = this.#ended && this.#queue.length === 0;
    this.#asking = true;
    this.#ask(chunk, last, (passed) => {
      if (this.#closed || !this.#asking) return;
      this.#asking = false;
      this.held -= owed;
      if (passed.length > 0 || owed > 0) this.#sink.data(passed, owed);
      if (last) {
        this.#closed = true;
        this.#sink.end();
      } else this.#next();
    });
  }
}
