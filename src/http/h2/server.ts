// The server's end of an HTTP/2 connection on a ByteChannel.
import { h2Error, type H2Stream, type HeaderList, type SessionFailure } from '#/tunnel/index.ts';
import type { ByteChannel } from '../byte-channel.ts';
import type { ServerConnection, ServerHandlers } from '../exchange.ts';
import { ChannelSession } from './channel-session.ts';
import { failureOfSession } from './failure.ts';
import { resolveOptions, type H2Options, type ResolvedOptions } from './options.ts';
import { readRequest, requestLine } from './request-head.ts';
import { H2ServerExchange } from './server-exchange.ts';

/** A client that does not answer the PING behind the warning is told the last stream after this time. */
const warningMs = 1000;

/** Speaks HTTP/2 on the channel, from the client's preface on. */
export function h2Server(
  channel: ByteChannel,
  options: H2Options,
  handlers: ServerHandlers,
): ServerConnection {
  return new H2ServerConnection(channel, resolveOptions('server', options), handlers);
}

class H2ServerConnection implements ServerConnection {
  readonly #transport: ChannelSession;
  readonly #options: ResolvedOptions;
  readonly #handlers: ServerHandlers;
  #warning: Disposable | undefined;

  constructor(channel: ByteChannel, options: ResolvedOptions, handlers: ServerHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#transport = new ChannelSession('server', channel, options, {
      request: (stream, headers, ended) => this.#onRequest(stream, headers, ended),
      malformed: (reason, headers) => this.#tellRefused(undefined, reason, headers),
      tooLarge: (stream, headers) => this.#answer(stream, 431, 'a header list over the limit', headers),
      alive: () => {
        if (this.#warning !== undefined) this.#endDrain();
      },
      closed: (failure) => this.#onClosed(failure),
    });
  }

  get openExchanges(): number {
    return this.#transport.session.streams.size;
  }

  #onRequest(stream: H2Stream, headers: HeaderList, ended: boolean): void {
    const { limits, pathNormalization } = this.#options;
    const { head, status, reason } = readRequest(headers, ended, limits.maxHeaders, pathNormalization);
    if (head !== undefined) {
      const exchange = new H2ServerExchange(stream, head, ended, limits.maxTrailers);
      stream.sink = exchange;
      this.#handlers.request(exchange);
    } else if (status === undefined) {
      this.#tellRefused(undefined, reason, headers);
      stream.session.fault(stream, h2Error.protocolError, reason);
    } else {
      this.#answer(stream, status, reason, headers);
      stream.reset(h2Error.noError);
    }
  }

  #answer(stream: H2Stream, status: number, reason: string, headers: HeaderList): void {
    this.#tellRefused(status, reason, headers);
    stream.respond(
      [
        [':status', String(status)],
        ['content-length', '0'],
      ],
      true,
    );
  }

  #tellRefused(status: number | undefined, reason: string, headers: HeaderList): void {
    this.#handlers.refused({ status, reason, line: requestLine(headers) });
  }

  #onClosed(failure: SessionFailure | undefined): void {
    this.#warning?.[Symbol.dispose]();
    this.#warning = undefined;
    if (failure !== undefined && failureOfSession(failure).kind === 'protocol')
      this.#handlers.refused({ status: undefined, reason: failure.message, line: undefined });
    this.#handlers.closed();
  }

  /** Warns first, so that requests that are on their way are served and not sent again (RFC 9113, 6.8). */
  drain(): void {
    const { session } = this.#transport;
    if (session.closed || session.goingAway || this.#warning !== undefined) return;
    this.#warning = this.#options.clock.after(warningMs, () => this.#endDrain());
    session.announceDrain();
  }

  #endDrain(): void {
    this.#warning?.[Symbol.dispose]();
    this.#warning = undefined;
    this.#transport.session.drain();
  }

  destroy(): void {
    this.#transport.destroy('the server ends the connection');
  }
}
