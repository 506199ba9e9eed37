// The body of a message out of the bytes of a connection: of a known length, in chunks (RFC 9112, 7.1), or until the
// connection ends. Chunks are read strictly: what one reader takes for a size must not be another's data.
import { HeaderMap } from '../header-map.ts';
import { isForbiddenTrailer, valueByte } from '../header-rules.ts';
import { FieldBlock } from './fields.ts';
import { HeadAssembler } from './head-assembler.ts';
import { bodyUntilClose, chunkedBody, type BodyLength } from './request-head.ts';

export interface BodyLimits {
  readonly maxHeadBytes: number;
  readonly maxTrailers: number;
}

export type BodyStep =
  /** The chunk is used up. */
  | 'more'
  /** `chunk` from `dataFrom` to `dataTo` is body. */
  | 'data'
  /** The message is complete. */
  | 'end'
  /** `problem` says what is wrong. */
  | 'error';

type State =
  | 'length'
  | 'close'
  | 'size'
  | 'extension'
  | 'line-end'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailers'
  | 'over';

/** Of all chunks of a body together; nobody sends any in good faith. */
const maxExtensionBytes = 4096;
/** 2^52 bytes. */
const maxSizeDigits = 13;

export class BodyReader {
  readonly #limits: BodyLimits;
  readonly #trailerLines: HeadAssembler;
  #state: State = 'over';
  /** Of the body or chunk. */
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  at = 0;
  dataFrom = 0;
  dataTo = 0;
  problem = '';
  trailers: HeaderMap | undefined;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
    this.#trailerLines = new HeadAssembler(limits.maxHeadBytes, false);
  }

  begin(body: BodyLength): void {
    this.#left = Math.max(body, 0);
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.trailers = undefined;
    this.#state =
      body === chunkedBody ? 'size' : body === bodyUntilClose ? 'close' : body === 0 ? 'over' : 'length';
  }

  /** Ends with the connection. */
  get untilClose(): boolean {
    return this.#state === 'close';
  }

  /** Bytes that are still to come, as far as that is known. */
  get known(): number {
    return this.#state === 'close' ? Infinity : this.#left;
  }

  /** One step from `at` on; sets `at` behind what was read. After 'end' and 'error' it is not called again. */
  next(chunk: Buffer): BodyStep {
    for (;;) {
      switch (this.#state) {
        case 'over':
          return 'end';
        case 'length':
        case 'close':
        case 'data':
          if (this.at >= chunk.length) return 'more';
          return this.#data(chunk);
        case 'trailers':
          if (this.at >= chunk.length) return 'more';
          return this.#trailers(chunk);
        default:
          if (this.at >= chunk.length) return 'more';
          if (!this.#framing(chunk[this.at++] as number)) return 'error';
      }
    }
  }

  #data(chunk: Buffer): BodyStep {
    const available = chunk.length - this.at;
    const taken = this.#state === 'close' ? available : Math.min(available, this.#left);
    this.dataFrom = this.at;
    this.at += taken;
    this.dataTo = this.at;
    if (this.#state === 'close') return 'data';
    this.#left -= taken;
    if (this.#left === 0) this.#state = this.#state === 'length' ? 'over' : 'data-cr';
    return 'data';
  }

  /** A byte outside the data. */
  #framing(byte: number): boolean {
    switch (this.#state) {
      case 'size':
        return this.#size(byte);
      case 'extension':
        if (byte === 13) this.#state = 'line-end';
        else if (valueByte[byte] !== 1 || byte > 0x7e)
          return this.#bad('an invalid byte in a chunk extension');
        else if (++this.#extensionBytes > maxExtensionBytes) return this.#bad('chunk extensions too long');
        return true;
      case 'line-end':
        if (byte !== 10) return this.#bad('a chunk size without CRLF');
        this.#digits = 0;
        if (this.#left > 0) this.#state = 'data';
        else {
          this.#state = 'trailers';
          this.#trailerLines.beginAfterLine();
        }
        return true;
      case 'data-cr':
        if (byte !== 13) return this.#bad('a chunk that does not end where its size says');
        this.#state = 'data-lf';
        return true;
      default:
        if (byte !== 10) return this.#bad('a chunk that does not end where its size says');
        this.#state = 'size';
        return true;
    }
  }

  #size(byte: number): boolean {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      if (++this.#digits > maxSizeDigits) return this.#bad('a chunk size that is too long');
      this.#left = this.#left * 16 + digit;
      return true;
    }
    if (this.#digits === 0) return this.#bad('an invalid chunk size');
    if (byte === 13) this.#state = 'line-end';
    else if (byte === 0x3b) this.#state = 'extension';
    else return this.#bad('an invalid chunk size');
    return true;
  }

  #trailers(chunk: Buffer): BodyStep {
    const lines = this.#trailerLines;
    const state = lines.add(chunk, this.at);
    this.at += lines.taken;
    if (state === 'more') return 'more';
    if (state === 'long') return this.#error('trailers too long');
    const text = lines.bytes.toString('latin1', lines.from, lines.to);
    const fields = new FieldBlock();
    const refusal = fields.read(lines.bytes, text, lines.from, lines.from + 2, this.#limits.maxTrailers);
    lines.release();
    if (refusal !== undefined) return this.#error(`in the trailers: ${refusal.reason}`);
    const kept: string[] = [];
    for (let i = 0; i < fields.flat.length; i += 2) {
      const name = fields.flat[i] as string;
      if (!isForbiddenTrailer(name)) kept.push(name, fields.flat[i + 1] as string);
    }
    if (kept.length > 0) this.trailers = HeaderMap.adopt(kept);
    this.#state = 'over';
    return 'end';
  }

  #bad(problem: string): false {
    this.problem = problem;
    this.#state = 'over';
    return false;
  }

  #error(problem: string): BodyStep {
    this.#bad(problem);
    return 'error';
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
