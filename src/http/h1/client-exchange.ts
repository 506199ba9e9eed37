// One request of HTTP/1.1 as its sender sees it: writes the body, and passes the response on.
import type { ClientExchange, ExchangeFailure, RequestHead, ResponseReceiver } from '../exchange.ts';
import type { HeaderMap } from '../header-map.ts';
import { HeldBytes } from './held-bytes.ts';
import type { Output } from './output.ts';
import type { RequestFraming } from './request-text.ts';
import { trailerLines } from './server-exchange.ts';

export interface ClientOwner {
  readonly output: Output;
  /** Ends the exchange and the connection with it. A failure is told to the receiver. */
  abort(exchange: H1ClientExchange, failure?: ExchangeFailure): void;
  consumed(bytes: number): void;
}

/** What may be written before an upgrade has been granted. */
const maxEarlyBytes = 65_536;

export class H1ClientExchange implements ClientExchange {
  readonly request: RequestHead;
  receiver: ResponseReceiver | undefined;
  requestEnded = false;
  readonly #owner: ClientOwner;
  #framing: RequestFraming | 'stream';
  #left: number;
  readonly #early = new HeldBytes();
  #endsEarly = false;

  constructor(owner: ClientOwner, request: RequestHead, framing: RequestFraming, receiver: ResponseReceiver) {
    this.#owner = owner;
    this.request = request;
    this.receiver = receiver;
    this.#framing = framing;
    this.#left = request.contentLength ?? 0;
  }

  get upgrading(): boolean {
    return this.#framing === 'upgrade';
  }

  /** The response is over, or the exchange has failed: what is still written goes nowhere. */
  get over(): boolean {
    return this.receiver === undefined;
  }

  /** 101 has come: bytes both ways. */
  switched(): void {
    this.#framing = 'stream';
    if (this.#early.bytes > 0) this.#owner.output.chunk(this.#early.take());
    if (this.#endsEarly) this.#owner.output.end();
  }

  write(chunk: Buffer): boolean {
    const { output } = this.#owner;
    if (this.over || this.requestEnded || chunk.length === 0) return !output.blocked;
    switch (this.#framing) {
      case 'length':
        this.#left -= chunk.length;
        if (this.#left < 0) this.#broken('the request body is longer than its length');
        else output.chunk(chunk);
        break;
      case 'chunked':
        output.text(`${chunk.length.toString(16)}\r\n`);
        output.chunk(chunk);
        output.text('\r\n');
        break;
      case 'stream':
        output.chunk(chunk);
        break;
      case 'upgrade':
        this.#early.add(chunk, 0);
        if (this.#early.bytes > maxEarlyBytes) this.#broken('too many bytes before the upgrade was granted');
        return false;
      case 'none':
        break;
    }
    return !output.blocked;
  }

  end(trailers?: HeaderMap): void {
    if (this.over || this.requestEnded) return;
    if (this.#framing === 'upgrade') {
      this.#endsEarly = true;
      return;
    }
    if (this.#framing === 'length' && this.#left > 0) {
      this.#broken('the request body is shorter than its length');
      return;
    }
    this.requestEnded = true;
    if (this.#framing === 'chunked')
      this.#owner.output.text(trailers === undefined ? '0\r\n\r\n' : `0\r\n${trailerLines(trailers)}\r\n`);
    else if (this.#framing === 'stream') this.#owner.output.end();
  }

  #broken(message: string): void {
    this.#owner.abort(this, { kind: 'local', message });
  }

  consumed(bytes: number): void {
    this.#owner.consumed(bytes);
  }

  reset(): void {
    if (!this.over) this.#owner.abort(this);
  }
}
