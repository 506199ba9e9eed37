// The body of a request on its way: held while nobody takes it, kept while the request may have to be sent again.
import type { ClientExchange, HeaderMap } from '#/http/index.ts';

/** Who takes a copy of the body. `reset`: it does not get the rest. */
export type BodyCopy = Pick<ClientExchange, 'write' | 'end' | 'reset'>;

export class RequestBody {
  /** Gives window back to the client, bytes. */
  readonly #consumed: (bytes: number) => void;
  readonly #keepLimit: number;
  /** What came and is not sent yet, or is kept for another try. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  /** Window that was not given back, since nobody has taken the bytes. */
  #owed = 0;
  #target: ClientExchange | undefined;
  /** Mirrors: given up when they do not keep up. */
  #copies: BodyCopy[] = [];
  #keeps: boolean;
  #over = false;
  ended: boolean;
  trailers: HeaderMap | undefined;
  bytes = 0;

  /** `keepLimit` bytes are kept for another try; 0: none. */
  constructor(ended: boolean, keepLimit: number, consumed: (bytes: number) => void) {
    this.ended = ended;
    this.#keepLimit = keepLimit;
    this.#keeps = keepLimit > 0;
    this.#consumed = consumed;
  }

  /** False once a part was sent that is not kept. */
  get replayable(): boolean {
    return this.#keeps || this.#target === undefined;
  }

  /** No other try will follow: nothing is kept any more. */
  forget(): void {
    this.#keeps = false;
    if (this.#target === undefined) return;
    this.#parts = [];
    this.#partBytes = 0;
  }

  data(chunk: Buffer): void {
    if (this.#over) {
      this.#consumed(chunk.length);
      return;
    }
    this.bytes += chunk.length;
    this.#owed += chunk.length;
    if (this.#keeps && this.#partBytes + chunk.length > this.#keepLimit && this.#target !== undefined)
      this.forget();
    if (this.#target === undefined || this.#keeps) {
      this.#parts.push(Buffer.from(chunk));
      this.#partBytes += chunk.length;
    }
    for (const copy of this.#copies) if (!copy.write(chunk)) this.#giveUp(copy);
    if (this.#target?.write(chunk) === true) this.#settle();
  }

  #giveUp(copy: BodyCopy): void {
    this.#copies = this.#copies.filter((one) => one !== copy);
    copy.reset();
  }

  /** A copy of the whole body goes there as well, as long as it keeps up. Only while all of it is here. */
  copyTo(target: BodyCopy): void {
    const lost = this.bytes > this.#partBytes;
    if (lost || (this.#over && !this.ended)) {
      target.reset();
      return;
    }
    for (const part of this.#parts) target.write(part);
    if (this.ended) target.end(this.trailers);
    else this.#copies.push(target);
  }

  end(trailers: HeaderMap | undefined): void {
    if (this.#over) return;
    this.ended = true;
    this.trailers = trailers;
    for (const copy of this.#copies) copy.end(trailers);
    this.#copies = [];
    this.#target?.end(trailers);
  }

  /** Bytes that wait for somebody to take them: the client may not be able to send more. */
  get held(): number {
    return this.#owed;
  }

  /** Everything that came so far; not to be changed. */
  get collected(): Buffer {
    return this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
  }

  /** A filter reads the body before anybody takes it: the client may go on sending. */
  release(): void {
    this.#settle();
  }

  /** Sends what came so far, and what comes, to this try. */
  sendTo(target: ClientExchange): void {
    this.#target = target;
    let took = true;
    for (const part of this.#parts) took = target.write(part);
    if (this.#keeps && this.#partBytes > this.#keepLimit) this.#keeps = false;
    if (!this.#keeps) {
      this.#parts = [];
      this.#partBytes = 0;
    }
    if (took) this.#settle();
    if (this.ended) target.end(this.trailers);
  }

  /** The try takes more. */
  writable(): void {
    this.#settle();
  }

  /**
   * The exchange is over: nothing is held any more. Window that is not given back would be lost to everything else on
   * the connection. Mirrors do not get the rest.
   */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#target = undefined;
    if (!this.ended) this.#parts = [];
    const copies = this.#copies;
    this.#copies = [];
    for (const copy of copies) copy.reset();
    this.#settle();
  }

  /** The try is over; another may follow. */
  detach(): void {
    this.#target = undefined;
  }

  #settle(): void {
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#consumed(owed);
  }
}
