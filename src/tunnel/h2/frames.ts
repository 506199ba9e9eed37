// HTTP/2 frames (RFC 9113): numbers, and the writer that lays frames one behind the other for one write.
import { largeSlab, takeSlab } from '../slabs.ts';

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
} as const;

export const h2Error = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
} as const;
export type H2ErrorCode = (typeof h2Error)[keyof typeof h2Error];

const errorNames = new Map<number, string>(Object.entries(h2Error).map(([name, code]) => [code, name]));

/** `refusedStream`, or the number if the peer made one up. */
export function h2ErrorName(code: number): string {
  return errorNames.get(code) ?? `error ${code}`;
}

export const preface: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const frameHeaderSize = 9;
export const maxStreamId = 0x7fffffff;
export const maxWindow = 0x7fffffff;

const nothing = Buffer.alloc(0);

/** Bytes to write at once. Release the slab when they are written. */
export interface Piece {
  readonly bytes: Buffer;
  readonly slab: Buffer;
}

/**
 * Lays frames one behind the other, payloads included, so that a turn's frames are one write. The copy costs
 * less than a vectored write, for which TLS would copy as well. Memory is taken from the pool while bytes wait.
 */
export class FrameWriter {
  readonly #sealed: Piece[] = [];
  #slab: Buffer = nothing;
  #end = 0;
  /** Bytes that wait. */
  size = 0;

  /** Makes room for so many bytes in one piece; returns where they go. */
  #reserve(bytes: number): number {
    if (this.#end + bytes > this.#slab.length) {
      const first = this.#end === 0 && this.#sealed.length === 0;
      this.#seal();
      this.#slab = takeSlab(first ? bytes : Math.max(bytes, largeSlab));
    }
    const at = this.#end;
    this.#end += bytes;
    this.size += bytes;
    return at;
  }

  #seal(): void {
    if (this.#end > 0) this.#sealed.push({ bytes: this.#slab.subarray(0, this.#end), slab: this.#slab });
    this.#slab = nothing;
    this.#end = 0;
  }

  /** Writes a frame's head and reserves its payload; returns the payload's offset in the slab. */
  #begin(type: number, flags: number, stream: number, length: number): number {
    let at = this.#reserve(frameHeaderSize + length);
    const slab = this.#slab;
    slab[at++] = length >>> 16;
    slab[at++] = length >>> 8;
    slab[at++] = length;
    slab[at++] = type;
    slab[at++] = flags;
    slab[at++] = stream >>> 24;
    slab[at++] = stream >>> 16;
    slab[at++] = stream >>> 8;
    slab[at++] = stream;
    return at;
  }

  raw(bytes: Buffer): void {
    const at = this.#reserve(bytes.length);
    bytes.copy(this.#slab, at);
  }

  /** The chunk's bytes from `start` to `end` as one DATA frame. */
  data(stream: number, chunk: Buffer, start: number, end: number): void {
    const at = this.#begin(frameType.data, 0, stream, end - start);
    chunk.copy(this.#slab, at, start, end);
  }

  /** An empty DATA frame that ends the stream. */
  endStream(stream: number): void {
    this.#begin(frameType.data, flag.endStream, stream, 0);
  }

  /** A header block, cut into HEADERS and CONTINUATION by the peer's largest frame. */
  headers(stream: number, block: Buffer, end: boolean, maxFrame: number): void {
    let rest = block;
    let type: number = frameType.headers;
    let flags = end ? flag.endStream : 0;
    do {
      const part = rest.subarray(0, maxFrame);
      rest = rest.subarray(maxFrame);
      const at = this.#begin(type, flags | (rest.length === 0 ? flag.endHeaders : 0), stream, part.length);
      part.copy(this.#slab, at);
      type = frameType.continuation;
      flags = 0;
    } while (rest.length > 0);
  }

  rstStream(stream: number, code: number): void {
    const at = this.#begin(frameType.rstStream, 0, stream, 4);
    this.#slab.writeUInt32BE(code, at);
  }

  windowUpdate(stream: number, increment: number): void {
    const at = this.#begin(frameType.windowUpdate, 0, stream, 4);
    this.#slab.writeUInt32BE(increment, at);
  }

  settings(values: readonly (readonly [id: number, value: number])[]): void {
    let at = this.#begin(frameType.settings, 0, 0, values.length * 6);
    for (const [id, value] of values) {
      this.#slab.writeUInt16BE(id, at);
      this.#slab.writeUInt32BE(value, at + 2);
      at += 6;
    }
  }

  settingsAck(): void {
    this.#begin(frameType.settings, flag.ack, 0, 0);
  }

  ping(payload: Buffer, ack: boolean): void {
    const at = this.#begin(frameType.ping, ack ? flag.ack : 0, 0, 8);
    payload.copy(this.#slab, at, 0, 8);
  }

  goaway(lastStream: number, code: number, debug = ''): void {
    const text = Buffer.from(debug, 'latin1');
    const at = this.#begin(frameType.goaway, 0, 0, 8 + text.length);
    this.#slab.writeUInt32BE(lastStream, at);
    this.#slab.writeUInt32BE(code, at + 4);
    text.copy(this.#slab, at + 8);
  }

  /** The first piece that waits. */
  next(): Piece | undefined {
    if (this.#sealed.length === 0) this.#seal();
    const piece = this.#sealed.shift();
    if (piece !== undefined) this.size -= piece.bytes.length;
    return piece;
  }
}
