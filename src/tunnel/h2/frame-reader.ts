// Bytes to HTTP/2 frames, in any division. DATA is passed on as it comes, other payloads once they are whole,
// header blocks once their last CONTINUATION is there. Checks what can be told from a frame alone; what a frame
// means for its stream is the session's.
import { flag, frameHeaderSize, frameType, h2Error, maxStreamId, preface } from './frames.ts';

export interface FrameSink {
  /** A DATA frame begins; it takes `length` bytes from the windows, padding included. */
  dataHead(stream: number, length: number): void;
  /** A piece of DATA without its padding; `used` is its share of the frame's length. */
  dataBytes(stream: number, bytes: Buffer, used: number): void;
  dataEnd(stream: number, ended: boolean): void;
  /** A whole header block, still compressed. */
  headerBlock(stream: number, block: Buffer, ended: boolean): void;
  /** SETTINGS, PING, GOAWAY, RST_STREAM or WINDOW_UPDATE, of a length that its type allows. */
  control(type: number, flags: number, stream: number, payload: Buffer): void;
  /** PRIORITY or a frame of a type that is not known, whole. */
  ignored?(): void;
  /** The connection must end with this code. The sink calls `stop`. */
  malformed(code: number, message: string): void;
}

/** Payload that is collected before it is looked at, bytes: the largest header block, unless asked for more. */
const collectLimit = 64 * 1024;
const maxContinuations = 64;
/** Entries of one SETTINGS frame. Six are defined; others are ignored. */
const maxSettings = 64;

const nothing = Buffer.alloc(0);

export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrame: number;
  readonly #maxBlock: number;
  #stopped = false;
  #prefaceLeft: number;
  #settingsSeen = false;

  // The frame that is being read. Its head is complete when #headLength says so.
  readonly #head = Buffer.allocUnsafe(frameHeaderSize);
  #headLength = 0;
  #type = 0;
  #flags = 0;
  #stream = 0;
  #left = 0;
  /** Bytes of padding; −1 until the first byte of a padded frame is there. */
  #padding = 0;
  #collected: Buffer | undefined;
  #collectedLength = 0;

  // The header block that is being read.
  #blockStream = 0;
  #blockEnded = false;
  #block: Buffer = nothing;
  #continuations = 0;
  #serial = 0;

  /**
   * @param maxFrame SETTINGS_MAX_FRAME_SIZE as announced to the peer
   * @param maxList SETTINGS_MAX_HEADER_LIST_SIZE
   */
  constructor(expectPreface: boolean, maxFrame: number, sink: FrameSink, maxList = 0) {
    this.#prefaceLeft = expectPreface ? preface.length : 0;
    this.#maxFrame = maxFrame;
    this.#maxBlock = Math.max(collectLimit, maxList);
    this.#sink = sink;
  }

  /**
   * What the peer has begun and owes the rest of: its preface and SETTINGS, or a header block. The same number as
   * before means the same frame; undefined: nothing.
   */
  get owed(): number | undefined {
    const begun = this.#headLength > 0 && this.#type !== frameType.data;
    return begun || this.#blockStream !== 0 || !this.#settingsSeen ? this.#serial : undefined;
  }

  /** Nothing more is read. */
  stop(): void {
    this.#stopped = true;
    this.#collected = undefined;
    this.#block = nothing;
  }

  read(chunk: Buffer): void {
    if (this.#stopped) return;
    let at = this.#prefaceLeft > 0 ? this.#readPreface(chunk) : 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#headLength < frameHeaderSize) {
        at = this.#readHead(chunk, at);
        continue;
      }
      const part = Math.min(this.#left, chunk.length - at);
      this.#left -= part;
      this.#payload(chunk.subarray(at, at + part));
      at += part;
    }
  }

  #readPreface(chunk: Buffer): number {
    const offset = preface.length - this.#prefaceLeft;
    const length = Math.min(this.#prefaceLeft, chunk.length);
    this.#prefaceLeft -= length;
    if (chunk.compare(preface, offset, offset + length, 0, length) !== 0)
      this.#fail(h2Error.protocolError, 'the peer does not speak HTTP/2');
    return length;
  }

  #fail(code: number, message: string): void {
    this.#stopped = true;
    this.#sink.malformed(code, message);
  }

  #readHead(chunk: Buffer, at: number): number {
    if (this.#headLength === 0 && chunk.length - at >= frameHeaderSize) {
      this.#onHead(chunk, at);
      return at + frameHeaderSize;
    }
    const part = Math.min(frameHeaderSize - this.#headLength, chunk.length - at);
    chunk.copy(this.#head, this.#headLength, at, at + part);
    this.#headLength += part;
    if (this.#headLength === frameHeaderSize) this.#onHead(this.#head, 0);
    return at + part;
  }

  #onHead(bytes: Buffer, at: number): void {
    const length = bytes.readUIntBE(at, 3);
    this.#headLength = frameHeaderSize;
    this.#type = bytes[at + 3] as number;
    this.#flags = bytes[at + 4] as number;
    this.#stream = bytes.readUInt32BE(at + 5) & maxStreamId;
    this.#left = length;
    if (length > this.#maxFrame) {
      this.#fail(h2Error.frameSizeError, `a frame of ${length} bytes`);
    } else if (!this.#settingsSeen && (this.#type !== frameType.settings || (this.#flags & flag.ack) !== 0)) {
      this.#fail(h2Error.protocolError, 'the first frame is not SETTINGS');
    } else if (
      this.#blockStream !== 0 &&
      (this.#type !== frameType.continuation || this.#stream !== this.#blockStream)
    ) {
      this.#fail(h2Error.protocolError, 'a header block is interrupted');
    } else if (this.#type === frameType.data) {
      this.#onDataHead(length);
    } else {
      this.#checkHead(length);
    }
    if (this.#left === 0 && !this.#stopped) this.#payload(nothing);
  }

  #onDataHead(length: number): void {
    const padded = (this.#flags & flag.padded) !== 0;
    this.#padding = padded ? -1 : 0;
    if (this.#stream === 0) this.#fail(h2Error.protocolError, 'DATA on stream 0');
    else if (padded && length === 0) this.#fail(h2Error.frameSizeError, 'padded DATA without a length');
    else this.#sink.dataHead(this.#stream, length);
  }

  /** Length and stream, as RFC 9113, 6 asks for them by type. Frames that mean nothing to us may have any. */
  #checkHead(length: number): void {
    let fits = true;
    let onStream = false;
    if (this.#type !== frameType.continuation) this.#serial++;
    switch (this.#type) {
      case frameType.headers:
      case frameType.continuation:
        onStream = true;
        if (length + this.#block.length > this.#maxBlock) this.#tooMuch('a header block without end');
        break;
      case frameType.rstStream:
        onStream = true;
        fits = length === 4;
        break;
      case frameType.settings:
        this.#settingsSeen = true;
        fits = (this.#flags & flag.ack) === 0 ? length % 6 === 0 : length === 0;
        if (length > maxSettings * 6) this.#tooMuch(`SETTINGS of ${length} bytes`);
        break;
      case frameType.ping:
        fits = length === 8;
        break;
      case frameType.goaway:
        fits = length >= 8;
        if (length > collectLimit) this.#tooMuch(`GOAWAY of ${length} bytes`);
        break;
      case frameType.windowUpdate:
        onStream = this.#stream !== 0;
        fits = length === 4;
        break;
      case frameType.pushPromise:
        this.#fail(h2Error.protocolError, 'PUSH_PROMISE although push is off');
        return;
      default:
        return;
    }
    if (this.#stopped) return;
    if (!fits) this.#fail(h2Error.frameSizeError, `a frame of type ${this.#type} with ${length} bytes`);
    else if (onStream !== (this.#stream !== 0))
      this.#fail(h2Error.protocolError, `a frame of type ${this.#type} on stream ${this.#stream}`);
  }

  #tooMuch(message: string): void {
    this.#fail(h2Error.enhanceYourCalm, message);
  }

  /** A piece of the payload; the last one when nothing is left. */
  #payload(bytes: Buffer): void {
    const last = this.#left === 0;
    if (last) this.#headLength = 0;
    switch (this.#type) {
      case frameType.data:
        this.#dataPayload(bytes, last);
        return;
      case frameType.headers:
      case frameType.continuation:
      case frameType.rstStream:
      case frameType.settings:
      case frameType.ping:
      case frameType.goaway:
      case frameType.windowUpdate: {
        const whole = this.#collect(bytes, last);
        if (whole === undefined) return;
        if (this.#type === frameType.headers) this.#onHeaders(whole);
        else if (this.#type === frameType.continuation) this.#onContinuation(whole);
        else this.#sink.control(this.#type, this.#flags, this.#stream, whole);
        return;
      }
      default: // PRIORITY and unknown types mean nothing to us (RFC 9113, 5.5): dropped as they come.
        if (last) this.#sink.ignored?.();
    }
  }

  #collect(bytes: Buffer, last: boolean): Buffer | undefined {
    if (this.#collected === undefined) {
      if (last) return bytes;
      this.#collected = Buffer.allocUnsafe(bytes.length + this.#left);
      this.#collectedLength = 0;
    }
    bytes.copy(this.#collected, this.#collectedLength);
    this.#collectedLength += bytes.length;
    if (!last) return undefined;
    const whole = this.#collected;
    this.#collected = undefined;
    return whole;
  }

  #dataPayload(bytes: Buffer, last: boolean): void {
    const used = bytes.length;
    if (this.#padding !== 0) bytes = this.#withoutPadding(bytes);
    if (this.#stopped) return;
    if (used > 0) this.#sink.dataBytes(this.#stream, bytes, used);
    if (last && !this.#stopped) this.#sink.dataEnd(this.#stream, (this.#flags & flag.endStream) !== 0);
  }

  #withoutPadding(bytes: Buffer): Buffer {
    if (this.#padding < 0) {
      this.#padding = bytes[0] as number;
      bytes = bytes.subarray(1);
      if (this.#padding > bytes.length + this.#left) {
        this.#fail(h2Error.protocolError, 'padding is longer than the frame');
        return bytes;
      }
    }
    const here = Math.max(0, this.#padding - this.#left);
    return bytes.subarray(0, Math.max(0, bytes.length - here));
  }

  #onHeaders(payload: Buffer): void {
    const padded = (this.#flags & flag.padded) !== 0;
    const start = (padded ? 1 : 0) + ((this.#flags & flag.priority) !== 0 ? 5 : 0);
    const end = payload.length - (padded ? (payload[0] ?? 0) : 0);
    if (start > end) {
      this.#fail(h2Error.protocolError, 'padding or priority is longer than the frame');
      return;
    }
    this.#blockStream = this.#stream;
    this.#blockEnded = (this.#flags & flag.endStream) !== 0;
    this.#block = payload.subarray(start, end);
    this.#continuations = 0;
    this.#onBlockPart();
  }

  #onContinuation(payload: Buffer): void {
    if (this.#blockStream === 0) {
      this.#fail(h2Error.protocolError, 'CONTINUATION without HEADERS');
      return;
    }
    if (++this.#continuations > maxContinuations) {
      this.#tooMuch('a header block without end');
      return;
    }
    this.#block = Buffer.concat([this.#block, payload]);
    this.#onBlockPart();
  }

  #onBlockPart(): void {
    if ((this.#flags & flag.endHeaders) === 0) {
      // What waits is a copy, since a part may hold on to the much larger chunk that it came in.
      if (this.#continuations === 0) this.#block = Buffer.from(this.#block);
      return;
    }
    const block = this.#block;
    const stream = this.#blockStream;
    this.#block = nothing;
    this.#blockStream = 0;
    this.#sink.headerBlock(stream, block, this.#blockEnded);
  }
}
