// A socket as a byte channel: for endpoints that take plain TCP, and for servers outside the mesh. One write per turn
// of the event loop, windows by pausing the socket.
import type { Socket } from 'node:net';
import type { ByteChannel, ByteSink } from '#/http/index.ts';
import { readTransient, resetSocket } from '#/sys/index.ts';
import { atEndOfTurn, h2Error, type TurnTask } from '#/tunnel/index.ts';

/** Bytes that may be with the sink before the socket is not read any more. */
const receiveWindow = 256 * 1024;
/** Bytes that may wait to be written before the writer is told to stop. */
const sendBuffer = 256 * 1024;

export class SocketChannel implements ByteChannel, TurnTask {
  sink: ByteSink | undefined;
  readonly #socket: Socket;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #unconsumed = 0;
  #held = false;
  #ending = false;
  #planned = false;
  #over = false;

  /** Takes over a connected, paused socket with half-open allowed. Set the sink before the end of the turn. */
  constructor(socket: Socket) {
    this.#socket = socket;
    readTransient(socket, (chunk) => {
      this.#unconsumed += chunk.length;
      if (this.#unconsumed >= receiveWindow) socket.pause();
      this.sink?.data(chunk);
    });
    socket.on('end', () => this.sink?.ended());
    socket.on('drain', () => this.#release());
    socket.on('error', (error) => this.#close(error.message));
    socket.on('close', () =>
      this.#close(this.#ending && socket.readableEnded ? undefined : 'connection closed'),
    );
    queueMicrotask(() => {
      if (socket.destroyed) this.#close('connection closed');
      else socket.resume();
    });
  }

  write(chunk: Buffer): boolean {
    if (this.#over) return true;
    this.#waiting.push(Buffer.from(chunk));
    this.#waitingBytes += chunk.length;
    this.#plan();
    this.#held = this.#waitingBytes + this.#socket.writableLength >= sendBuffer;
    return !this.#held;
  }

  end(): void {
    this.#ending = true;
    this.#plan();
  }

  reset(code: number): void {
    this.sink = undefined;
    this.#over = true;
    if (code === h2Error.noError) this.#socket.destroy();
    else resetSocket(this.#socket);
  }

  consumed(bytes: number): void {
    this.#unconsumed -= bytes;
    if (this.#unconsumed < receiveWindow && !this.#over && this.#socket.isPaused()) this.#socket.resume();
  }

  endOfTurn(): void {
    this.#planned = false;
    if (this.#over || this.#socket.destroyed) return;
    const [first, ...more] = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (first !== undefined) this.#socket.write(more.length === 0 ? first : Buffer.concat([first, ...more]));
    if (this.#ending) this.#socket.end();
    if (this.#socket.writableLength < sendBuffer) this.#release();
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    atEndOfTurn(this);
  }

  #release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.sink?.writable();
  }

  #close(message: string | undefined): void {
    if (this.#over) return;
    this.#over = true;
    this.sink?.closed(message === undefined ? undefined : { message });
  }
}
