// gRPC channels to external services: one for each address, shared by everyone who asks there.
import {
  Client,
  credentials,
  Metadata,
  status,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import { Lru } from '#/kit/index.ts';
import type { ProviderAddress } from '#/model/index.ts';
import type { MessageCodec, ServiceMethod } from '#/wire/index.ts';
import { CallFailure } from './call-failure.ts';
import { addressText } from './header-edits.ts';

export interface ExternalChannelOptions {
  /** Where a provider is: a target of gRPC. Default: its name, by DNS. */
  readonly target?: (address: ProviderAddress) => string;
  /** Calls and streams under way at one address. Default 1024. */
  readonly maxInFlight?: number;
  /** Channels that are kept. Default 64. */
  readonly maxChannels?: number;
}

const mebibyte = 1024 * 1024;

const channelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc.max_receive_message_length': 16 * mebibyte,
  // The caller's deadline is for one try.
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

interface Channel {
  readonly client: Client;
  inFlight: number;
  /** In a row. */
  timeouts: number;
}

/**
 * A host that has fallen silent would hold every later call as well. Pings could tell, but servers of other languages
 * end connections on which they come often; so the connection is given up after this many timeouts in a row.
 */
const silentAfter = 3;

const encoding =
  <Init>(codec: MessageCodec<Init, unknown>) =>
  (init: Init): Buffer =>
    Buffer.from(codec.encode(init));

export class ExternalChannels implements Disposable {
  readonly #options: ExternalChannelOptions;
  readonly #channels: Lru<string, Channel>;

  constructor(options: ExternalChannelOptions = {}) {
    this.#options = options;
    this.#channels = new Lru(options.maxChannels ?? 64, (_, { client }) => client.close());
  }

  /** Rejects with CallFailure. */
  unary<RequestInit, Request, ResponseInit, Response>(
    address: ProviderAddress,
    method: ServiceMethod<RequestInit, Request, ResponseInit, Response>,
    request: RequestInit,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const channel = this.#take(address);
      const onAbort = (): void => call.cancel();
      const call = channel.client.makeUnaryRequest(
        method.path,
        encoding(method.request),
        (bytes: Buffer) => method.response.decode(bytes),
        request,
        new Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          channel.inFlight--;
          signal?.removeEventListener('abort', onAbort);
          if (error?.code === status.DEADLINE_EXCEEDED) this.#timedOut(address, channel);
          else if (error?.code !== status.CANCELLED) channel.timeouts = 0;
          if (error === null && response !== undefined) resolve(response);
          else reject(failureOf(address, error));
        },
      );
      if (signal?.aborted === true) call.cancel();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Throws CallFailure if there are too many under way. Without a deadline: the caller has one for each message. */
  stream<RequestInit, Request, ResponseInit, Response>(
    address: ProviderAddress,
    method: ServiceMethod<RequestInit, Request, ResponseInit, Response>,
  ): ClientDuplexStream<RequestInit, Response> {
    const channel = this.#take(address);
    const stream = channel.client.makeBidiStreamRequest(
      method.path,
      encoding(method.request),
      (bytes: Buffer) => method.response.decode(bytes),
      new Metadata(),
    );
    stream.once('status', () => channel.inFlight--);
    stream.once('data', () => {
      channel.timeouts = 0;
    });
    return stream;
  }

  /** For streams: a message was not answered in time. */
  timedOut(address: ProviderAddress): void {
    const channel = this.#channels.peek(addressText(address));
    if (channel !== undefined) this.#timedOut(address, channel);
  }

  /** Calls and streams under way. */
  inFlight(address: ProviderAddress): number {
    return this.#channels.peek(addressText(address))?.inFlight ?? 0;
  }

  [Symbol.dispose](): void {
    for (const key of this.#channels.keys()) {
      this.#channels.peek(key)?.client.close();
      this.#channels.delete(key);
    }
  }

  #timedOut(address: ProviderAddress, channel: Channel): void {
    const key = addressText(address);
    if (++channel.timeouts < silentAfter || this.#channels.peek(key) !== channel) return;
    this.#channels.delete(key);
    channel.client.close();
  }

  #take(address: ProviderAddress): Channel {
    const key = addressText(address);
    let channel = this.#channels.get(key);
    if (channel === undefined) {
      const target = this.#options.target?.(address) ?? `dns:${key}`;
      channel = {
        client: new Client(target, credentials.createInsecure(), channelOptions),
        inFlight: 0,
        timeouts: 0,
      };
      this.#channels.set(key, channel);
    }
    const limit = this.#options.maxInFlight ?? 1024;
    if (channel.inFlight >= limit)
      throw new CallFailure('overloaded', `${key}: ${limit} calls are under way already`);
    channel.inFlight++;
    return channel;
  }
}

/** What a call ended with, in our words. */
export function failureOf(address: ProviderAddress, error: ServiceError | null): CallFailure {
  const where = addressText(address);
  if (error === null) return new CallFailure('protocol', `${where}: no answer`);
  const kind =
    error.code === status.DEADLINE_EXCEEDED
      ? 'timeout'
      : error.code === status.UNAVAILABLE
        ? 'unreachable'
        : error.code === status.CANCELLED
          ? 'cancelled'
          : 'protocol';
  return new CallFailure(kind, `${where}: ${status[error.code] ?? error.code}: ${error.details}`, {
    cause: error,
  });
}
