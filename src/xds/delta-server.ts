// The server of delta xDS: who may connect, who is connected, when to push. What goes out to one client is decided in
// server-connection.ts.
import type { Server, ServerOptions } from '@grpc/grpc-js';
import { callFacts, grpcError, RpcError, type CallFacts } from '#/identity/index.ts';
import { errorText } from '#/errors/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { deltaMethodPath, type Node } from '#/wire/index.ts';
import { Debouncer, type DebounceOptions } from './debouncer.ts';
import type { ResourceSource } from './resource-source.ts';
import {
  ServerConnection,
  type AskedNames,
  type ConnectionHost,
  type ConnectionStatus,
} from './server-connection.ts';
import type { DeltaCall } from './server-stream.ts';
import { TypeFeed, type Batch } from './type-feed.ts';
import { WriteBudget } from './write-budget.ts';

const mebibyte = 1024 * 1024;

export interface DeltaServerOptions<Caller> {
  /** Who calls. Throw RpcError('UNAUTHENTICATED', …) to refuse. */
  authenticate(call: CallFacts): Promise<Caller>;
  /** May this caller be this node? Throw RpcError('PERMISSION_DENIED', …) to refuse. */
  checkNode?(caller: Caller, node: Node): void;
  /** May this caller have what it asks for? Throw RpcError('PERMISSION_DENIED', …) to refuse. */
  checkNames?(caller: Caller, typeUrl: string, names: AskedNames): void;
  /** By type URL. The order is the order of the types within one push. */
  readonly sources: ReadonlyMap<string, ResourceSource>;
  /** Groups whose members an on-demand client of this node gets without asking. */
  implicitGroups?(typeUrl: string, node: Node): readonly string[];
  /** ControlPlane.identifier in responses. */
  readonly identifier?: string;
  /** How long a burst of changes is gathered. Default 100 ms of quiet, 10 s at most. */
  readonly debounce?: DebounceOptions;
  /** More are refused with RESOURCE_EXHAUSTED. Default 10 000. */
  readonly maxConnections?: number;
  /** Bytes on their way to all clients together. Default 128 MiB. */
  readonly maxUnsentBytes?: number;
  /** A client that takes longer to read one push is cut off. Default 60 s. */
  readonly writeTimeoutMs?: number;
  /** Changed names kept for the slowest client; one further behind must connect again. Default 500 000. */
  readonly maxLoggedNames?: number;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface TypePushStats {
  pushes: number;
  resources: number;
  removed: number;
  bytes: number;
  nacks: number;
}

export class DeltaServer<Caller> implements Disposable {
  readonly #options: DeltaServerOptions<Caller>;
  readonly #feeds = new Map<string, TypeFeed>();
  readonly #connections = new Map<number, ServerConnection>();
  readonly #stats = new Map<string, TypePushStats>();
  readonly #debouncer: Debouncer;
  readonly #host: ConnectionHost;
  /** Streams that are being authenticated. */
  #arriving = 0;
  #lastId = 0;
  #closed = false;

  constructor(options: DeltaServerOptions<Caller>) {
    this.#options = options;
    const clock = options.clock ?? systemClock;
    this.#debouncer = new Debouncer(options.debounce ?? { afterMs: 100, maxMs: 10_000 }, clock, () =>
      this.#push(),
    );
    const instance = crypto.randomUUID();
    let responses = 0;
    const feedOptions = {
      clock,
      identifier: options.identifier ?? 'aura',
      nonce: () => `${++responses}/${instance}`,
      maxLoggedNames: options.maxLoggedNames ?? 500_000,
    };
    for (const [typeUrl, source] of options.sources) {
      this.#feeds.set(typeUrl, new TypeFeed(typeUrl, source, feedOptions, () => this.#debouncer.touch()));
      this.#stats.set(typeUrl, { pushes: 0, resources: 0, removed: 0, bytes: 0, nacks: 0 });
    }
    this.#host = {
      feeds: this.#feeds,
      budget: new WriteBudget(options.maxUnsentBytes ?? 128 * mebibyte),
      writeTimeoutMs: options.writeTimeoutMs ?? 60_000,
      clock,
      log: options.log,
      implicitGroups: (typeUrl, node) => options.implicitGroups?.(typeUrl, node) ?? [],
      onSent: (typeUrl, batch) => this.#count(typeUrl, batch),
      onNack: (_connection, typeUrl) => {
        const stats = this.#stats.get(typeUrl);
        if (stats !== undefined) stats.nacks++;
      },
    };
  }

  /** Adds the service to a gRPC server that is not started yet. */
  addTo(server: Server): void {
    const bytes = (message: Buffer): Buffer => message;
    server.addService(
      {
        deltaAggregatedResources: {
          path: deltaMethodPath,
          requestStream: true,
          responseStream: true,
          requestSerialize: bytes,
          requestDeserialize: bytes,
          responseSerialize: bytes,
          responseDeserialize: bytes,
        },
      },
      { deltaAggregatedResources: (call: DeltaCall) => void this.#accept(call) },
    );
  }

  /** Every connection, oldest first. */
  status(): readonly ConnectionStatus[] {
    return [...this.#connections.values()].map((connection) => connection.status());
  }

  /** By type URL. */
  get stats(): ReadonlyMap<string, Readonly<TypePushStats>> {
    return this.#stats;
  }

  /** Pushes now what the debounce still holds back. */
  flush(): void {
    this.#debouncer.flush();
  }

  /** Ends every stream with UNAVAILABLE, and takes no more. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#debouncer[Symbol.dispose]();
    for (const feed of this.#feeds.values()) feed[Symbol.dispose]();
    for (const connection of this.#connections.values()) connection.end(shuttingDown());
  }

  async #accept(call: DeltaCall): Promise<void> {
    const { maxConnections = 10_000 } = this.#options;
    const fail = (error: unknown): void => {
      if (!(error instanceof RpcError))
        this.#options.log.error('xds stream refused', { peer: call.getPeer(), error: errorText(error) });
      call.emit('error', grpcError(error));
    };
    // Without a listener, an error before the stream is open would end the process.
    call.on('error', () => {});
    if (this.#closed) return fail(shuttingDown());
    if (this.#connections.size + this.#arriving >= maxConnections)
      return fail(new RpcError('RESOURCE_EXHAUSTED', `more than ${maxConnections} connections`));
    let caller: Caller;
    this.#arriving++;
    try {
      caller = await this.#options.authenticate(callFacts(call));
    } catch (error) {
      return fail(error);
    } finally {
      this.#arriving--;
    }
    if (call.cancelled) return;
    if (this.#closed) return fail(shuttingDown());
    const id = ++this.#lastId;
    const { checkNode, checkNames } = this.#options;
    const connection = new ServerConnection(id, call, this.#host, {
      node: (node) => checkNode?.(caller, node),
      names: (typeUrl, names) => checkNames?.(caller, typeUrl, names),
    });
    this.#connections.set(id, connection);
    connection.open(() => this.#connections.delete(id));
  }

  #push(): void {
    for (const feed of this.#feeds.values()) feed.commit();
    for (const connection of this.#connections.values()) connection.pump();
    for (const [typeUrl, feed] of this.#feeds) {
      let slowest = feed.log.head;
      for (const connection of this.#connections.values())
        slowest = Math.min(slowest, connection.place(typeUrl) ?? slowest);
      feed.log.trim(slowest);
    }
  }

  #count(typeUrl: string, batch: Batch): void {
    const stats = this.#stats.get(typeUrl);
    if (stats === undefined) return;
    stats.pushes++;
    stats.resources += batch.resources;
    stats.removed += batch.removed;
    stats.bytes += batch.bytes.length;
  }
}

const shuttingDown = (): RpcError => new RpcError('UNAVAILABLE', 'the control plane is shutting down');

/** Options for `new grpc.Server(…)`. `maxConnectionAgeMs`: default 30 min, with the jitter of grpc-js. */
export function xdsServerOptions(
  o: { readonly maxReceiveBytes?: number; readonly maxConnectionAgeMs?: number } = {},
): ServerOptions {
  return {
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_connection_age_ms': o.maxConnectionAgeMs ?? 30 * 60_000,
    'grpc.max_connection_age_grace_ms': 10_000,
    'grpc.max_concurrent_streams': 100_000,
    'grpc.max_receive_message_length': o.maxReceiveBytes ?? 4 * mebibyte,
    'grpc.max_send_message_length': -1,
  };
}
