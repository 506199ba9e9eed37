// HTTP connections to one endpoint in one protocol: found free, or opened, or waited for. What waits is bounded, and
// what nobody waits for any more is not opened.
import {
  h1Client,
  h2Client,
  type ByteChannel,
  type ClientConnection,
  type HttpLimits,
} from '#/http/index.ts';
import type { Clock } from '#/kit/index.ts';
import type { ChannelFailure } from './open-channel.ts';

export type UpstreamProtocol = 'http1' | 'http2';

export interface PoolFailure {
  readonly kind: ChannelFailure['kind'] | 'overflow';
  readonly message: string;
}

export type ConnectionOutcome = (connection: ClientConnection | undefined, failure?: PoolFailure) => void;

/** The limits of the destination that the endpoint belongs to. */
export interface PoolCircuit {
  admit(kind: 'connections' | 'pending'): boolean;
  release(kind: 'connections' | 'pending'): void;
}

/** What a DestinationRule says of each connection. Absent: no limit, no PINGs. */
export interface ConnectionTerms {
  readonly maxDurationMs?: number | undefined;
  /** HTTP/2: requests at a time, however many the endpoint allows. */
  readonly maxStreams?: number | undefined;
  /** HTTP/2. */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number } | undefined;
}

export interface HttpPoolOptions {
  readonly protocol: UpstreamProtocol;
  readonly limits: HttpLimits;
  readonly terms: ConnectionTerms;
  readonly clock: Clock;
  /** Opens a way to the endpoint. */
  readonly open: (
    timeoutMs: number,
    done: (channel: ByteChannel | undefined, failure?: ChannelFailure) => void,
  ) => Disposable;
  readonly circuit: PoolCircuit;
}

interface Waiter {
  readonly done: ConnectionOutcome;
  gone: boolean;
}

interface Held {
  readonly connection: ClientConnection;
  requests: number;
}

/** Requests that may wait for a connection to one endpoint, if nothing else is said (Envoy: unlimited). */
const maxPending = 4096;

export class HttpPool {
  readonly #options: HttpPoolOptions;
  /** HTTP/1.1: those without a request. HTTP/2: those with room. The one used last is taken first. */
  readonly #free: Held[] = [];
  readonly #held = new Set<Held>();
  #waiting: Waiter[] = [];
  #opening = 0;
  #closed = false;

  constructor(options: HttpPoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size + this.#opening;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Calls `done` once, on the spot if a connection is free; not after the result was disposed. */
  take(timeoutMs: number, maxRequests: number, done: ConnectionOutcome): Disposable | undefined {
    const free = this.#takeFree(maxRequests);
    if (free !== undefined) {
      done(free);
      return undefined;
    }
    if (this.#closed) {
      done(undefined, { kind: 'connect', message: 'the endpoint is gone' });
      return undefined;
    }
    const { circuit, protocol } = this.#options;
    // A new HTTP/2 connection takes many.
    const opens = (protocol === 'http1' || this.#opening === 0) && circuit.admit('connections');
    const waits = this.#waiting.length < maxPending && circuit.admit('pending');
    if (!waits || (!opens && this.size === 0)) {
      if (opens) circuit.release('connections');
      if (waits) circuit.release('pending');
      done(undefined, {
        kind: 'overflow',
        message: 'a limit of connections or of waiting requests is reached',
      });
      return undefined;
    }
    const waiter: Waiter = { done, gone: false };
    this.#waiting.push(waiter);
    if (opens) this.#open(timeoutMs, maxRequests);
    return {
      [Symbol.dispose]: () => {
        if (waiter.gone) return;
        waiter.gone = true;
        const at = this.#waiting.indexOf(waiter);
        if (at < 0) return;
        this.#waiting.splice(at, 1);
        circuit.release('pending');
      },
    };
  }

  #next(): Waiter | undefined {
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.#options.circuit.release('pending');
    return waiter;
  }

  #takeFree(most: number): ClientConnection | undefined {
    for (;;) {
      const held = this.#free.at(-1);
      if (held === undefined) return undefined;
      if (!this.#hasRoom(held) || (most > 0 && held.requests >= most)) {
        this.#free.pop();
        if (most > 0 && held.requests >= most) held.connection.drain();
        continue;
      }
      held.requests++;
      if (this.#options.protocol === 'http1') this.#free.pop();
      return held.connection;
    }
  }

  #hasRoom({ connection }: Held): boolean {
    const { maxStreams = 0 } = this.#options.terms;
    return connection.capacity > 0 && (maxStreams <= 0 || connection.openExchanges < maxStreams);
  }

  #open(timeoutMs: number, maxRequests: number): void {
    this.#opening++;
    this.#options.open(timeoutMs, (channel, failure) => {
      this.#opening--;
      if (channel === undefined) {
        this.#options.circuit.release('connections');
        this.#failed(failure ?? { kind: 'connect', message: 'no connection' });
        return;
      }
      if (this.#closed) {
        this.#options.circuit.release('connections');
        channel.reset(0x8);
        return;
      }
      this.#add(channel, timeoutMs, maxRequests);
    });
  }

  /** A connection has ended, in order or not: who waited for it gets one of its own, as far as the limits allow. */
  #refill(timeoutMs: number, maxRequests: number): void {
    const { circuit, protocol } = this.#options;
    const wanted = protocol === 'http1' ? this.#waiting.length : Math.min(1, this.#waiting.length);
    while (!this.#closed && this.#opening < wanted && circuit.admit('connections'))
      this.#open(timeoutMs, maxRequests);
  }

  #add(channel: ByteChannel, timeoutMs: number, maxRequests: number): void {
    const { protocol, limits: http, terms, clock, circuit } = this.#options;
    const make = protocol === 'http1' ? h1Client : h2Client;
    const connection: ClientConnection = make(
      channel,
      { limits: http, clock, ...(terms.keepalive === undefined ? {} : { keepalive: terms.keepalive }) },
      {
        available: () => this.#available(held, maxRequests),
        closed: (failure) => {
          if (!this.#held.delete(held)) return;
          circuit.release('connections');
          life?.[Symbol.dispose]();
          const at = this.#free.indexOf(held);
          if (at >= 0) this.#free.splice(at, 1);
          // One that never served is not worth another try at once.
          if (held.requests > 0) this.#refill(timeoutMs, maxRequests);
          if (this.size === 0)
            this.#failed({ kind: 'connect', message: failure?.message ?? 'the connection was closed' });
        },
      },
    );
    const held: Held = { connection, requests: 0 };
    const { maxDurationMs = 0 } = terms;
    const life = maxDurationMs > 0 ? clock.after(maxDurationMs, () => connection.drain()) : undefined;
    this.#held.add(held);
    if (connection.capacity > 0) this.#available(held, maxRequests);
  }

  #available(held: Held, maxRequests: number): void {
    if (!this.#held.has(held) || !this.#hasRoom(held)) return;
    if (!this.#free.includes(held)) this.#free.push(held);
    while (this.#waiting.length > 0) {
      const connection = this.#takeFree(maxRequests);
      if (connection === undefined) return;
      this.#next()?.done(connection);
      // Whoever was told may have had no use for it any more.
      if (connection === held.connection && this.#hasRoom(held) && !this.#free.includes(held))
        this.#free.push(held);
    }
  }

  /** The one that has waited longest is told; the others have openings of their own, or are told with it. */
  #failed(failure: PoolFailure, all = this.size === 0): void {
    const count = all ? this.#waiting.length : 1;
    const told: Waiter[] = [];
    for (let i = 0; i < count; i++) {
      const waiter = this.#next();
      if (waiter !== undefined) told.push(waiter);
    }
    for (const waiter of told) {
      waiter.gone = true;
      waiter.done(undefined, failure);
    }
  }

  /** The endpoint is gone: what is open may finish; who still waits for a connection is to look elsewhere. */
  drain(): void {
    this.#closed = true;
    for (const { connection } of this.#held) connection.drain();
    this.#failed({ kind: 'connect', message: 'the endpoint is gone' }, true);
  }

  destroy(): void {
    this.#closed = true;
    for (const { connection } of this.#held) connection.destroy();
    this.#failed({ kind: 'connect', message: 'the proxy is shutting down' }, true);
  }
}
