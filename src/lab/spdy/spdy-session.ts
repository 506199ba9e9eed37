// The server's side of a SPDY/3.1 connection, as kubectl and its libraries use it for exec and port-forward: streams
// that the client opens, without flow control (theirs has none). What breaks the framing ends the connection.
import type { Duplex } from 'node:stream';
import { HeaderReader, HeaderWriter, type SpdyHeaders } from './spdy-headers.ts';

const version = 3;
const frame = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
} as const;
const flagFin = 1;
/** Clients send at most 32 KiB at once. */
const frameLimit = 1 << 20;
const streamLimit = 256;

export interface SpdyHandlers {
  /** A new stream; its handlers are set in this call. */
  onStream(stream: SpdyStream): void;
  /** Once, however it ended. */
  onClose(): void;
}

export class SpdyStream {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #send: (fin: boolean, data: Buffer) => boolean;
  readonly #reset: () => void;
  #ended = false;
  onData: (data: Buffer) => void = () => {};
  /** The client will send no more. */
  onEnd: () => void = () => {};
  /** The client gave the stream up, or the connection is gone. */
  onReset: () => void = () => {};

  constructor(
    id: number,
    headers: SpdyHeaders,
    send: (fin: boolean, data: Buffer) => boolean,
    reset: () => void,
  ) {
    this.id = id;
    this.headers = headers;
    this.#send = send;
    this.#reset = reset;
  }

  /** False if the client reads too slowly: wait for the session's `onDrain`. */
  write(data: Buffer): boolean {
    return this.#ended ? true : this.#send(false, data);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#send(true, Buffer.alloc(0));
  }

  reset(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reset();
  }
}

export class SpdySession {
  readonly #socket: Duplex;
  readonly #handlers: SpdyHandlers;
  readonly #reader = new HeaderReader();
  readonly #writer = new HeaderWriter();
  readonly #streams = new Map<number, SpdyStream>();
  #pending: Buffer = Buffer.alloc(0);
  #reading = false;
  #closed = false;

  constructor(socket: Duplex, head: Buffer, handlers: SpdyHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.on('data', (chunk: Buffer) => {
      this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
      if (!this.#reading) void this.#read();
    });
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
    socket.on('end', () => this.close());
    if (head.length > 0) socket.unshift(head);
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
    this.#closed = true;
    // What was written goes out; then the connection ends.
    this.#socket.end();
    this.#reader.close();
    for (const stream of this.#streams.values()) stream.onReset();
    this.#streams.clear();
    this.#handlers.onClose();
  }

  #write(...parts: Buffer[]): boolean {
    if (this.#closed || !this.#socket.writable) return true;
    return this.#socket.write(Buffer.concat(parts));
  }

  #control(type: number, flags: number, payload: Buffer): boolean {
    const head = Buffer.alloc(8);
    head.writeUInt16BE(0x8000 | version, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
    return this.#write(head, payload);
  }

  /** Frame by frame: a header block is unpacked before the next frame is looked at. */
  async #read(): Promise<void> {
    this.#reading = true;
    try {
      while (!this.#closed && this.#pending.length >= 8) {
        const first = this.#pending.readUInt32BE(0);
        const second = this.#pending.readUInt32BE(4);
        const length = second & 0xffffff;
        if (length > frameLimit) throw new RangeError(`a frame of ${length} bytes`);
        if (this.#pending.length < 8 + length) break;
        const payload = this.#pending.subarray(8, 8 + length);
        this.#pending = this.#pending.subarray(8 + length);
        const flags = second >>> 24;
        if (first >= 0x80000000) {
          if (((first >>> 16) & 0x7fff) !== version) throw new RangeError('a frame of another version');
          await this.#handle(first & 0xffff, flags, payload);
        } else this.#data(first, flags, payload);
      }
    } catch {
      this.close();
    } finally {
      this.#reading = false;
    }
  }

  #data(id: number, flags: number, data: Buffer): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (data.length > 0) stream.onData(Buffer.from(data));
    if ((flags & flagFin) !== 0) stream.onEnd();
  }

  async #handle(type: number, flags: number, payload: Buffer): Promise<void> {
    switch (type) {
      case frame.synStream: {
        const id = payload.readUInt32BE(0) & 0x7fffffff;
        const headers = await this.#reader.read(payload.subarray(10));
        if (this.#streams.has(id) || this.#streams.size >= streamLimit) {
          this.#rst(id);
          return;
        }
        const stream = this.#open(id, headers);
        const reply = Buffer.alloc(4);
        reply.writeUInt32BE(id);
        this.#control(frame.synReply, 0, Buffer.concat([reply, this.#writer.write({})]));
        this.#handlers.onStream(stream);
        if ((flags & flagFin) !== 0) stream.onEnd();
        return;
      }
      case frame.synReply:
        await this.#reader.read(payload.subarray(4));
        return;
      case frame.headers:
        await this.#reader.read(payload.subarray(4));
        return;
      case frame.rstStream: {
        const id = payload.readUInt32BE(0) & 0x7fffffff;
        const stream = this.#streams.get(id);
        this.#streams.delete(id);
        stream?.onReset();
        return;
      }
      case frame.ping:
        this.#control(frame.ping, 0, Buffer.from(payload));
        return;
      case frame.goAway:
        // The client opens no more streams; those that are open go on until they end.
        return;
      default:
        return;
    }
  }

  #rst(id: number): void {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(id, 0);
    // REFUSED_STREAM
    payload.writeUInt32BE(3, 4);
    this.#control(frame.rstStream, 0, payload);
  }

  #open(id: number, headers: SpdyHeaders): SpdyStream {
    const stream = new SpdyStream(
      id,
      headers,
      (fin, data) => {
        const head = Buffer.alloc(8);
        head.writeUInt32BE(id, 0);
        head.writeUInt32BE((((fin ? flagFin : 0) << 24) | data.length) >>> 0, 4);
        if (fin) this.#streams.delete(id);
        return this.#write(head, data);
      },
      () => {
        this.#streams.delete(id);
        this.#rst(id);
      },
    );
    this.#streams.set(id, stream);
    return stream;
  }
}
