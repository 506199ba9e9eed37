// Gathers a head (or a trailer section) out of the pieces it comes in. A head that lies in one chunk is not copied.

const cr = 13;
const lf = 10;
const emptyLine = Buffer.from('\r\n\r\n');

export type Assembled =
  /** All has been taken, and it does not suffice. */
  | 'more'
  /** `bytes` from `from` to `to` is a head with its empty line. */
  | 'complete'
  /** A byte came that can be in no head; `bytes` from `from` to `to` ends with it. */
  | 'bad'
  /** It is over the limit. */
  | 'long';

export class HeadAssembler {
  readonly #limit: number;
  readonly #skipsEmptyLine: boolean;
  #store: Buffer | undefined;
  #length = 0;
  #checked = 0;
  bytes: Buffer = emptyLine;
  from = 0;
  to = 0;
  /** Bytes of the last chunk that were taken. */
  taken = 0;

  /** @param skipsEmptyLine one before the head, which some clients send after a body (RFC 9112, 2.2) */
  constructor(limit: number, skipsEmptyLine: boolean) {
    this.#limit = limit;
    this.#skipsEmptyLine = skipsEmptyLine;
  }

  /** Part of a head has come; the end of a line that is skipped does not count. */
  get begun(): boolean {
    return this.#length > (this.#skipsEmptyLine && this.#store?.[0] === cr ? 2 : 0);
  }

  /** Whether the first line is there; for a head that is too long. */
  get hasLine(): boolean {
    return this.bytes.subarray(this.from, this.to).includes(lf);
  }

  /** Pretends that the end of a line has come, so that an empty section is found as an empty line. */
  beginAfterLine(): void {
    this.#append(emptyLine, 0, 2);
    this.#checked = 2;
  }

  add(chunk: Buffer, at: number): Assembled {
    if (this.#length === 0) {
      const from = this.#skipsEmptyLine && chunk[at] === cr && chunk[at + 1] === lf ? at + 2 : at;
      const end = chunk.indexOf(emptyLine, from);
      if (end >= 0 && end + 4 - from <= this.#limit) {
        this.taken = end + 4 - at;
        return this.#found(chunk, from, end + 4, 'complete');
      }
    }
    // One byte more than the limit, and an empty line before, show that it is too long.
    const room = this.#limit + 3 - this.#length;
    const added = Math.min(room, chunk.length - at);
    const before = this.#length;
    this.#append(chunk, at, at + added);
    const state = this.#scan();
    this.taken = state === 'complete' || state === 'bad' ? this.to - before : added;
    if (state !== 'more') this.#length = 0;
    return state;
  }

  /** What there is, for a log. */
  get partial(): string {
    return this.#store?.toString('latin1', 0, Math.min(this.#length, 200)) ?? '';
  }

  #found(bytes: Buffer, from: number, to: number, state: Assembled): Assembled {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
    return state;
  }

  #append(chunk: Buffer, from: number, to: number): void {
    const length = this.#length + to - from;
    if (this.#store === undefined || this.#length === 0 || this.#store.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(512, length * 2));
      this.#store?.copy(grown, 0, 0, this.#length);
      this.#store = grown;
      if (this.#length === 0) this.#checked = 0;
    }
    chunk.copy(this.#store, this.#length, from, to);
    this.#length = length;
  }

  /** Looks at what is new: for the end, and for bytes that are refused wherever they stand. */
  #scan(): Assembled {
    const bytes = this.#store as Buffer;
    const from = this.#skipsEmptyLine && this.#length >= 2 && bytes[0] === cr && bytes[1] === lf ? 2 : 0;
    const end = Math.min(this.#length, from + this.#limit);
    for (let i = Math.max(from, this.#checked); i < end; i++) {
      const byte = bytes[i];
      if (byte === lf) {
        if (i === 0 || bytes[i - 1] !== cr) return this.#found(bytes, from, i + 1, 'bad');
        if (i >= from + 3 && bytes[i - 2] === lf && bytes[i - 3] === cr)
          return this.#found(bytes, from, i + 1, 'complete');
      } else if (byte === 0 || (i > from && bytes[i - 1] === cr))
        return this.#found(bytes, from, i + 1, 'bad');
    }
    this.#checked = end;
    this.#found(bytes, from, this.#length, 'more');
    return this.#length > from + this.#limit ? 'long' : 'more';
  }

  /** Gives the store back: the head has been read. */
  release(): void {
    this.#store = undefined;
    this.bytes = emptyLine;
  }
}
