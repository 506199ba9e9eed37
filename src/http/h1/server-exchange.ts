// One request of HTTP/1.1 as its server sees it: writes the response with the framing that fits (RFC 9112, 6).
import type {
  ExchangeFailure,
  MessageReceiver,
  RequestHead,
  ResponseHead,
  ServerExchange,
} from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { isForbiddenTrailer } from '../header-rules.ts';
import type { Output } from './output.ts';
import { refusalResponse } from './refusal.ts';
import { isBodiless } from './response-head.ts';
import { statusLine } from './status-lines.ts';
import { fieldLines } from './write-fields.ts';

/** What an exchange needs of its connection. */
export interface ExchangeOwner {
  readonly output: Output;
  /** Whether the connection can serve on after this response, which has no more to come if `ended`. */
  mayServeOn(exchange: H1ServerExchange, ended: boolean): boolean;
  responseEnded(exchange: H1ServerExchange): void;
  switched(exchange: H1ServerExchange): void;
  abort(exchange: H1ServerExchange): void;
  consumed(bytes: number): void;
}

type Framing = 'unanswered' | 'length' | 'chunked' | 'close' | 'none' | 'stream' | 'over';

export class H1ServerExchange implements ServerExchange {
  readonly request: RequestHead;
  requestEnded: boolean;
  receiver: MessageReceiver | undefined;
  /** The client waits for a 100 before it sends the body. */
  awaitsContinue: boolean;
  keepAlive: boolean;
  readonly #owner: ExchangeOwner;
  #framing: Framing = 'unanswered';
  #left = 0;
  #failed = false;

  constructor(owner: ExchangeOwner, request: RequestHead, requestEnded: boolean, keepAlive: boolean) {
    this.#owner = owner;
    this.request = request;
    this.requestEnded = requestEnded;
    this.awaitsContinue = request.expectsContinue;
    this.keepAlive = keepAlive;
  }

  get answered(): boolean {
    return this.#framing !== 'unanswered';
  }

  consumed(bytes: number): void {
    this.#owner.consumed(bytes);
  }

  inform(status: number, headers: HeaderMap): void {
    if (this.answered || this.request.version === '1.0' || status < 100 || status > 199 || status === 101)
      return;
    const lines = fieldLines(headers);
    if (lines === undefined) return;
    if (status === 100) this.awaitsContinue = false;
    this.#owner.output.text(`${statusLine(status)}${lines}\r\n`);
  }

  respond(head: ResponseHead, ended: boolean): void {
    if (this.answered) return;
    const { status } = head;
    const lines = fieldLines(head.headers);
    const switches = status === 101;
    if (
      lines === undefined ||
      status > 999 ||
      (status < 200 && !switches) ||
      (switches && this.request.upgrade === undefined)
    ) {
      this.#broken();
      return;
    }
    if (switches) {
      this.#framing = 'stream';
      this.#owner.output.text(
        `${statusLine(101)}${lines}connection: upgrade\r\nupgrade: ${this.request.upgrade}\r\n\r\n`,
      );
      this.#owner.switched(this);
      return;
    }
    const framing = this.#frame(head, ended);
    if (this.keepAlive && !this.#owner.mayServeOn(this, ended)) this.keepAlive = false;
    const connection = this.keepAlive
      ? this.request.version === '1.0'
        ? 'connection: keep-alive\r\n'
        : ''
      : 'connection: close\r\n';
    this.#owner.output.text(`${statusLine(status)}${lines}${framing}${connection}\r\n`);
    if (ended) this.end();
  }

  /** Chooses how the end of the body is told, and gives the line for it. */
  #frame(head: ResponseHead, ended: boolean): string {
    const { status, contentLength } = head;
    if (this.request.method === 'HEAD' || isBodiless(status)) {
      this.#framing = 'none';
      return contentLength === undefined || status === 204 ? '' : `content-length: ${contentLength}\r\n`;
    }
    const length = contentLength ?? (ended ? 0 : undefined);
    if (length !== undefined) {
      this.#framing = 'length';
      this.#left = length;
      return `content-length: ${length}\r\n`;
    }
    if (this.request.version === '1.1') {
      this.#framing = 'chunked';
      return 'transfer-encoding: chunked\r\n';
    }
    this.#framing = 'close';
    this.keepAlive = false;
    return '';
  }

  /** A head that cannot be written: a filter has made it. Nothing of it goes out. */
  #broken(): void {
    this.#framing = 'over';
    this.keepAlive = false;
    this.#owner.output.text(refusalResponse(500));
    this.#owner.responseEnded(this);
    this.fail({ kind: 'local', message: 'the response has an invalid header or status' });
  }

  write(chunk: Buffer): boolean {
    const { output } = this.#owner;
    if (chunk.length > 0) this.#writeBody(chunk, output);
    return !output.blocked;
  }

  #writeBody(chunk: Buffer, output: Output): void {
    switch (this.#framing) {
      case 'length':
        this.#left -= chunk.length;
        if (this.#left < 0) this.reset();
        else output.chunk(chunk);
        return;
      case 'chunked':
        output.text(`${chunk.length.toString(16)}\r\n`);
        output.chunk(chunk);
        output.text('\r\n');
        return;
      case 'close':
      case 'stream':
        output.chunk(chunk);
        return;
      case 'unanswered':
      case 'none':
      case 'over':
        return;
    }
  }

  end(trailers?: HeaderMap): void {
    const framing = this.#framing;
    if (framing === 'unanswered' || framing === 'over') return;
    if (framing === 'length' && this.#left > 0) {
      // The client must not take a part for the whole.
      this.reset();
      return;
    }
    this.#framing = 'over';
    if (framing === 'stream') {
      this.#owner.output.end();
      return;
    }
    if (framing === 'chunked')
      this.#owner.output.text(trailers === undefined ? '0\r\n\r\n' : `0\r\n${trailerLines(trailers)}\r\n`);
    this.#owner.responseEnded(this);
  }

  reset(): void {
    this.#framing = 'over';
    this.#failed = true;
    this.#owner.abort(this);
  }

  /** Tells the receiver, once. */
  fail(failure: ExchangeFailure): void {
    this.#framing = 'over';
    if (this.#failed) return;
    this.#failed = true;
    this.receiver?.failed(failure);
  }
}

/** Those that may be sent; none at all if one is invalid. */
export function trailerLines(trailers: HeaderMap): string {
  const { flat } = trailers;
  const kept = new HeaderMap();
  for (let i = 0; i < flat.length; i += 2)
    if (!isForbiddenTrailer(flat[i] as string)) kept.add(flat[i] as string, flat[i + 1] as string);
  return fieldLines(kept) ?? '';
}
