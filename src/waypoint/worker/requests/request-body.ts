// The body of a request on its way: held while nobody takes it, kept while the request may have to be sent again.
import type { ClientExchange, HeaderMap } from '#/http/index.ts';

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
  #copies: ClientExchange[] = [];
  #keeps: boolean;
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

  #giveUp(copy: ClientExchange): void {
    this.#copies = this.#copies.filter((one) => one !== copy);
    copy.reset();
  }

  /** A copy of the whole body goes there as well, as long as it keeps up. Only before anything was sent on. */
  copyTo(target: ClientExchange): void {
    if (this.#target !== undefined && !this.#keeps) {
      target.reset();
      return;
    }
    for (const part of this.#parts) target.write(part);
    if (this.ended) target.end(this.trailers);
    else this.#copies.push(target);
  }

  end(trailers: HeaderMap | undefined): void {
    this.ended = true;
    this.trailers = trailers;
    for (const copy of this.#copies) copy.end(trailers);
    this.#copies = [];
    this.#target?.end(trailers);
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

  /** The client has gone: mirrors do not get the rest. */
  abort(): void {
    for (const copy of this.#copies) copy.reset();
    this.#copies = [];
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
