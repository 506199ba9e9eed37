// WebSocket messages over a connection that is already upgraded (RFC 6455): as a client towards a kubelet, as a server
// towards a client that tunnels SPDY through one.
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';

const opcode = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
const maxMessage = 16 * 1024 * 1024;

export interface WebSocketHandlers {
  message(data: Buffer): void;
  /** Once, whoever ends it and however. */
  close(): void;
}

export class WebSocketStream {
  readonly #socket: Duplex;
  readonly #masks: boolean;
  readonly #handlers: WebSocketHandlers;
  #rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #size = 0;
  #closed = false;

  /** `masks`: this side is the client. */
  constructor(socket: Duplex, head: Buffer, masks: boolean, handlers: WebSocketHandlers) {
    this.#socket = socket;
    this.#masks = masks;
    this.#handlers = handlers;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => this.#over());
    socket.on('end', () => this.#over());
    socket.on('close', () => this.#over());
    if (head.length > 0) queueMicrotask(() => this.#read(head));
  }

  /** False: wait for `onDrain` before sending more. */
  send(data: Buffer): boolean {
    return this.#closed || this.#socket.write(this.#frame(opcode.binary, data));
  }

  onDrain(listener: () => void): void {
    this.#socket.on('drain', listener);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    if (this.#closed) return;
    this.#socket.write(this.#frame(opcode.close, Buffer.from([0x03, 0xe8])));
    this.#over();
  }

  #over(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.end();
    // A peer that does not answer the close must not keep the connection.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
    this.#handlers.close();
  }

  #frame(code: number, data: Buffer): Buffer {
    const { length } = data;
    const size = length < 126 ? 2 : length < 65536 ? 4 : 10;
    const head = Buffer.alloc(size + (this.#masks ? 4 : 0));
    head[0] = 0x80 | code;
    const mark = this.#masks ? 0x80 : 0;
    if (size === 2) head[1] = mark | length;
    else if (size === 4) {
      head[1] = mark | 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = mark | 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    if (!this.#masks) return Buffer.concat([head, data]);
    const mask = randomBytes(4);
    mask.copy(head, size);
    const body = Buffer.from(data);
    for (let i = 0; i < body.length; i++) body[i] = (body[i] as number) ^ (mask[i & 3] as number);
    return Buffer.concat([head, body]);
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (!this.#closed && this.#next());
  }

  /** Takes one frame from the front; false if it is not all there. */
  #next(): boolean {
    const bytes = this.#rest;
    if (bytes.length < 2) return false;
    const first = bytes[0] as number;
    const second = bytes[1] as number;
    let length = second & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) return false;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return false;
      const long = bytes.readBigUInt64BE(2);
      length = long > BigInt(maxMessage) ? maxMessage + 1 : Number(long);
      at = 10;
    }
    if (length + this.#size > maxMessage) {
      this.#over();
      return false;
    }
    const masked = (second & 0x80) !== 0;
    const end = at + (masked ? 4 : 0) + length;
    if (bytes.length < end) return false;
    const body = Buffer.from(bytes.subarray(end - length, end));
    if (masked) {
      const mask = bytes.subarray(at, at + 4);
      for (let i = 0; i < body.length; i++) body[i] = (body[i] as number) ^ (mask[i & 3] as number);
    }
    this.#rest = bytes.subarray(end);
    this.#take(first & 0x0f, (first & 0x80) !== 0, body);
    return true;
  }

  #take(code: number, final: boolean, body: Buffer): void {
    switch (code) {
      case opcode.more:
      case opcode.text:
      case opcode.binary:
        this.#parts.push(body);
        this.#size += body.length;
        if (!final) return;
        this.#handlers.message(this.#parts.length === 1 ? body : Buffer.concat(this.#parts));
        this.#parts = [];
        this.#size = 0;
        return;
      case opcode.ping:
        this.#socket.write(this.#frame(opcode.pong, body));
        return;
      case opcode.close:
        this.#socket.write(this.#frame(opcode.close, body.subarray(0, 2)));
        this.#over();
        return;
      default:
    }
  }
}
