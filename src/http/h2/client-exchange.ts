// One request on a stream, as its sender sees it.
import { h2Error, type H2Stream, type HeaderList } from '#/tunnel/index.ts';
import type {
  ClientExchange,
  ExchangeFailure,
  MessageReceiver,
  RequestHead,
  ResponseHead,
  ResponseReceiver,
} from '../exchange.ts';
import type { HeaderMap } from '../header-map.ts';
import { readResponse } from './message-headers.ts';
import { anyLength, MessageStream } from './message-stream.ts';

export interface ResponseLimits {
  readonly maxHeaders: number;
  readonly maxTrailers: number;
}

export class H2ClientExchange extends MessageStream implements ClientExchange {
  readonly #method: string;
  readonly #upgrade: boolean;
  readonly #receiver: ResponseReceiver;
  readonly #maxHeaders: number;
  /** The bodies are byte streams now. */
  #switched = false;

  constructor(stream: H2Stream, request: RequestHead, receiver: ResponseReceiver, limits: ResponseLimits) {
    super(stream, limits.maxTrailers);
    this.#method = request.method;
    this.#upgrade = request.upgrade !== undefined;
    this.#receiver = receiver;
    this.#maxHeaders = limits.maxHeaders;
  }

  headers(headers: HeaderList, ended: boolean): void {
    const { head, reason } = readResponse(headers, this.#maxHeaders);
    if (head === undefined) this.broken(reason);
    else if (head.status === 101) this.broken('101 in HTTP/2');
    else if (head.status < 200) this.#receiver.inform(head.status, head.headers);
    else this.#onHead(head, ended);
  }

  #onHead(head: ResponseHead, ended: boolean): void {
    const { status, contentLength } = head;
    if (this.#upgrade && status < 300) {
      this.#switched = true;
      // What was asked as an upgrade of HTTP/1.1 is answered as one.
      const switched = this.#method === 'CONNECT' ? status : 101;
      this.#receiver.head({ status: switched, headers: head.headers, contentLength: undefined }, false);
      return;
    }
    const bare = this.#method === 'HEAD' || status === 204 || status === 304;
    this.left = bare ? 0 : (contentLength ?? anyLength);
    if (ended && this.left > 0) {
      this.broken('a content-length without a body');
      return;
    }
    this.complete = ended;
    this.#receiver.head(head, ended);
    if (ended) this.onComplete();
  }

  protected override listener(): MessageReceiver | undefined {
    return this.over ? undefined : this.#receiver;
  }

  /** An answer that is complete before its request ends it, but for byte streams: nobody waits for the rest. */
  protected override onComplete(): void {
    if (!this.#switched && !this.stream.localEnded) this.abandon(h2Error.noError);
  }

  protected override onFailed(failure: ExchangeFailure): void {
    if (!this.complete || this.#switched) this.#receiver.failed(failure);
  }

  write(chunk: Buffer): boolean {
    return this.over || this.stream.write(chunk);
  }

  end(trailers?: HeaderMap): void {
    if (!this.over) this.finish(trailers);
  }

  reset(): void {
    this.abandon(h2Error.cancel);
  }
}
