// The listening side of SEQPACKET sockets: the socket file, and who may connect.
import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { SOCK_CLOEXEC, SOCK_NONBLOCK, lastErrno, libc } from './libc.ts';
import { EPOLLIN, watch, type Watch } from './poller.ts';
import { SeqpacketConnection, type SeqpacketOptions } from './seqpacket-connection.ts';
import { SystemError, errnos } from './system-error.ts';
import { seqpacketSocket, unixAddress } from './unix-address.ts';

export interface SeqpacketServerOptions extends SeqpacketOptions {
  readonly onConnection: (connection: SeqpacketConnection) => void;
  /** Of the socket file. Default 0o600. */
  readonly mode?: number | undefined;
  /** Open at a time; one more is closed at once. Default 100. */
  readonly maxConnections?: number | undefined;
  /** A connection was turned away, or could not be accepted (then tried again). */
  readonly onRefused?: ((error: Error) => void) | undefined;
}

const acceptPauseMs = 100;

/** Listens at a path. Owns the socket file: removed at close, unless somebody has put another in its place. */
export class SeqpacketServer implements Disposable {
  readonly path: string;
  readonly #options: SeqpacketServerOptions;
  readonly #fd: number;
  readonly #inode: bigint;
  readonly #watch: Watch;
  readonly #connections = new Set<SeqpacketConnection>();
  #pause: NodeJS.Timeout | undefined;
  #closed = false;

  /**
   * Listens at once. A socket file that nobody listens at is replaced; one with a living listener, or a file
   * of another kind, is an error.
   */
  constructor(path: string, options: SeqpacketServerOptions) {
    const address = unixAddress(path);
    this.path = path;
    this.#options = options;
    removeStale(path, address);
    const fd = seqpacketSocket();
    try {
      if (libc.bind(fd, address, address.length) !== 0) throw new SystemError('bind', lastErrno(), path);
      // Before listen nobody can connect, so there is no moment with wider rights.
      chmodSync(path, options.mode ?? 0o600);
      this.#inode = lstatSync(path, { bigint: true }).ino;
      if (libc.listen(fd, 128) !== 0) throw new SystemError('listen', lastErrno(), path);
      this.#fd = fd;
      this.#watch = watch(fd, () => this.#accept());
      this.#watch.update(EPOLLIN);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Stops listening, closes all connections, removes the file. May be called again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#pause);
    this.#watch.update(0);
    const own = lstatSync(this.path, { bigint: true, throwIfNoEntry: false })?.ino === this.#inode;
    if (own) unlinkSync(this.path);
    libc.close(this.#fd);
    for (const connection of this.#connections) connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #accept(): void {
    while (!this.#closed) {
      const fd = libc.accept4(this.#fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        const errno = lastErrno();
        if (errno === errnos.EAGAIN || errno === errnos.EINTR) return;
        this.#options.onRefused?.(new SystemError('accept4', errno, `at ${this.path}`));
        // EMFILE and the like: the listener stays ready, so look again only after a while.
        this.#watch.update(0);
        this.#pause = setTimeout(() => this.#watch.update(EPOLLIN), acceptPauseMs);
        return;
      }
      const limit = this.#options.maxConnections ?? 100;
      if (this.#connections.size >= limit) {
        libc.close(fd);
        this.#options.onRefused?.(new Error(`${this.path} has ${limit} connections already; one was closed`));
        continue;
      }
      const connection: SeqpacketConnection = new SeqpacketConnection(fd, this.path, this.#options, () =>
        this.#connections.delete(connection),
      );
      this.#connections.add(connection);
      this.#options.onConnection(connection);
    }
  }
}

function removeStale(path: string, address: Uint8Array): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new Error(`${path} is in the way: it exists and is not a socket`);
  const probe = seqpacketSocket();
  const connected = libc.connect(probe, address, address.length) === 0;
  const errno = connected ? 0 : lastErrno();
  libc.close(probe);
  // EPROTOTYPE and EAGAIN also tell of a listener that lives.
  if (errno !== errnos.ECONNREFUSED) throw new Error(`${path} is in use: another process listens there`);
  unlinkSync(path);
}
