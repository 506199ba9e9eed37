// One ztunnel on the ZDS socket: its greeting, then strictly one request, one acknowledgement. What arrives unasked,
// late or garbled ends this connection, and only this one.
import { errorText } from '#/errors/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Netns, SeqpacketConnection } from '#/sys/index.ts';
import { decodeAck, decodeHello, encodeWorkloadRequest, type WorkloadRequest } from '#/wire/index.ts';

export const zdsDeadlineMs = 5000;
export const zdsQueueLimit = 100;

/** `refused`: ztunnel answered, and said no. Every other kind means that it did not get, or not answer, the request. */
export class ZdsError extends Error {
  readonly kind: 'no-ztunnel' | 'refused' | 'lost';

  constructor(kind: ZdsError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ZdsError';
    this.kind = kind;
  }
}

export interface ZdsConnectionDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly closeFd: (fd: number) => void;
}

interface Queued {
  readonly request: WorkloadRequest;
  /** An fd of its own, closed when the request is done with. */
  readonly netns: Netns | undefined;
  readonly resolve: () => void;
  readonly reject: (error: ZdsError) => void;
}

interface Waiting {
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

export class ZdsConnection {
  readonly id: number;
  readonly #socket: SeqpacketConnection;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #closeFd: (fd: number) => void;
  readonly #snapshot: Queued[] = [];
  readonly #changes: Queued[] = [];
  readonly #closed = Promise.withResolvers<void>();
  #waiting: Waiting | undefined;
  #running = false;
  #greeted = false;
  #snapshotSent = false;
  #reason: string | undefined;

  constructor(id: number, socket: SeqpacketConnection, deps: ZdsConnectionDeps) {
    this.id = id;
    this.#socket = socket;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#closeFd = deps.closeFd;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get open(): boolean {
    return this.#reason === undefined;
  }

  /** Starts to read. Resolves when the peer has greeted as a ztunnel does; closes and rejects if it does not. */
  async greet(): Promise<void> {
    const hello = this.#answer('greeting');
    void this.#read();
    try {
      decodeHello(await hello);
      this.#greeted = true;
    } catch (error) {
      const reason = `not a ztunnel: ${errorText(error)}`;
      this.close(reason);
      throw new ZdsError('lost', reason);
    }
  }

  /**
   * Queues a request; resolves when ztunnel has acknowledged it. Takes ownership of `netns`. Rejects with ZdsError
   * if it is refused, if the connection ends before the answer, or if 100 requests wait already. Changes wait until
   * `snapshotDone`.
   */
  request(request: WorkloadRequest, netns?: Netns, part: 'snapshot' | 'change' = 'change'): Promise<void> {
    return new Promise((resolve, reject) => {
      const refuse = (reason: string) => {
        netns?.[Symbol.dispose]();
        reject(new ZdsError('lost', reason));
      };
      if (this.#reason !== undefined) return refuse(`the connection to ztunnel ended: ${this.#reason}`);
      const queue = part === 'snapshot' ? this.#snapshot : this.#changes;
      if (queue.length >= zdsQueueLimit) return refuse(`${zdsQueueLimit} requests to ztunnel wait already`);
      queue.push({ request, netns, resolve, reject });
      void this.#work();
    });
  }

  /** The snapshot is out: changes may follow. */
  snapshotDone(): void {
    this.#snapshotSent = true;
    void this.#work();
  }

  close(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#socket.close();
    const lost = new ZdsError('lost', `the connection to ztunnel ended: ${reason}`);
    this.#waiting?.reject(lost);
    for (const queued of [...this.#snapshot.splice(0), ...this.#changes.splice(0)]) {
      queued.netns?.[Symbol.dispose]();
      queued.reject(lost);
    }
    if (this.#greeted) this.#log.info('ztunnel disconnected', { connection: this.id, reason });
    else this.#log.warn('a connection to the ZDS socket was closed', { connection: this.id, reason });
    this.#closed.resolve();
  }

  #next(): Queued | undefined {
    return this.#snapshot.shift() ?? (this.#snapshotSent ? this.#changes.shift() : undefined);
  }

  async #work(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      try {
        await this.#exchange(next);
        next.resolve();
      } catch (error) {
        next.reject(error instanceof ZdsError ? error : new ZdsError('lost', errorText(error)));
      } finally {
        next.netns?.[Symbol.dispose]();
      }
    }
    this.#running = false;
  }

  async #exchange({ request, netns }: Queued): Promise<void> {
    const what = 'uid' in request ? `${request.kind} ${request.uid}` : request.kind;
    if (this.#reason !== undefined)
      throw new ZdsError('lost', `the connection to ztunnel ended: ${this.#reason}`);
    const answer = this.#answer(what);
    // Not awaited: a peer that does not read is noticed by the deadline of its answer.
    this.#socket
      .send(encodeWorkloadRequest(request), netns === undefined ? [] : [netns.fd])
      .catch((error) => {
        this.close(`${what} could not be sent: ${errorText(error)}`);
      });
    let refusal: string | undefined;
    const bytes = await answer;
    try {
      refusal = decodeAck(bytes);
    } catch (error) {
      const reason = `answer to ${what}: ${errorText(error)}`;
      this.close(reason);
      throw new ZdsError('lost', reason);
    }
    if (refusal !== undefined) throw new ZdsError('refused', `ztunnel refused ${what}: ${refusal}`);
  }

  #answer(what: string): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(zdsDeadlineMs, () => {
        this.close(`no answer to ${what} within ${zdsDeadlineMs} ms`);
      });
      const settle =
        <T>(end: (value: T) => void) =>
        (value: T) => {
          timer[Symbol.dispose]();
          this.#waiting = undefined;
          end(value);
        };
      this.#waiting = { resolve: settle(resolve), reject: settle(reject) };
    });
  }

  async #read(): Promise<void> {
    while (this.#reason === undefined) {
      let datagram;
      try {
        datagram = await this.#socket.receive();
      } catch (error) {
        this.close(errorText(error));
        return;
      }
      if (datagram === undefined) return this.close('closed by ztunnel');
      for (const fd of datagram.fds) this.#closeFd(fd);
      if (datagram.fds.length > 0) return this.close('it sent a file descriptor, which only the agent may');
      if (this.#waiting === undefined) return this.close('it sent a message that nobody asked for');
      this.#waiting.resolve(datagram.bytes);
      // The next request goes out before the next message is looked at.
      await Promise.resolve();
    }
  }
}
