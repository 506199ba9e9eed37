// Unix sockets of type SEQPACKET: connections that keep the borders of messages and carry fds. Node has none.
// Knows nothing of what the messages say.
import { setTimeout as delay } from 'node:timers/promises';
import { maxFds, receiveDatagram, sendDatagram } from './datagram.ts';
import { lastErrno, libc } from './libc.ts';
import { EPOLLIN, EPOLLOUT, watch, type Watch } from './poller.ts';
import { SystemError, errnos } from './system-error.ts';
import { seqpacketSocket, unixAddress } from './unix-address.ts';

export interface Datagram {
  readonly bytes: Uint8Array;
  /** Owned by the receiver, close-on-exec. */
  readonly fds: readonly number[];
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface SeqpacketOptions {
  /** Bytes of the largest message, both ways. Default 1024. */
  readonly maxDatagram?: number | undefined;
}

export interface SeqpacketConnectOptions extends SeqpacketOptions {
  /** How long to wait for a listener whose queue is full. Default 5 000. */
  readonly timeoutMs?: number | undefined;
}

const queueLimit = 100;
const retryMs = 20;

interface Pending {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Reader {
  readonly resolve: (datagram: Datagram | undefined) => void;
  readonly reject: (error: Error) => void;
}

/** One end. While a receive or a send waits, it keeps the process alive. */
export class SeqpacketConnection implements Disposable {
  #fd: number;
  readonly #label: string;
  readonly #maxDatagram: number;
  readonly #onClose: (() => void) | undefined;
  readonly #watch: Watch;
  readonly #queue: Pending[] = [];
  #reader: Reader | undefined;

  /** Takes ownership of a connected, non-blocking fd. Others use `connect`, or a server's `onConnection`. */
  constructor(fd: number, label: string, options: SeqpacketOptions = {}, onClose?: () => void) {
    this.#fd = fd;
    this.#label = label;
    this.#maxDatagram = options.maxDatagram ?? 1024;
    this.#onClose = onClose;
    this.#watch = watch(fd, () => this.#ready());
  }

  /** Rejects with SystemError: ENOENT or ECONNREFUSED where nobody listens, EAGAIN after `timeoutMs`. */
  static async connect(path: string, options: SeqpacketConnectOptions = {}): Promise<SeqpacketConnection> {
    const address = unixAddress(path);
    const fd = seqpacketSocket();
    const deadline = performance.now() + (options.timeoutMs ?? 5000);
    for (;;) {
      if (libc.connect(fd, address, address.length) === 0) return new SeqpacketConnection(fd, path, options);
      const errno = lastErrno();
      // The listener's queue is full. The kernel does not tell when it no longer is.
      if (errno === errnos.EINTR || (errno === errnos.EAGAIN && performance.now() < deadline)) {
        await delay(retryMs);
        continue;
      }
      libc.close(fd);
      throw new SystemError('connect', errno, path);
    }
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** The process that connected or listens, as it was then (SO_PEERCRED). */
  peerCredentials(): PeerCredentials {
    const memory = new Int32Array(new ArrayBuffer(12));
    const length = new Int32Array(new ArrayBuffer(4));
    length[0] = 12;
    if (libc.getsockopt(this.#fd, 1, 17, memory, length) !== 0)
      throw new SystemError('getsockopt', lastErrno(), `SO_PEERCRED of ${this.#label}`);
    return { pid: memory[0] as number, uid: memory[1] as number, gid: memory[2] as number };
  }

  /**
   * Resolves when the kernel has taken the message; `fds` must stay open until then, and remain the caller's.
   * Messages keep their order. Rejects if it is empty (the peer would take it for the end), larger than
   * `maxDatagram`, carries more than 16 fds, the peer is gone (EPIPE), or 100 messages wait already.
   */
  async send(bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
    if (this.closed) throw new Error(`send on ${this.#label}: the connection is closed`);
    if (bytes.length === 0 || bytes.length > this.#maxDatagram)
      throw new RangeError(
        `send on ${this.#label}: ${bytes.length} bytes; a message has 1–${this.#maxDatagram}`,
      );
    if (fds.length > maxFds)
      throw new RangeError(`send on ${this.#label}: ${fds.length} fds; a message carries ${maxFds}`);
    if (this.#queue.length === 0) {
      const errno = sendDatagram(this.#fd, bytes, fds);
      if (errno === 0) return;
      if (errno !== errnos.EAGAIN) throw new SystemError('sendmsg', errno, `on ${this.#label}`);
    }
    if (this.#queue.length >= queueLimit)
      throw new Error(`send on ${this.#label}: ${queueLimit} messages wait; the peer does not read`);
    await new Promise<void>((resolve, reject) => {
      // A copy, since the caller may use its buffer again; Buffer's own slice would not be one.
      this.#queue.push({ bytes: new Uint8Array(bytes), fds, resolve, reject });
      this.#update();
    });
  }

  /**
   * The next message; undefined when either side has closed. One call at a time. Rejects for a message that
   * is too long or has too many fds; its fds are closed, and the connection can go on.
   */
  receive(): Promise<Datagram | undefined> {
    if (this.#reader !== undefined)
      return Promise.reject(new Error(`receive on ${this.#label}: another receive waits`));
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
      this.#read();
      this.#update();
    });
  }

  /** A waiting receive resolves with undefined, waiting sends are rejected. May be called again. */
  close(): void {
    if (this.closed) return;
    this.#watch.update(0);
    const fd = this.#fd;
    this.#fd = -1;
    libc.close(fd);
    for (const pending of this.#queue.splice(0))
      pending.reject(new Error(`send on ${this.#label}: the connection was closed`));
    this.#settle()?.resolve(undefined);
    this.#onClose?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #update(): void {
    if (this.closed) return;
    this.#watch.update(
      (this.#reader === undefined ? 0 : EPOLLIN) | (this.#queue.length === 0 ? 0 : EPOLLOUT),
    );
  }

  #ready(): void {
    this.#write();
    this.#read();
    this.#update();
  }

  #settle(): Reader | undefined {
    const reader = this.#reader;
    this.#reader = undefined;
    return reader;
  }

  #read(): void {
    if (this.#reader === undefined) return;
    if (this.closed) return this.#settle()?.resolve(undefined);
    let received = receiveDatagram(this.#fd, this.#maxDatagram);
    // The peer closed without reading all. Said once, and before what it had sent: that can still be read.
    if (received === errnos.ECONNRESET) received = receiveDatagram(this.#fd, this.#maxDatagram);
    if (received === errnos.EAGAIN || received === errnos.EINTR) return;
    if (typeof received === 'number')
      this.#settle()?.reject(new SystemError('recvmsg', received, `on ${this.#label}`));
    else if (received.truncated !== undefined)
      this.#settle()?.reject(
        new RangeError(
          received.truncated === 'data'
            ? `receive on ${this.#label}: a message of more than ${this.#maxDatagram} bytes was cut off`
            : `receive on ${this.#label}: a message with more than ${maxFds} fds was cut off`,
        ),
      );
    else if (received.bytes.length === 0 && received.fds.length === 0) this.#settle()?.resolve(undefined);
    else this.#settle()?.resolve({ bytes: received.bytes, fds: received.fds });
  }

  #write(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const errno = sendDatagram(this.#fd, next.bytes, next.fds);
      if (errno === errnos.EAGAIN) return;
      this.#queue.shift();
      if (errno === 0) next.resolve();
      else next.reject(new SystemError('sendmsg', errno, `on ${this.#label}`));
    }
  }
}
