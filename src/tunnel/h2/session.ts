// An HTTP/2 connection (RFC 9113) as far as a tunnel needs it: many byte streams over one transport, no push,
// no priorities. Bytes in, events and bytes out; knows nothing of sockets or TLS. Every buffer has a limit:
// data by the windows, control answers by the transport's back-pressure, header blocks by size and count.
import {
  frameHeaderSize,
  frameType,
  flag,
  FrameWriter,
  h2Error,
  h2ErrorName,
  maxStreamId,
  maxWindow,
  preface,
  setting,
} from './frames.ts';
import { CompressionError, HpackDecoder, HpackEncoder, type HeaderList } from './hpack.ts';
import { H2Stream, type StreamFailure } from './stream.ts';

export interface SessionSettings {
  /** Window that each stream gives its peer, bytes. */
  readonly streamWindow: number;
  /** Window for all streams together, bytes. Four times the stream's, so that one stalled stream stops no other. */
  readonly connectionWindow: number;
  /** Largest frame taken from the peer, bytes. */
  readonly maxFrameSize: number;
  readonly maxHeaderListSize: number;
  /** Streams that the peer may have open; 0 on the client side. */
  readonly maxConcurrentStreams: number;
}

export interface SessionHandlers {
  /** Bytes wait in `session.output`: write them soon, once for all of this turn. */
  flush(): void;
  /** Server side: a request. The handler sets `stream.sink` before it returns. */
  request?(stream: H2Stream, headers: HeaderList, ended: boolean): void;
  /** The peer will take no new streams. */
  goingAway?(): void;
  /** A stream has ended: a place is free. */
  streamEnded?(): void;
  /** A PING was answered. */
  alive?(): void;
  /** The connection is over; the transport is to be closed once the output is written. */
  closed(failure?: SessionFailure): void;
}

export interface SessionFailure {
  readonly code: number;
  readonly message: string;
}

const maxContinuations = 64;
/** Payload of frames other than DATA is collected before it is read; none needs more than a header block. */
const controlLimit = 64 * 1024;

type Role = 'client' | 'server';

interface HeaderBlock {
  readonly stream: number;
  readonly flags: number;
  readonly parts: Buffer[];
  size: number;
}

export class H2Session {
  readonly role: Role;
  readonly output: FrameWriter = new FrameWriter();
  readonly streams: Map<number, H2Stream> = new Map();
  readonly streamCreditStep: number;
  /** The transport takes no more for now. Set through `setCongested`. */
  congested = false;
  peerMaxConcurrent = 100;
  goingAway = false;
  closed = false;

  readonly #settings: SessionSettings;
  readonly #handlers: SessionHandlers;
  readonly #decoder: HpackDecoder;
  readonly #encoder = new HpackEncoder();
  #peerMaxFrame = 16384;
  #peerStreamWindow = 65535;
  #sendWindow = 65535;
  #receiveWindow: number;
  #uncredited = 0;
  readonly #blocked = new Set<H2Stream>();
  #nextStream: number;
  #lastPeerStream = 0;
  #settingsSeen = false;

  // What is being read.
  #prefaceLeft: number;
  readonly #head = Buffer.allocUnsafe(frameHeaderSize);
  #headLength = 0;
  #payloadLeft = 0;
  #padding = -1;
  #type = 0;
  #flags = 0;
  #stream = 0;
  #control: Buffer | undefined;
  #controlLength = 0;
  #block: HeaderBlock | undefined;

  constructor(role: Role, settings: SessionSettings, handlers: SessionHandlers) {
    this.role = role;
    this.#settings = settings;
    this.#handlers = handlers;
    this.#decoder = new HpackDecoder(settings.maxHeaderListSize);
    this.#nextStream = role === 'client' ? 1 : 2;
    this.#prefaceLeft = role === 'server' ? preface.length : 0;
    this.#receiveWindow = settings.connectionWindow;
    this.streamCreditStep = Math.max(1, settings.streamWindow >> 1);
    if (role === 'client') this.output.raw(preface);
    const values: [number, number][] = [
      [setting.initialWindowSize, settings.streamWindow],
      [setting.maxFrameSize, settings.maxFrameSize],
      [setting.maxHeaderListSize, settings.maxHeaderListSize],
    ];
    if (role === 'client') values.push([setting.enablePush, 0]);
    else values.push([setting.maxConcurrentStreams, settings.maxConcurrentStreams]);
    this.output.settings(values);
    this.output.windowUpdate(0, settings.connectionWindow - 65535);
  }

  /** Streams that can be opened now. */
  get freeStreams(): number {
    if (this.closed || this.goingAway || this.#nextStream > maxStreamId) return 0;
    return Math.max(0, this.peerMaxConcurrent - this.streams.size);
  }

  // ---- sending ----

  /** Client: opens a stream with a request that has a body to come. */
  request(headers: HeaderList): H2Stream {
    const stream = this.#open(this.#nextStream);
    this.#nextStream += 2;
    this.output.headers(stream.id, this.#encoder.encode(headers), false, this.#peerMaxFrame);
    this.#handlers.flush();
    return stream;
  }

  respond(stream: H2Stream, headers: HeaderList, end: boolean): void {
    if (stream.gone || stream.localEnded) return;
    this.output.headers(stream.id, this.#encoder.encode(headers), end, this.#peerMaxFrame);
    if (end) {
      stream.localEnded = true;
      this.#settle(stream);
    }
    this.#handlers.flush();
  }

  writeData(stream: H2Stream, chunk: Buffer): boolean {
    if (stream.gone || stream.localEnded) return true;
    if (stream.pendingBytes === 0) chunk = this.#sendNow(stream, chunk);
    if (chunk.length > 0) {
      stream.pending.push(chunk);
      stream.pendingBytes += chunk.length;
      this.#blocked.add(stream);
    }
    stream.waiting = stream.pendingBytes > 0 || this.congested;
    return !stream.waiting;
  }

  /** Lays what the windows allow; returns the rest. */
  #sendNow(stream: H2Stream, chunk: Buffer): Buffer {
    let room = Math.min(stream.sendWindow, this.#sendWindow, chunk.length);
    if (room <= 0) return chunk;
    stream.sendWindow -= room;
    this.#sendWindow -= room;
    let at = 0;
    while (room > 0) {
      const part = Math.min(room, this.#peerMaxFrame);
      this.output.data(stream.id, chunk.subarray(at, at + part), false);
      at += part;
      room -= part;
    }
    this.#handlers.flush();
    return chunk.subarray(at);
  }

  endStream(stream: H2Stream): void {
    if (stream.gone || stream.localEnded || stream.endPending) return;
    if (stream.pendingBytes > 0) {
      stream.endPending = true;
      return;
    }
    stream.localEnded = true;
    this.output.data(stream.id, Buffer.alloc(0), true);
    this.#handlers.flush();
    this.#settle(stream);
  }

  resetStream(stream: H2Stream, code: number): void {
    if (stream.gone) return;
    this.output.rstStream(stream.id, code);
    this.#handlers.flush();
    this.#remove(stream, { kind: 'reset', code, message: 'stream was reset here' });
  }

  creditConnection(bytes: number): void {
    this.#uncredited += bytes;
    if (this.#uncredited < this.#settings.connectionWindow >> 1) return;
    this.#receiveWindow += this.#uncredited;
    this.sendCredit(0, this.#uncredited);
    this.#uncredited = 0;
  }

  sendCredit(stream: number, bytes: number): void {
    if (this.closed) return;
    this.output.windowUpdate(stream, bytes);
    this.#handlers.flush();
  }

  ping(): void {
    if (this.closed) return;
    this.output.ping(Buffer.alloc(8), false);
    this.#handlers.flush();
  }

  /** Takes no new streams; those that are open may finish. */
  drain(): void {
    if (this.closed || this.goingAway) return;
    this.goingAway = true;
    this.output.goaway(this.role === 'server' ? this.#lastPeerStream : 0, h2Error.noError);
    this.#handlers.flush();
    this.#closeIfDrained();
  }

  /** Ends the connection and every stream on it. Also told when the transport has failed. */
  close(code: number, message: string, tellPeer = true): void {
    if (this.closed) return;
    this.closed = true;
    if (tellPeer) {
      this.output.goaway(this.#lastPeerStream, code, message.slice(0, 200));
      this.#handlers.flush();
    }
    for (const stream of this.streams.values()) this.#remove(stream, { kind: 'session', code, message });
    this.#handlers.closed(code === h2Error.noError ? undefined : { code, message });
  }

  setCongested(congested: boolean): void {
    if (this.congested === congested) return;
    this.congested = congested;
    if (congested) return;
    for (const stream of this.streams.values()) {
      if (this.congested) return;
      this.#wake(stream);
    }
  }

  #wake(stream: H2Stream): void {
    if (!stream.waiting || stream.pendingBytes > 0 || this.congested) return;
    stream.waiting = false;
    stream.sink?.writable();
  }

  /** Sends what waits on a stream after its window, or the connection's, has grown. */
  #resume(stream: H2Stream): void {
    while (stream.pending.length > 0) {
      const chunk = stream.pending[0] as Buffer;
      const rest = this.#sendNow(stream, chunk);
      stream.pendingBytes -= chunk.length - rest.length;
      if (rest.length > 0) {
        stream.pending[0] = rest;
        return;
      }
      stream.pending.shift();
    }
    this.#blocked.delete(stream);
    if (stream.endPending) {
      stream.endPending = false;
      this.endStream(stream);
    } else {
      this.#wake(stream);
    }
  }

  // ---- streams ----

  #open(id: number): H2Stream {
    const stream = new H2Stream(this, id, this.#peerStreamWindow, this.#settings.streamWindow);
    this.streams.set(id, stream);
    return stream;
  }

  #settle(stream: H2Stream): void {
    if (stream.localEnded && stream.remoteEnded) this.#remove(stream);
  }

  #remove(stream: H2Stream, failure?: StreamFailure): void {
    if (stream.gone) return;
    stream.gone = true;
    this.streams.delete(stream.id);
    this.#blocked.delete(stream);
    stream.pending.length = 0;
    stream.pendingBytes = 0;
    stream.sink?.closed(failure);
    this.#handlers.streamEnded?.();
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (this.goingAway && this.streams.size === 0) this.close(h2Error.noError, 'drained', false);
  }

  // ---- receiving ----

  /** Bytes from the transport, in any division. */
  receive(chunk: Buffer): void {
    let at = 0;
    if (this.#prefaceLeft > 0) {
      at = Math.min(this.#prefaceLeft, chunk.length);
      const offset = preface.length - this.#prefaceLeft;
      if (chunk.compare(preface, offset, offset + at, 0, at) !== 0) {
        this.close(h2Error.protocolError, 'the peer does not speak HTTP/2');
        return;
      }
      this.#prefaceLeft -= at;
    }
    while (at < chunk.length && !this.closed) {
      if (this.#headLength < frameHeaderSize) {
        if (this.#headLength === 0 && chunk.length - at >= frameHeaderSize) {
          this.#readHead(chunk, at);
          at += frameHeaderSize;
          this.#headLength = frameHeaderSize;
        } else {
          const part = Math.min(frameHeaderSize - this.#headLength, chunk.length - at);
          chunk.copy(this.#head, this.#headLength, at, at + part);
          this.#headLength += part;
          at += part;
          if (this.#headLength < frameHeaderSize) return;
          this.#readHead(this.#head, 0);
        }
        if (this.closed) return;
        if (this.#payloadLeft === 0 && (this.#flags & flag.padded) === 0) {
          this.#headLength = 0;
          this.#frameEnded(Buffer.alloc(0));
        }
        continue;
      }
      const part = Math.min(this.#payloadLeft, chunk.length - at);
      const bytes = chunk.subarray(at, at + part);
      at += part;
      this.#payloadLeft -= part;
      const last = this.#payloadLeft === 0;
      if (last) this.#headLength = 0;
      if (this.#type === frameType.data) this.#dataBytes(bytes, last);
      else this.#controlBytes(bytes, last);
    }
  }

  #readHead(bytes: Buffer, at: number): void {
    const length =
      ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    this.#type = bytes[at + 3] as number;
    this.#flags = bytes[at + 4] as number;
    this.#stream = bytes.readUInt32BE(at + 5) & maxStreamId;
    this.#payloadLeft = length;
    this.#padding = -1;
    if (length > this.#settings.maxFrameSize)
      this.close(h2Error.frameSizeError, `a frame of ${length} bytes`);
    else if (this.#type !== frameType.data && length > controlLimit) {
      this.close(h2Error.enhanceYourCalm, `a frame of type ${this.#type} with ${length} bytes`);
    } else if (!this.#settingsSeen && this.#type !== frameType.settings) {
      this.close(h2Error.protocolError, 'the first frame is not SETTINGS');
    } else if (
      this.#block !== undefined &&
      (this.#type !== frameType.continuation || this.#stream !== this.#block.stream)
    ) {
      this.close(h2Error.protocolError, 'a header block is interrupted');
    } else if (this.#type === frameType.data) {
      this.#dataHead(length);
    }
    // PADDED means nothing on other frames than DATA and HEADERS.
    if (this.#type !== frameType.data && this.#type !== frameType.headers) this.#flags &= ~flag.padded;
  }

  #controlBytes(bytes: Buffer, last: boolean): void {
    if (this.#control === undefined) {
      if (last) {
        this.#frameEnded(bytes);
        return;
      }
      this.#control = Buffer.allocUnsafe(bytes.length + this.#payloadLeft);
      this.#controlLength = 0;
    }
    bytes.copy(this.#control, this.#controlLength);
    this.#controlLength += bytes.length;
    if (!last) return;
    const whole = this.#control;
    this.#control = undefined;
    this.#frameEnded(whole);
  }

  #dataHead(length: number): void {
    if (this.#stream === 0) {
      this.close(h2Error.protocolError, 'DATA on stream 0');
      return;
    }
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      this.close(h2Error.flowControlError, 'the connection window is overrun');
      return;
    }
    const stream = this.streams.get(this.#stream);
    if (stream === undefined) {
      if (this.#isIdle(this.#stream))
        this.close(h2Error.protocolError, `DATA on idle stream ${this.#stream}`);
      return;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) this.resetStream(stream, h2Error.flowControlError);
    else if (stream.remoteEnded) this.resetStream(stream, h2Error.streamClosed);
  }

  #dataBytes(bytes: Buffer, last: boolean): void {
    const length = bytes.length;
    if ((this.#flags & flag.padded) !== 0 && this.#padding < 0 && length > 0) {
      this.#padding = bytes[0] as number;
      bytes = bytes.subarray(1);
      if (this.#padding > bytes.length + this.#payloadLeft) {
        this.close(h2Error.protocolError, 'padding is longer than the frame');
        return;
      }
    }
    if (this.#padding > 0)
      bytes = bytes.subarray(0, Math.max(0, bytes.length - Math.max(0, this.#padding - this.#payloadLeft)));
    const stream = this.streams.get(this.#stream);
    if (stream?.sink === undefined || stream.gone) {
      this.creditConnection(length);
    } else {
      if (bytes.length > 0) stream.sink.data(bytes);
      if (bytes.length < length) stream.consumed(length - bytes.length);
    }
    if (last) this.#dataEnded();
  }

  #dataEnded(): void {
    const stream = this.streams.get(this.#stream);
    if (stream !== undefined && (this.#flags & flag.endStream) !== 0) this.#remoteEnded(stream);
  }

  #remoteEnded(stream: H2Stream): void {
    if (stream.remoteEnded || stream.gone) return;
    stream.remoteEnded = true;
    stream.sink?.ended();
    this.#settle(stream);
  }

  /** Odd streams are the client's; one that was never opened is idle. */
  #isIdle(id: number): boolean {
    const own = (id & 1) === (this.role === 'client' ? 1 : 0);
    return own ? id >= this.#nextStream : id > this.#lastPeerStream;
  }

  #frameEnded(payload: Buffer): void {
    switch (this.#type) {
      case frameType.data:
        this.#dataEnded();
        return;
      case frameType.headers:
        this.#onHeaders(payload);
        return;
      case frameType.continuation:
        this.#onContinuation(payload);
        return;
      case frameType.settings:
        this.#onSettings(payload);
        return;
      case frameType.windowUpdate:
        this.#onWindowUpdate(payload);
        return;
      case frameType.rstStream:
        this.#onReset(payload);
        return;
      case frameType.ping:
        this.#onPing(payload);
        return;
      case frameType.goaway:
        this.#onGoaway(payload);
        return;
      case frameType.pushPromise:
        this.close(h2Error.protocolError, 'PUSH_PROMISE although push is off');
        return;
      default: // PRIORITY and unknown types mean nothing to us (RFC 9113, 5.5).
    }
  }

  #onHeaders(payload: Buffer): void {
    if (this.#stream === 0) {
      this.close(h2Error.protocolError, 'HEADERS on stream 0');
      return;
    }
    let start = 0;
    let end = payload.length;
    if ((this.#flags & flag.padded) !== 0) {
      end -= payload[0] ?? 0;
      start = 1;
    }
    if ((this.#flags & flag.priority) !== 0) start += 5;
    if (start > end || payload.length === 0) {
      this.close(h2Error.protocolError, 'padding or priority is longer than the frame');
      return;
    }
    const part = payload.subarray(start, end);
    this.#block = { stream: this.#stream, flags: this.#flags, parts: [part], size: part.length };
    if ((this.#flags & flag.endHeaders) !== 0) this.#blockEnded();
  }

  #onContinuation(payload: Buffer): void {
    const block = this.#block;
    if (block === undefined) {
      this.close(h2Error.protocolError, 'CONTINUATION without HEADERS');
      return;
    }
    block.parts.push(payload);
    block.size += payload.length;
    if (block.parts.length > maxContinuations || block.size > controlLimit) {
      this.close(h2Error.enhanceYourCalm, 'a header block without end');
      return;
    }
    if ((this.#flags & flag.endHeaders) !== 0) this.#blockEnded();
  }

  #blockEnded(): void {
    const block = this.#block as HeaderBlock;
    this.#block = undefined;
    let headers: HeaderList;
    try {
      // The block is decoded even if its stream is gone: the table is shared by all.
      headers = this.#decoder.decode(
        block.parts.length === 1 ? (block.parts[0] as Buffer) : Buffer.concat(block.parts),
      );
    } catch (error) {
      if (!(error instanceof CompressionError)) throw error;
      this.close(h2Error.compressionError, error.message);
      return;
    }
    const ended = (block.flags & flag.endStream) !== 0;
    const stream = this.streams.get(block.stream);
    if (stream !== undefined) this.#onStreamHeaders(stream, headers, ended);
    else if (this.role === 'client') {
      if (this.#isIdle(block.stream))
        this.close(h2Error.protocolError, `HEADERS on idle stream ${block.stream}`);
    } else this.#onRequest(block.stream, headers, ended);
  }

  #onStreamHeaders(stream: H2Stream, headers: HeaderList, ended: boolean): void {
    if (stream.remoteEnded) {
      this.resetStream(stream, h2Error.streamClosed);
      return;
    }
    // A server's stream has had its request, so these are trailers, which must end it (RFC 9113, 8.1).
    if (this.role === 'server' || stream.headersSeen) {
      if (ended) this.#remoteEnded(stream);
      else this.resetStream(stream, h2Error.protocolError);
      return;
    }
    const status = headers.find(([name]) => name === ':status')?.[1] ?? '';
    if (!status.startsWith('1')) stream.headersSeen = true;
    stream.sink?.headers?.(headers);
    if (ended) this.#remoteEnded(stream);
  }

  #onRequest(id: number, headers: HeaderList, ended: boolean): void {
    if ((id & 1) === 0) {
      this.close(h2Error.protocolError, `a request on stream ${id}`);
      return;
    }
    if (id <= this.#lastPeerStream) {
      // Late headers for a stream that is over here: the peer may not know yet.
      return;
    }
    if (this.goingAway) return;
    this.#lastPeerStream = id;
    if (this.streams.size >= this.#settings.maxConcurrentStreams) {
      this.output.rstStream(id, h2Error.refusedStream);
      this.#handlers.flush();
      return;
    }
    const stream = this.#open(id);
    stream.headersSeen = true;
    stream.remoteEnded = ended;
    this.#handlers.request?.(stream, headers, ended);
  }

  #onSettings(payload: Buffer): void {
    if (this.#stream !== 0 || payload.length % 6 !== 0) {
      this.close(h2Error.frameSizeError, 'malformed SETTINGS');
      return;
    }
    const first = !this.#settingsSeen;
    this.#settingsSeen = true;
    if ((this.#flags & flag.ack) !== 0) return;
    let tableLimit = first ? 4096 : undefined;
    for (let at = 0; at < payload.length; at += 6) {
      const id = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (id === setting.headerTableSize) tableLimit = value;
      else if (id === setting.maxConcurrentStreams) this.peerMaxConcurrent = value;
      else if (id === setting.maxFrameSize) {
        if (value < 16384 || value > 16777215) {
          this.close(h2Error.protocolError, `SETTINGS_MAX_FRAME_SIZE ${value}`);
          return;
        }
        this.#peerMaxFrame = value;
      } else if (id === setting.initialWindowSize && !this.#onInitialWindow(value)) return;
    }
    if (tableLimit !== undefined) this.#encoder.setTableLimit(tableLimit);
    this.output.settingsAck();
    this.#handlers.flush();
    this.#handlers.streamEnded?.();
  }

  #onInitialWindow(value: number): boolean {
    if (value > maxWindow) {
      this.close(h2Error.flowControlError, `SETTINGS_INITIAL_WINDOW_SIZE ${value}`);
      return false;
    }
    const change = value - this.#peerStreamWindow;
    this.#peerStreamWindow = value;
    for (const stream of this.streams.values()) stream.sendWindow += change;
    if (change > 0) for (const stream of this.#blocked) this.#resume(stream);
    return true;
  }

  #onWindowUpdate(payload: Buffer): void {
    if (payload.length !== 4) {
      this.close(h2Error.frameSizeError, 'malformed WINDOW_UPDATE');
      return;
    }
    const increment = payload.readUInt32BE(0) & maxWindow;
    if (this.#stream === 0) {
      this.#sendWindow += increment;
      if (increment === 0 || this.#sendWindow > maxWindow) {
        this.close(
          increment === 0 ? h2Error.protocolError : h2Error.flowControlError,
          `WINDOW_UPDATE by ${increment}`,
        );
        return;
      }
      for (const stream of this.#blocked) {
        if (this.#sendWindow <= 0) return;
        this.#resume(stream);
      }
      return;
    }
    const stream = this.streams.get(this.#stream);
    if (stream === undefined) {
      if (this.#isIdle(this.#stream))
        this.close(h2Error.protocolError, `WINDOW_UPDATE on idle stream ${this.#stream}`);
      return;
    }
    stream.sendWindow += increment;
    if (increment === 0) this.resetStream(stream, h2Error.protocolError);
    else if (stream.sendWindow > maxWindow) this.resetStream(stream, h2Error.flowControlError);
    else if (stream.pendingBytes > 0) this.#resume(stream);
  }

  #onReset(payload: Buffer): void {
    if (payload.length !== 4 || this.#stream === 0) {
      this.close(h2Error.frameSizeError, 'malformed RST_STREAM');
      return;
    }
    const stream = this.streams.get(this.#stream);
    if (stream === undefined) {
      if (this.#isIdle(this.#stream))
        this.close(h2Error.protocolError, `RST_STREAM on idle stream ${this.#stream}`);
      return;
    }
    const code = payload.readUInt32BE(0);
    // NO_ERROR after a whole answer only says that the rest of our bytes is not wanted (RFC 9113, 8.1).
    if (code === h2Error.noError && stream.remoteEnded) this.#remove(stream);
    else if (code === h2Error.refusedStream)
      this.#remove(stream, { kind: 'refused', code, message: 'refused by the peer' });
    else this.#remove(stream, { kind: 'reset', code, message: `reset by the peer: ${h2ErrorName(code)}` });
  }

  #onPing(payload: Buffer): void {
    if (payload.length !== 8 || this.#stream !== 0) {
      this.close(h2Error.frameSizeError, 'malformed PING');
      return;
    }
    if ((this.#flags & flag.ack) !== 0) {
      this.#handlers.alive?.();
      return;
    }
    this.output.ping(payload, true);
    this.#handlers.flush();
  }

  #onGoaway(payload: Buffer): void {
    if (payload.length < 8 || this.#stream !== 0) {
      this.close(h2Error.frameSizeError, 'malformed GOAWAY');
      return;
    }
    const last = payload.readUInt32BE(0) & maxStreamId;
    const code = payload.readUInt32BE(4);
    this.goingAway = true;
    this.#handlers.goingAway?.();
    if (this.role === 'client') {
      const refused: StreamFailure = {
        kind: 'refused',
        code,
        message: `the peer goes away: ${h2ErrorName(code)}`,
      };
      for (const stream of this.streams.values()) if (stream.id > last) this.#remove(stream, refused);
    }
    this.#closeIfDrained();
  }
}
