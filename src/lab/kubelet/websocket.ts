// The server's side of a WebSocket (RFC 6455), as far as exec and logs need it: messages in and out, ping, close.
// No extensions. A frame over the limit, an unmasked frame or an unknown opcode ends the connection.
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';

/** Clients send keystrokes and file contents in small pieces; kubectl's are 32 KiB. */
const frameLimit = 1 << 20;

export function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

export interface WebSocketHandlers {
  onMessage(data: Buffer, text: boolean): void;
  /** Once, however it ended. */
  onClose(): void;
}

export class WebSocket {
  readonly #socket: Duplex;
  readonly #handlers: WebSocketHandlers;
  #pending: Buffer = Buffer.alloc(0);
  #parts: Buffer[] = [];
  #text = false;
  #closed = false;

  constructor(socket: Duplex, head: Buffer, handlers: WebSocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
    if (head.length > 0) this.#read(head);
  }

  /** A binary message, or a text. False if the peer reads too slowly: wait for `drain`. */
  send(data: Buffer, text = false): boolean {
    return this.#frame(text ? 1 : 2, data);
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

  close(code = 1000): void {
    if (this.#closed) return;
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.#frame(8, body);
    this.#socket.end();
    this.#end();
  }

  #frame(opcode: number, data: Buffer): boolean {
    if (this.#closed || !this.#socket.writable) return true;
    const { length } = data;
    const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
    head[0] = 0x80 | opcode;
    if (length < 126) head[1] = length;
    else if (length < 65536) {
      head[1] = 126;
      head.writeUInt16BE(length, 2);
    } else {
      head[1] = 127;
      head.writeBigUInt64BE(BigInt(length), 2);
    }
    return this.#socket.write(Buffer.concat([head, data]));
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#socket.writableEnded) this.#socket.destroy();
    this.#handlers.onClose();
  }

  #read(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (!this.#closed) {
      const buffer = this.#pending;
      if (buffer.length < 2) return;
      const first = buffer[0] as number;
      const second = buffer[1] as number;
      let length = second & 0x7f;
      let at = 2;
      if (length === 126) {
        if (buffer.length < 4) return;
        length = buffer.readUInt16BE(2);
        at = 4;
      } else if (length === 127) {
        if (buffer.length < 10) return;
        const long = buffer.readBigUInt64BE(2);
        length = long > BigInt(frameLimit) ? frameLimit + 1 : Number(long);
        at = 10;
      }
      if ((second & 0x80) === 0 || (first & 0x70) !== 0) return this.close(1002);
      if (length > frameLimit) return this.close(1009);
      if (buffer.length < at + 4 + length) return;
      const mask = buffer.subarray(at, at + 4);
      const data = Buffer.from(buffer.subarray(at + 4, at + 4 + length));
      for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) ^ (mask[i & 3] as number);
      this.#pending = buffer.subarray(at + 4 + length);
      this.#handle(first & 0x0f, (first & 0x80) !== 0, data);
    }
  }

  #handle(opcode: number, final: boolean, data: Buffer): void {
    switch (opcode) {
      case 0:
      case 1:
      case 2: {
        if (opcode !== 0) this.#text = opcode === 1;
        this.#parts.push(data);
        if (this.#parts.reduce((sum, part) => sum + part.length, 0) > frameLimit) return this.close(1009);
        if (!final) return undefined;
        const message = this.#parts.length === 1 ? data : Buffer.concat(this.#parts);
        this.#parts = [];
        return this.#handlers.onMessage(message, this.#text);
      }
      case 8:
        return this.close();
      case 9:
        this.#frame(10, data.subarray(0, 125));
        return undefined;
      case 10:
        return undefined;
      default:
        return this.close(1002);
    }
  }
}
