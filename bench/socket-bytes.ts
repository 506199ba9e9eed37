// A socket as the codecs' byte channel, as plain as can be: for the benches' own clients and servers.
import type { Socket } from 'node:net';
import type { ByteChannel, ByteSink } from '#/http/index.ts';

export class SocketBytes implements ByteChannel {
  sink: ByteSink | undefined;
  readonly #socket: Socket;
  #waiting: Buffer[] = [];
  #planned = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.sink?.data(chunk));
    socket.on('end', () => this.sink?.ended());
    socket.on('error', () => {});
    socket.on('close', () => this.sink?.closed({ message: 'closed' }));
    queueMicrotask(() => socket.resume());
  }

  write(chunk: Buffer): boolean {
    this.#waiting.push(Buffer.from(chunk));
    if (!this.#planned) {
      this.#planned = true;
      setImmediate(() => {
        this.#planned = false;
        const bytes = Buffer.concat(this.#waiting);
        this.#waiting = [];
        this.#socket.write(bytes);
      });
    }
    return true;
  }

  end(): void {
    setImmediate(() => this.#socket.end());
  }

  reset(): void {
    this.#socket.destroy();
  }

  consumed(): void {}
}
