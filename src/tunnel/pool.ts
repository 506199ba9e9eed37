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
  readonly connection: H2Connection;
  lastUsed: number;
}

export class SessionPool {
  readonly #options: PoolOptions;
  readonly #byKey = new Map<string, Pooled[]>();
  readonly #opening = new SingleFlight<string, void>();
  #sessions = 0;
  #closed = false;

  constructor(options: PoolOptions = defaultPoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions;
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
      if (this.#sessions >= this.#options.maxSessions) {
        throw new MeshError('OVER_LIMIT', `too many tunnels: ${this.#sessions} from this pod`);
      }
      await this.#opening.do(key, async () => {
        const connection = await open();
        if (this.#closed) {
          connection.destroy('the pod is gone');
          throw new MeshError('DRAINED');
        }
        this.#add(key, connection);
      });
    }
  }

  #add(key: string, connection: H2Connection): void {
    const list = this.#byKey.get(key) ?? [];
    list.push({ connection, lastUsed: this.#options.now() });
    this.#byKey.set(key, list);
    this.#sessions++;
  }

  /** Forgets a session that has ended or takes no more streams. */
  remove(connection: H2Connection): void {
    for (const [key, list] of this.#byKey) {
      const at = list.findIndex((pooled) => pooled.connection === connection);
      if (at < 0) continue;
      list.splice(at, 1);
      this.#sessions--;
      if (list.length === 0) this.#byKey.delete(key);
      return;
    }
  }

  /** Once per PING interval: asks every peer for a sign of life and ends what has been idle for long. */
  tick(): void {
    const idleSince = this.#options.now() - this.#options.idleMs;
    for (const { connection, lastUsed } of this.#all()) {
      if (lastUsed < idleSince && connection.session.streams.size === 0) connection.session.drain();
      else connection.checkAlive(missedPings);
    }
  }

  /** Ends the sessions whose peer certificate, identity or pod is no longer good. */
  destroyWhere(test: (connection: H2Connection) => boolean, message: string): void {
    for (const { connection } of this.#all()) if (test(connection)) connection.destroy(message);
  }

  /** Takes no more requests; open streams may finish. */
  drain(): void {
    this.#closed = true;
    for (const { connection } of this.#all()) connection.session.drain();
  }

  destroy(message: string): void {
    this.#closed = true;
    this.destroyWhere(() => true, message);
  }

  /** A copy, since sessions leave the pool as they end. */
  #all(): Pooled[] {
    return [...this.#byKey.values()].flat();
  }
}
