// The body of a request on its way: held while nobody takes it, kept while the request may have to be sent again.
import type { ClientExchange, HeaderMap } from '#/http/index.ts';
import { BodyPipe, type BodyAsk } from './body-pipe.ts';

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
  /** A filter looks at each chunk before it goes on. */
  #pipe: BodyPipe | undefined;
  /** Bytes that went on, or wait for somebody to take them. */
  #passed = 0;
  /** All of it is here. */
  ended: boolean;
  trailers: HeaderMap | undefined;
  /** That came. */
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
    if (this.#pipe === undefined) this.#pass(chunk, chunk.length);
    else this.#pipe.push(chunk);
  }

  #pass(chunk: Buffer, owed: number): void {
    this.#passed += chunk.length;
    this.#owed += owed;
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
    const lost = this.#passed > this.#partBytes;
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
    this.trailers = trailers;
    if (this.#pipe === undefined) this.#passEnd();
    else this.#pipe.end();
  }

  #passEnd(): void {
    const { trailers } = this;
    this.ended = true;
    for (const copy of this.#copies) copy.end(trailers);
    this.#copies = [];
    this.#target?.end(trailers);
  }

  /** Bytes that wait for somebody to take them: the client may not be able to send more. */
  get held(): number {
    return this.#owed + (this.#pipe?.held ?? 0);
  }

  /** Nothing of it came, and nothing goes on. */
  get empty(): boolean {
    return this.bytes === 0 && this.#passed === 0;
  }

  /** Instead of what was collected. Only once it has ended, and before anybody takes it. */
  replace(body: Buffer): void {
    this.bytes = this.#passed = this.#partBytes = body.length;
    this.#parts = body.length === 0 ? [] : [body];
  }

  /** From now on chunks pass `ask`, and those first that wait here. Only before anybody takes them. */
  pipe(ask: BodyAsk): void {
    const early = this.#parts;
    const { ended } = this;
    this.#parts = [];
    this.#partBytes = this.#passed = 0;
    this.ended = false;
    this.#settle();
    const pipe = new BodyPipe(ask, {
      data: (chunk, owed) => this.#pass(chunk, owed),
      end: () => this.#passEnd(),
    });
    this.#pipe = pipe;
    for (const part of early) pipe.push(part, 0);
    if (ended) pipe.end();
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
    const held = this.#pipe?.held ?? 0;
    this.#pipe?.close();
    this.#pipe = undefined;
    this.#owed += held;
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
