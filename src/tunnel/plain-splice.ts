// Joins two TCP sockets until both directions have ended, with the same endings as the splice into a tunnel:
// half-closes pass through, back-pressure passes through, what one side cut off is cut off on the other.
import type { Socket } from 'node:net';
import { resetSocket } from '#/sys/index.ts';
import { ordinaryEnds, type SpliceResult } from './splice.ts';

export class PlainSplice {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #done: (result: SpliceResult) => void;
  /** Bytes from client to server. */
  fromSocket = 0;
  /** Bytes from server to client. */
  toSocket = 0;
  #finished = false;

  /** `done` is called once, later. Both sockets are then destroyed or have ended. */
  constructor(client: Socket, server: Socket, done: (result: SpliceResult) => void) {
    this.#client = client;
    this.#server = server;
    this.#done = done;
    client.on('data', (chunk: Buffer) => {
      this.fromSocket += chunk.length;
      if (!server.write(chunk)) client.pause();
    });
    server.on('data', (chunk: Buffer) => {
      this.toSocket += chunk.length;
      if (!client.write(chunk)) server.pause();
    });
    this.#join(client, server);
    this.#join(server, client);
    client.resume();
    server.resume();
  }

  #join(from: Socket, to: Socket): void {
    from.allowHalfOpen = true;
    from.on('end', () => to.end());
    from.on('finish', () => this.#settle());
    to.on('drain', () => from.resume());
    from.on('error', (error: NodeJS.ErrnoException) => this.#cut(to, error));
    // After an orderly end, what it sent may still be on its way to the other.
    from.on('close', () => {
      if (!from.readableEnded || !from.writableFinished) this.#cut(to);
    });
    // It may have ended while the other was being opened: its events are then over.
    if (from.closed) queueMicrotask(() => this.#cut(to, from.errored ?? undefined));
    else if (from.readableEnded) queueMicrotask(() => to.end());
  }

  /** Both directions have ended, and all that came has been written. */
  #settle(): void {
    if (this.#client.writableFinished && this.#server.writableFinished) this.#finish();
  }

  #cut(other: Socket, error?: NodeJS.ErrnoException): void {
    if (!this.#finished) resetSocket(other);
    const ordinary = error === undefined || ordinaryEnds.has(error.code ?? '');
    this.#finish(ordinary ? undefined : { side: 'socket', message: error.message });
  }

  #finish(failure?: NonNullable<SpliceResult['failure']>): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#done({
      fromSocket: this.fromSocket,
      toSocket: this.toSocket,
      ...(failure === undefined ? {} : { failure }),
    });
  }

  /** Ends both sides at once. */
  abort(): void {
    this.#finish();
    resetSocket(this.#client);
    resetSocket(this.#server);
  }
}
