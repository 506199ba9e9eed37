// What both ends of an exchange do with the message that comes in on their stream: its length is held against
// content-length (RFC 9113, 8.1.1), and what the peer does wrong costs it the stream.
import {
  h2Error,
  type H2Stream,
  type HeaderList,
  type StreamFailure,
  type StreamSink,
} from '#/tunnel/index.ts';
import type { ExchangeFailure, MessageReceiver } from '../exchange.ts';
import type { HeaderMap } from '../header-map.ts';
import { failureOfStream } from './failure.ts';
import { readTrailers, trailerHeaders } from './message-headers.ts';

/** The length of a body that may have any. */
export const anyLength = -1;

export abstract class MessageStream implements StreamSink {
  protected readonly stream: H2Stream;
  readonly #maxTrailers: number;
  /** Bytes of the body that are still to come. */
  protected left: number = anyLength;
  #trailers: HeaderMap | undefined;
  /** The other side's message is complete. */
  protected complete = false;
  /** Nothing more is told, and nothing is sent. */
  protected over = false;

  constructor(stream: H2Stream, maxTrailers: number) {
    this.stream = stream;
    this.#maxTrailers = maxTrailers;
  }

  /** Who is told; nobody once that makes no sense any more. */
  protected abstract listener(): MessageReceiver | undefined;
  /** The other side's message is complete, and its receiver knows. */
  protected abstract onComplete(): void;
  protected abstract onFailed(failure: ExchangeFailure): void;

  consumed(bytes: number): void {
    this.stream.consumed(bytes);
  }

  /** The peer's message is not what it says. */
  protected broken(reason: string): void {
    this.stream.session.fault(this.stream, h2Error.protocolError, reason);
  }

  data(chunk: Buffer): void {
    if (this.left !== anyLength) {
      this.left -= chunk.length;
      if (this.left < 0) {
        this.stream.consumed(chunk.length);
        this.broken('more data than content-length says');
        return;
      }
    }
    const listener = this.listener();
    if (listener === undefined) this.stream.consumed(chunk.length);
    else listener.data(chunk);
  }

  trailers(headers: HeaderList): void {
    this.#trailers = readTrailers(headers, this.#maxTrailers);
    if (this.#trailers === undefined) this.broken(`${headers.length} trailers`);
  }

  ended(): void {
    if (this.over || this.complete) return;
    if (this.left > 0) {
      this.broken('less data than content-length says');
      return;
    }
    this.complete = true;
    const trailers = this.#trailers;
    this.listener()?.end(trailers === undefined || trailers.size === 0 ? undefined : trailers);
    this.onComplete();
  }

  writable(): void {
    this.listener()?.writable();
  }

  closed(reason?: StreamFailure): void {
    if (this.over) return;
    this.over = true;
    if (reason !== undefined) this.onFailed(failureOfStream(reason));
  }

  /** Lays the end of our message. */
  protected finish(trailers: HeaderMap | undefined): void {
    this.stream.end(trailerHeaders(trailers));
  }

  /** Ends the exchange without telling our side. */
  protected abandon(code: number): void {
    if (this.over) return;
    this.over = true;
    this.stream.reset(code);
  }
}
