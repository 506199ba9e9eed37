// Joins two TCP sockets until both directions have ended, with the same endings as the splice into a tunnel:
// half-closes pass through, back-pressure passes through, what one side cut off is cut off on the other.
import type { Socket } from 'node:net';
import type { SpliceResult } from './splice.ts';

export class PlainSplice {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #done: (result: SpliceResult) => void;
  /** Bytes from client to server. */
  fromSocket = 0;
  /** Bytes from server to client. */
  toSocket = 0;
  #ends = 0;
  #finished = false;

  /** `done` is called once. Both sockets are then ending or destroyed. */
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
    from.on('end', () => {
      to.end();
      if (++this.#ends === 2) this.#finish();
    });
    to.on('drain', () => from.resume());
    from.on('error', (error: NodeJS.ErrnoException) => this.#cut(to, error));
    from.on('close', () => this.#cut(to));
  }

  #cut(other: Socket, error?: NodeJS.ErrnoException): void {
    if (this.#ends < 2) other.resetAndDestroy();
    const ordinary = error === undefined || error.code === 'ECONNRESET' || error.code === 'EPIPE';
    this.#finish(ordinary ? undefined : { side: 'socket', message: error.message });
  }

  #finish(failure?: NonNullable<SpliceResult['failure']>): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#done({ fromSocket: this.fromSocket, toSocket: this.toSocket, ...(failure === undefined ? {} : { failure }) });
  }

  /** Ends both sides at once. */
  abort(): void {
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
    this.#finish();
  }
}
