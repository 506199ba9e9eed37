// The client's end of an HTTP/2 connection on a ByteChannel.
import type { SessionFailure } from '#/tunnel/index.ts';
import type { ByteChannel } from '../byte-channel.ts';
import type {
  ClientConnection,
  ClientExchange,
  ClientHandlers,
  RequestHead,
  ResponseReceiver,
} from '../exchange.ts';
import { ChannelSession } from './channel-session.ts';
import { H2ClientExchange } from './client-exchange.ts';
import { failureOfSession } from './failure.ts';
import { requestHeaders } from './message-headers.ts';
import { resolveOptions, type H2Options, type ResolvedOptions } from './options.ts';

/** Speaks HTTP/2 on the channel, which must be one to a server that is known to speak it. */
export function h2Client(
  channel: ByteChannel,
  options: H2Options,
  handlers: ClientHandlers,
): ClientConnection {
  return new H2ClientConnection(channel, resolveOptions('client', options), handlers);
}

class H2ClientConnection implements ClientConnection {
  readonly #transport: ChannelSession;
  readonly #options: ResolvedOptions;

  constructor(channel: ByteChannel, options: ResolvedOptions, handlers: ClientHandlers) {
    this.#options = options;
    this.#transport = new ChannelSession('client', channel, options, {
      streamEnded: () => {
        if (this.capacity > 0) handlers.available();
      },
      closed: (failure: SessionFailure | undefined) =>
        handlers.closed(failure === undefined ? undefined : failureOfSession(failure)),
    });
  }

  /** None before the server's settings are here, which say how many, and whether an extended CONNECT may be sent. */
  get capacity(): number {
    const { session } = this.#transport;
    return session.settingsSeen ? session.freeStreams : 0;
  }

  get openExchanges(): number {
    return this.#transport.session.streams.size;
  }

  request(head: RequestHead, ended: boolean, receiver: ResponseReceiver): ClientExchange {
    const { session } = this.#transport;
    const impossible = head.upgrade !== undefined && !session.peerConnectProtocol;
    const stream = impossible
      ? session.refused('the server takes no extended CONNECT')
      : session.request(requestHeaders(head, ended), ended && head.upgrade === undefined);
    const exchange = new H2ClientExchange(stream, head, receiver, this.#options.limits);
    stream.sink = exchange;
    return exchange;
  }

  drain(): void {
    this.#transport.session.drain();
  }

  destroy(): void {
    this.#transport.destroy('the client ends the connection');
  }
}
