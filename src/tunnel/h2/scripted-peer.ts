// For tests: HTTP/2 frames laid by hand, and a session whose other side is a script.
import { flag, frameHeaderSize, frameType, preface, type FrameWriter } from './frames.ts';
import { HpackDecoder, HpackEncoder, type HeaderList } from './hpack.ts';
import type { SessionFailure, SessionSettings } from './session-interface.ts';
import { H2Session } from './session.ts';
import type { H2Stream, StreamFailure, StreamSink } from './stream.ts';

/** All that waits in a writer. The memory is not given back: what a test holds must stay as it is. */
export function drained(writer: FrameWriter): Buffer {
  const pieces: Buffer[] = [];
  for (let piece = writer.next(); piece !== undefined; piece = writer.next()) pieces.push(piece.bytes);
  return Buffer.concat(pieces);
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array | readonly number[] = [],
): Buffer {
  const head = Buffer.alloc(frameHeaderSize);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, Buffer.from(payload)]);
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32BE(value, i * 4));
  return bytes;
}

export const lay = {
  settings: (...values: readonly (readonly [id: number, value: number])[]): Buffer => {
    const payload = Buffer.alloc(values.length * 6);
    values.forEach(([id, value], i) => {
      payload.writeUInt16BE(id, i * 6);
      payload.writeUInt32BE(value, i * 6 + 2);
    });
    return frame(frameType.settings, 0, 0, payload);
  },
  settingsAck: (): Buffer => frame(frameType.settings, flag.ack, 0),
  headers: (stream: number, block: Uint8Array, flags: number = flag.endHeaders): Buffer =>
    frame(frameType.headers, flags, stream, block),
  continuation: (stream: number, block: Uint8Array, flags: number = flag.endHeaders): Buffer =>
    frame(frameType.continuation, flags, stream, block),
  data: (stream: number, payload: Uint8Array | string, end = false): Buffer =>
    frame(frameType.data, end ? flag.endStream : 0, stream, Buffer.from(payload as string)),
  paddedData: (stream: number, payload: string, padding: number, end = false): Buffer =>
    frame(frameType.data, flag.padded | (end ? flag.endStream : 0), stream, [
      padding,
      ...Buffer.from(payload),
      ...new Uint8Array(padding),
    ]),
  reset: (stream: number, code: number): Buffer => frame(frameType.rstStream, 0, stream, u32(code)),
  credit: (stream: number, increment: number): Buffer =>
    frame(frameType.windowUpdate, 0, stream, u32(increment)),
  ping: (ack = false): Buffer => frame(frameType.ping, ack ? flag.ack : 0, 0, Buffer.from('01234567')),
  goaway: (last: number, code: number): Buffer => frame(frameType.goaway, 0, 0, u32(last, code)),
};

/** Every whole frame in the bytes. Throws on a rest. */
export function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  let at = bytes.subarray(0, preface.length).equals(preface) ? preface.length : 0;
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    const end = at + frameHeaderSize + length;
    if (end > bytes.length) throw new Error(`a frame of ${length} bytes is cut off`);
    frames.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + frameHeaderSize, end),
    });
    at = end;
  }
  return frames;
}

const typeNames = Object.entries(frameType).map(([name]) => name);

/** A frame in a few words, as the tests compare them: `windowUpdate 1 +100`, `data 3 "abc" end`. */
export function describeFrame({ type, flags, stream, payload }: Frame): string {
  const name = typeNames[type] ?? `type ${type}`;
  const ended = (flags & flag.endStream) !== 0 ? ' end' : '';
  switch (type) {
    case frameType.data: {
      const text =
        payload.length <= 20 ? JSON.stringify(payload.toString('latin1')) : `${payload.length} bytes`;
      return `${name} ${stream} ${text}${ended}`;
    }
    case frameType.headers:
      return `${name} ${stream}${ended}`;
    case frameType.windowUpdate:
      return `${name} ${stream} +${payload.readUInt32BE(0)}`;
    case frameType.rstStream:
      return `${name} ${stream} ${payload.readUInt32BE(0)}`;
    case frameType.goaway:
      return `${name} last ${payload.readUInt32BE(0)} code ${payload.readUInt32BE(4)}`;
    case frameType.settings:
    case frameType.ping:
      return `${name}${(flags & flag.ack) !== 0 ? ' ack' : ''}`;
    default:
      return `${name} ${stream}`;
  }
}

export const smallSettings: SessionSettings = {
  streamWindow: 100_000,
  connectionWindow: 400_000,
  maxFrameSize: 16_384,
  maxHeaderListSize: 4096,
  maxConcurrentStreams: 10,
};

export const connectRequest: HeaderList = [
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
];

/** Writes down what a stream is told. Credits what it gets, unless told to hold it. */
export class RecordingSink implements StreamSink {
  readonly stream: H2Stream;
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  bytes = 0;
  failure: StreamFailure | undefined;
  hold = false;

  constructor(stream: H2Stream, hold = false) {
    this.stream = stream;
    this.hold = hold;
    stream.sink = this;
  }

  headers(headers: HeaderList): void {
    this.events.push(`headers ${headers.map(([name, value]) => `${name}=${value}`).join(' ')}`);
  }

  data(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.chunks.push(Buffer.from(chunk));
    if (!this.hold) this.stream.consumed(chunk.length);
  }

  ended(): void {
    this.events.push('ended');
  }

  writable(): void {
    this.events.push('writable');
  }

  closed(reason?: StreamFailure): void {
    this.failure = reason;
    this.events.push(reason === undefined ? 'closed' : `closed ${reason.kind} ${reason.code}`);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }
}

/** A session and the script that is its peer. The greeting of both sides is over, unless `silent`. */
export class ScriptedPeer {
  readonly session: H2Session;
  readonly encoder = new HpackEncoder();
  readonly decoder = new HpackDecoder(1024 * 1024);
  readonly sinks: RecordingSink[] = [];
  readonly requests: { headers: HeaderList; ended: boolean }[] = [];
  readonly events: string[] = [];
  failure: SessionFailure | undefined;
  closed = 0;
  flushes = 0;
  hold = false;

  constructor(
    role: 'client' | 'server',
    options: { settings?: Partial<SessionSettings>; silent?: boolean; outputLimit?: number } = {},
  ) {
    this.session = new H2Session(
      role,
      { ...smallSettings, ...options.settings },
      {
        flush: () => this.flushes++,
        request: (stream, headers, ended) => {
          this.requests.push({ headers, ended });
          this.sinks.push(new RecordingSink(stream, this.hold));
        },
        goingAway: () => this.events.push('going away'),
        streamEnded: () => this.events.push('stream ended'),
        alive: () => this.events.push('alive'),
        closed: (failure) => {
          this.closed++;
          this.failure = failure;
        },
      },
      options.outputLimit,
    );
    if (options.silent === true) return;
    if (role === 'server') this.session.receive(preface);
    this.feed(lay.settings(), lay.settingsAck());
    this.frames();
    this.events.length = 0;
  }

  feed(...frames: readonly Buffer[]): void {
    for (const bytes of frames) this.session.receive(bytes);
  }

  /** What the session has laid since the last call. The transport is as empty as the output then. */
  frames(): Frame[] {
    const bytes = drained(this.session.output);
    this.session.setCongested(false);
    return parseFrames(bytes);
  }

  /** The same in words. */
  sent(): string[] {
    return this.frames().map(describeFrame);
  }

  block(headers: HeaderList = connectRequest): Buffer {
    return Buffer.from(this.encoder.encode(headers));
  }

  /** The script is a client: asks, and gives the stream's sink. */
  ask(id: number, flags: number = flag.endHeaders, headers: HeaderList = connectRequest): RecordingSink {
    this.feed(lay.headers(id, this.block(headers), flags));
    return this.sinks.at(-1) as RecordingSink;
  }

  /** The session is a client: asks. */
  request(headers: HeaderList = connectRequest): RecordingSink {
    return new RecordingSink(this.session.request(headers), this.hold);
  }

  /** The script is a server: answers 200. */
  answer(id: number, flags: number = flag.endHeaders, status = '200'): void {
    this.feed(lay.headers(id, this.block([[':status', status]]), flags));
  }
}
