// One request on a stream, as the server sees it.
import { h2Error, type H2Stream } from '#/tunnel/index.ts';
import type {
  ExchangeFailure,
  MessageReceiver,
  RequestHead,
  ResponseHead,
  ServerExchange,
} from '../exchange.ts';
import type { HeaderMap } from '../header-map.ts';
import { responseHeaders } from './message-headers.ts';
import { MessageStream } from './message-stream.ts';

export class H2ServerExchange extends MessageStream implements ServerExchange {
  readonly request: RequestHead;
  readonly requestEnded: boolean;
  receiver: MessageReceiver | undefined;
  #responded = false;
  /** The bodies are byte streams now. */
  #switched = false;
  /** The response has ended as far as its sender is concerned. */
  #done = false;

  constructor(stream: H2Stream, request: RequestHead, ended: boolean, maxTrailers: number) {
    super(stream, maxTrailers);
    this.request = request;
    this.requestEnded = this.complete = ended;
    if (!ended && request.contentLength !== undefined) this.left = request.contentLength;
  }

  /** The rest of a request is of no interest once it is answered; a byte stream goes on in its direction. */
  protected override listener(): MessageReceiver | undefined {
    return this.#done && !this.#switched ? undefined : this.receiver;
  }

  protected override onComplete(): void {}

  protected override onFailed(failure: ExchangeFailure): void {
    if (!this.#done || (this.#switched && !this.complete)) this.receiver?.failed(failure);
  }

  inform(status: number, headers: HeaderMap): void {
    if (this.#responded || this.over) return;
    this.stream.respond(responseHeaders(status, headers, undefined));
  }

  respond(head: ResponseHead, ended: boolean): void {
    if (this.#responded || this.over) return;
    this.#responded = true;
    const { method, upgrade } = this.request;
    // There is no 101 in HTTP/2: an extended CONNECT is answered 200 (RFC 8441, 5).
    const status = head.status === 101 && upgrade !== undefined ? 200 : head.status;
    const bare = method === 'HEAD' || status === 204 || status === 304;
    this.#switched = upgrade !== undefined && status === 200;
    const length = this.#switched ? undefined : head.contentLength;
    this.#done = ended || bare;
    this.stream.respond(responseHeaders(status, head.headers, length), this.#done);
  }

  write(chunk: Buffer): boolean {
    return this.#done || this.over || this.stream.write(chunk);
  }

  end(trailers?: HeaderMap): void {
    if (this.#done || this.over) return;
    this.#done = true;
    this.finish(trailers);
  }

  /** Our response is on its way whole: the client need not send the rest of its request (RFC 9113, 8.1). */
  sent(): void {
    if (!this.#switched) this.abandon(h2Error.noError);
  }

  reset(): void {
    this.abandon(h2Error.internalError);
  }
}
