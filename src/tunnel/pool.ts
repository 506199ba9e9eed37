// The HBONE sessions of one pod to its peers. A session is shared by connections that agree in source identity,
// expected identities, next hop and source address; the first of many at once opens it and the others wait.
import { SingleFlight } from '#/kit/index.ts';
import { MeshError } from '#/errors/index.ts';
import { missedPings } from './hbone.ts';
import type { H2Connection } from './h2/connection.ts';

export interface PoolOptions {
  /** POOL_MAX_STREAMS_PER_CONNECTION. */
  readonly maxStreams: number;
  /** POOL_UNUSED_RELEASE_TIMEOUT, milliseconds. */
  readonly idleMs: number;
  /** Sessions that the pool may hold; one more is refused. */
  readonly maxSessions: number;
  readonly now: () => number;
}

export const defaultPoolOptions: PoolOptions = {
  maxStreams: 100,
  idleMs: 300_000,
  maxSessions: 4096,
  now: Date.now,
};

interface Pooled {
  readonly key: string;
  readonly connection: H2Connection;
  lastUsed: number;
}

export class SessionPool {
  readonly #options: PoolOptions;
  /** Every session that has not ended, those that only finish their streams among them. */
  readonly #all = new Map<H2Connection, Pooled>();
  /** Those that take new streams. */
  readonly #byKey = new Map<string, Pooled[]>();
  readonly #opening = new SingleFlight<string, void>();
  #closed = false;

  /** POOL_UNUSED_RELEASE_TIMEOUT from now on; undefined: as at the start. */
  idleMs: number | undefined;

  constructor(options: PoolOptions = defaultPoolOptions) {
    this.#options = options;
  }

  /** Sessions that have not ended. */
  get size(): number {
    return this.#all.size;
  }

  /** A session with a free stream, if one is open. */
  take(key: string): H2Connection | undefined {
    const list = this.#byKey.get(key);
    if (list === undefined) return undefined;
    for (const pooled of list) {
      const { session } = pooled.connection;
      if (session.freeStreams > 0 && session.streams.size < this.#options.maxStreams) {
        pooled.lastUsed = this.#options.now();
        return pooled.connection;
      }
    }
    return undefined;
  }

  /**
   * Calls `use` with a session that has a free stream, opened if need be. `use` opens its stream before it
   * returns, so that no two callers count on the same place. Rejects if no session can be had.
   */
  async checkout(
    key: string,
    open: () => Promise<H2Connection>,
    use: (connection: H2Connection) => void,
  ): Promise<void> {
    for (;;) {
      if (this.#closed) throw new MeshError('DRAINED');
      const free = this.take(key);
      if (free !== undefined) {
        use(free);
        return;
      }
      await this.#opening.do(key, () => this.#open(key, open));
    }
  }

  async #open(key: string, open: () => Promise<H2Connection>): Promise<void> {
    // This flight is counted only after its first step.
    const sessions = this.#all.size + this.#opening.size;
    if (sessions >= this.#options.maxSessions)
      throw new MeshError('OVER_LIMIT', `too many tunnels: ${sessions} from this pod`);
    const connection = await open();
    if (this.#closed) {
      connection.destroy('the pod is gone');
      throw new MeshError('DRAINED');
    }
    // Such a session would be opened again and again: whoever waits is told instead.
    if (connection.session.freeStreams === 0) {
      connection.destroy('no stream can be opened');
      throw new MeshError('H2_FAILED', 'http2: the peer ended the new session, or allows no streams on it');
    }
    const pooled = { key, connection, lastUsed: this.#options.now() };
    this.#all.set(connection, pooled);
    const list = this.#byKey.get(key);
    if (list === undefined) this.#byKey.set(key, [pooled]);
    else list.push(pooled);
  }

  /**
   * A session that has ended is forgotten; one that takes no more streams gets none, but stays under watch until
   * it has ended.
   */
  remove(connection: H2Connection): void {
    const pooled = this.#all.get(connection);
    if (pooled === undefined) return;
    if (connection.session.closed) this.#all.delete(connection);
    const list = this.#byKey.get(pooled.key);
    const at = list?.indexOf(pooled) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.#byKey.delete(pooled.key);
  }

  /** Once per PING interval: asks every peer for a sign of life and ends what has been idle for long. */
  tick(): void {
    const idleSince = this.#options.now() - (this.idleMs ?? this.#options.idleMs);
    for (const { connection, lastUsed } of this.#all.values()) {
      // One that is closing may still have bytes to write; it is forgotten when its transport is gone.
      if (connection.session.closed && connection.transport.destroyed) this.remove(connection);
      else if (lastUsed < idleSince && connection.session.streams.size === 0) connection.session.drain();
      else connection.checkAlive(missedPings);
    }
  }

  /** Ends the sessions whose peer certificate, identity or pod is no longer good. */
  destroyWhere(test: (connection: H2Connection) => boolean, message: string): void {
    for (const connection of this.#all.keys()) if (test(connection)) connection.destroy(message);
  }

  /** Takes no more requests; open streams may finish. */
  drain(): void {
    this.#closed = true;
    for (const connection of this.#all.keys()) connection.session.drain();
  }

  destroy(message: string): void {
    this.#closed = true;
    this.destroyWhere(() => true, message);
  }
}
