// One TCP connection to the DNS proxy: questions with their lengths in front, answered as they become ready
// (RFC 7766). Bounded in questions under way, in what waits to be read, and in silence.
import type { Socket } from 'node:net';
import { framed } from './exchange.ts';

/** As upstream. */
const idleMs = 5000;
const pendingLimit = 32;
/** Bytes of answers that a client may leave unread. */
const unreadLimit = 1024 * 1024;

export class DnsTcpClient {
  readonly #socket: Socket;
  readonly #answer: (message: Uint8Array) => Promise<Uint8Array | undefined>;
  #received: Buffer = Buffer.alloc(0);
  #pending = 0;
  /** Nothing more is to be read: the client has ended, or the proxy is closing. */
  #ending = false;

  /** Takes over a socket that allows half-open connections. `answer` never rejects. */
  constructor(socket: Socket, answer: (message: Uint8Array) => Promise<Uint8Array | undefined>) {
    this.#socket = socket;
    this.#answer = answer;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#read();
    });
    socket.on('end', () => this.end());
    socket.setTimeout(idleMs, () => {
      if (this.#pending === 0 || socket.writableLength > 0) socket.destroy();
    });
  }

  /** What has been asked is answered, then the connection ends. */
  end(): void {
    this.#ending = true;
    this.#maybeEnd();
  }

  #read(): void {
    while (this.#pending < pendingLimit && this.#received.length >= 2) {
      const end = 2 + this.#received.readUInt16BE(0);
      if (this.#received.length < end) break;
      const message = this.#received.subarray(2, end);
      this.#received = this.#received.subarray(end);
      this.#pending++;
      void this.#answer(message).then((reply) => this.#write(reply));
    }
    if (this.#pending >= pendingLimit) this.#socket.pause();
    else this.#socket.resume();
  }

  #write(reply: Uint8Array | undefined): void {
    this.#pending--;
    const socket = this.#socket;
    if (socket.destroyed) return;
    // A message that deserves no reply cannot be passed over on a connection: nothing after it can be trusted.
    if (reply === undefined || socket.writableLength > unreadLimit) {
      socket.destroy();
      return;
    }
    socket.write(framed(reply));
    this.#read();
    this.#maybeEnd();
  }

  #maybeEnd(): void {
    if (this.#ending && this.#pending === 0) this.#socket.end();
  }
}
