// An HTTP/2 connection (RFC 9113) as far as a tunnel needs it: many byte streams over one transport, no push,
// no priorities. Bytes in, events and bytes out; knows nothing of sockets or TLS. Every buffer has a limit:
// data by the windows, control answers by the transport's back-pressure, header blocks by size and count.
import { FrameReader } from './frame-reader.ts';
import { flag, FrameWriter, frameType, h2Error, h2ErrorName, maxStreamId, maxWindow } from './frames.ts';
import { malformedHeaders } from './header-rules.ts';
import { CompressionError, HeadersTooLarge, HpackDecoder, HpackEncoder, type HeaderList } from './hpack.ts';
import { ReceiveWindow } from './receive-window.ts';
import { SendFlow } from './send-flow.ts';
import type { SessionHandlers, SessionSettings } from './session-interface.ts';
import { firstWindow, greet, readSettings } from './settings-frame.ts';
import { H2Stream, type StreamFailure } from './stream.ts';

type Role = 'client' | 'server';

export class H2Session {
  readonly role: Role;
  readonly output: FrameWriter = new FrameWriter();
  readonly streams: Map<number, H2Stream> = new Map();
  /** Streams that the peer lets us have open; a guess until its settings are here. */
  peerMaxConcurrent = 100;
  /** Number of the next stream that we open: it goes up to 2^31−1 and no further. */
  nextStream: number;
  goingAway = false;
  /** Why the peer goes away, in its GOAWAY's words, if it says so. */
  peerError: string | undefined;
  closed = false;

  readonly #settings: SessionSettings;
  readonly #handlers: SessionHandlers;
  readonly #flow: SendFlow;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #encoder = new HpackEncoder();
  readonly #receiveWindow: ReceiveWindow;
  /** The highest stream that the peer has opened, and the highest that was looked at: they part after our GOAWAY. */
  #lastPeerStream = 0;
  #lastTaken = 0;
  #goawaySent = false;
  #settingsSeen = false;

  /** @param outputLimit bytes of data that may gather in `output` before the streams are told to wait */
  constructor(
    role: Role,
    settings: SessionSettings,
    handlers: SessionHandlers,
    outputLimit = 4 * 1024 * 1024,
  ) {
    this.role = role;
    this.#settings = settings;
    this.#handlers = handlers;
    this.#flow = new SendFlow(this.output, outputLimit, {
      flush: () => handlers.flush(),
      ended: (stream) => this.#settle(stream),
    });
    this.#decoder = new HpackDecoder(settings.maxHeaderListSize);
    this.nextStream = role === 'client' ? 1 : 2;
    const connectionWindow = Math.max(firstWindow, settings.connectionWindow);
    this.#receiveWindow = new ReceiveWindow(connectionWindow, connectionWindow);
    this.#reader = new FrameReader(role === 'server', settings.maxFrameSize, {
      dataHead: (id, length) => this.#onDataHead(id, length),
      dataBytes: (id, bytes, used) => this.#onDataBytes(id, bytes, used),
      dataEnd: (id, ended) => this.#onDataEnd(id, ended),
      headerBlock: (id, block, ended) => this.#onHeaderBlock(id, block, ended),
      control: (type, flags, id, payload) => this.#onControl(type, flags, id, payload),
      malformed: (code, message) => this.close(code, message),
    });
    greet(this.output, role, settings);
  }

  /** Streams that can be opened now. */
  get freeStreams(): number {
    if (this.closed || this.goingAway || this.nextStream > maxStreamId) return 0;
    return Math.max(0, this.peerMaxConcurrent - this.streams.size);
  }

  /** Bytes from the transport, in any division. */
  receive(chunk: Buffer): void {
    this.#reader.read(chunk);
  }

  /**
   * Client: opens a stream with a request that has a body to come. A session that takes no more streams gives one
   * that is told later that it was refused.
   */
  request(headers: HeaderList): H2Stream {
    if (this.closed || this.goingAway || this.nextStream > maxStreamId) return this.#refused();
    const stream = this.#open(this.nextStream);
    this.nextStream += 2;
    this.output.headers(stream.id, this.#encoder.encode(headers), false, this.#flow.maxFrame);
    this.#handlers.flush();
    return stream;
  }

  #refused(): H2Stream {
    const stream = new H2Stream(this, 0, 0, new ReceiveWindow(0, 0));
    stream.gone = true;
    const code = h2Error.refusedStream;
    queueMicrotask(() => stream.sink?.closed({ kind: 'refused', code, message: 'the connection is ending' }));
    return stream;
  }

  respond(stream: H2Stream, headers: HeaderList, end: boolean): void {
    if (stream.gone || stream.localEnded) return;
    this.output.headers(stream.id, this.#encoder.encode(headers), end, this.#flow.maxFrame);
    if (end) {
      stream.localEnded = true;
      this.#settle(stream);
    }
    this.#handlers.flush();
  }

  writeData(stream: H2Stream, chunk: Buffer): boolean {
    if (stream.gone || stream.localEnded || stream.endPending) return true;
    return this.#flow.write(stream, chunk);
  }

  endStream(stream: H2Stream): void {
    if (stream.gone || stream.localEnded || stream.endPending) return;
    this.#flow.end(stream);
  }

  resetStream(stream: H2Stream, code: number): void {
    if (stream.gone) return;
    this.output.rstStream(stream.id, code);
    this.#handlers.flush();
    this.#remove(stream, { kind: 'reset', code, message: 'stream was reset here' });
  }

  creditConnection(bytes: number): void {
    const increment = this.#receiveWindow.credit(bytes);
    if (increment > 0) this.sendCredit(0, increment);
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
    if (this.closed || this.#goawaySent) return;
    this.goingAway = this.#goawaySent = true;
    this.output.goaway(this.#lastTaken, h2Error.noError);
    this.#handlers.flush();
    this.#closeIfDrained();
  }

  /** Ends the connection and every stream on it. Also told when the transport has failed. */
  close(code: number, message: string, tellPeer = true): void {
    if (this.closed) return;
    this.closed = true;
    this.#reader.stop();
    if (tellPeer) {
      this.output.goaway(this.#lastTaken, code, message.slice(0, 200));
      this.#handlers.flush();
    }
    for (const stream of this.streams.values()) this.#remove(stream, { kind: 'session', code, message });
    this.#handlers.closed(code === h2Error.noError ? undefined : { code, message });
  }

  /** The transport takes no more for now: data waits in its streams. */
  get congested(): boolean {
    return this.#flow.congested;
  }

  /** Tells whether the transport takes more. Called after each write, and when the transport has drained. */
  setCongested(congested: boolean): void {
    this.#flow.setCongested(congested, this.streams.values());
  }

  // ---- streams ----

  #open(id: number): H2Stream {
    // Until the peer has read our settings it may use the window that it started with.
    const { streamWindow } = this.#settings;
    const receiveWindow = new ReceiveWindow(Math.max(firstWindow, streamWindow), streamWindow);
    const stream = new H2Stream(this, id, this.#flow.streamWindow, receiveWindow);
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
    this.#flow.drop(stream);
    stream.sink?.closed(failure);
    this.#handlers.streamEnded?.();
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (this.goingAway && this.streams.size === 0) this.close(h2Error.noError, 'drained', false);
  }

  /** Odd streams are the client's; one that was never opened is idle. */
  #isIdle(id: number): boolean {
    const own = (id & 1) === (this.role === 'client' ? 1 : 0);
    return own ? id >= this.nextStream : id > this.#lastPeerStream;
  }

  /** The stream of a frame; none if it is over here. A frame on a stream that never was ends the connection. */
  #find(id: number, frame: string): H2Stream | undefined {
    const stream = this.streams.get(id);
    if (stream === undefined && this.#isIdle(id))
      this.close(h2Error.protocolError, `${frame} on idle stream ${id}`);
    return stream;
  }

  #onDataHead(id: number, length: number): void {
    if (!this.#receiveWindow.take(length)) {
      this.close(h2Error.flowControlError, 'the connection window is overrun');
      return;
    }
    const stream = this.#find(id, 'DATA');
    if (stream === undefined) return;
    if (!stream.receiveWindow.take(length)) this.resetStream(stream, h2Error.flowControlError);
    else if (stream.remoteEnded) this.resetStream(stream, h2Error.streamClosed);
    else if (!stream.headersSeen) this.resetStream(stream, h2Error.protocolError);
  }

  #onDataBytes(id: number, bytes: Buffer, used: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined) {
      this.creditConnection(used);
      return;
    }
    if (stream.sink === undefined) {
      stream.consumed(used);
      return;
    }
    if (bytes.length > 0) stream.sink.data(bytes);
    if (bytes.length < used) stream.consumed(used - bytes.length);
  }

  #onDataEnd(id: number, ended: boolean): void {
    const stream = ended ? this.streams.get(id) : undefined;
    if (stream !== undefined) this.#onRemoteEnd(stream);
  }

  #onRemoteEnd(stream: H2Stream): void {
    if (stream.remoteEnded || stream.gone) return;
    stream.remoteEnded = true;
    stream.sink?.ended();
    this.#settle(stream);
  }

  #onHeaderBlock(id: number, block: Buffer, ended: boolean): void {
    let headers: HeaderList | undefined;
    try {
      // The block is decoded even if its stream is gone: the table is shared by all.
      headers = this.#decoder.decode(block);
    } catch (error) {
      if (error instanceof CompressionError) {
        this.close(h2Error.compressionError, error.message);
        return;
      }
      if (!(error instanceof HeadersTooLarge)) throw error;
    }
    const stream = this.streams.get(id);
    if (stream !== undefined) this.#onStreamHeaders(stream, headers, ended);
    else if (this.role === 'client') this.#find(id, 'HEADERS');
    else this.#onRequest(id, headers, ended);
  }

  #onStreamHeaders(stream: H2Stream, headers: HeaderList | undefined, ended: boolean): void {
    // A server's stream has had its request, so these are trailers, which must end it (RFC 9113, 8.1).
    const trailers = this.role === 'server' || stream.headersSeen;
    if (stream.remoteEnded) this.resetStream(stream, h2Error.streamClosed);
    else if (headers === undefined) this.resetStream(stream, h2Error.enhanceYourCalm);
    else if (
      malformedHeaders(headers, trailers ? 'trailers' : 'response') !== undefined ||
      (trailers && !ended)
    )
      this.resetStream(stream, h2Error.protocolError);
    else {
      if (!trailers) {
        stream.headersSeen = headers[0]?.[1].startsWith('1') === false;
        stream.sink?.headers?.(headers);
      }
      if (ended) this.#onRemoteEnd(stream);
    }
  }

  #onRequest(id: number, headers: HeaderList | undefined, ended: boolean): void {
    if ((id & 1) === 0) {
      this.close(h2Error.protocolError, `a request on stream ${id}`);
      return;
    }
    // Late headers for a stream that is over here: the peer may not know yet.
    if (id <= this.#lastPeerStream) return;
    this.#lastPeerStream = id;
    // Our GOAWAY has named a lower stream, so the peer knows that this one was not looked at.
    if (this.#goawaySent) return;
    this.#lastTaken = id;
    const stream = this.#open(id);
    stream.headersSeen = true;
    stream.remoteEnded = ended;
    if (this.streams.size > this.#settings.maxConcurrentStreams || this.#handlers.request === undefined)
      this.resetStream(stream, h2Error.refusedStream);
    else if (headers === undefined) this.resetStream(stream, h2Error.enhanceYourCalm);
    else if (malformedHeaders(headers, 'request') !== undefined)
      this.resetStream(stream, h2Error.protocolError);
    else this.#handlers.request(stream, headers, ended);
  }

  #onControl(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case frameType.settings:
        if ((flags & flag.ack) === 0) this.#onSettings(payload);
        return;
      case frameType.windowUpdate:
        this.#onWindowUpdate(id, payload.readUInt32BE(0) & maxWindow);
        return;
      case frameType.rstStream:
        this.#onReset(id, payload.readUInt32BE(0));
        return;
      case frameType.ping:
        if ((flags & flag.ack) !== 0) {
          this.#handlers.alive?.();
          return;
        }
        this.output.ping(payload, true);
        this.#handlers.flush();
        return;
      case frameType.goaway:
        this.#onGoaway(payload.readUInt32BE(0) & maxStreamId, payload.readUInt32BE(4));
        return;
      default:
    }
  }

  #onSettings(payload: Buffer): void {
    const settings = readSettings(payload, this.role);
    if (settings.error !== undefined) {
      this.close(settings.error.code, settings.error.message);
      return;
    }
    for (const size of settings.tableLimits) this.#encoder.setTableLimit(size);
    // A peer that names no limit has none.
    const limit = this.#settingsSeen ? this.peerMaxConcurrent : maxStreamId;
    this.peerMaxConcurrent = settings.maxConcurrentStreams ?? limit;
    this.#settingsSeen = true;
    this.#flow.maxFrame = settings.maxFrame ?? this.#flow.maxFrame;
    this.output.settingsAck();
    this.#handlers.flush();
    const { initialWindow } = settings;
    if (initialWindow !== undefined && !this.#flow.setStreamWindow(initialWindow, this.streams))
      this.close(h2Error.flowControlError, `SETTINGS_INITIAL_WINDOW_SIZE ${initialWindow} on top of credit`);
    else this.#handlers.streamEnded?.();
  }

  #onWindowUpdate(id: number, increment: number): void {
    if (id === 0) {
      if (increment === 0) this.close(h2Error.protocolError, 'WINDOW_UPDATE by 0');
      else if (!this.#flow.creditConnection(increment))
        this.close(h2Error.flowControlError, `WINDOW_UPDATE by ${increment}`);
      return;
    }
    const stream = this.#find(id, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) this.resetStream(stream, h2Error.protocolError);
    else if (!this.#flow.creditStream(stream, increment)) this.resetStream(stream, h2Error.flowControlError);
  }

  #onReset(id: number, code: number): void {
    const stream = this.#find(id, 'RST_STREAM');
    if (stream === undefined) return;
    // NO_ERROR after a whole answer only says that the rest of our bytes is not wanted (RFC 9113, 8.1).
    if (code === h2Error.noError && stream.remoteEnded) this.#remove(stream);
    else if (code === h2Error.refusedStream && !stream.headersSeen)
      this.#remove(stream, { kind: 'refused', code, message: 'refused by the peer' });
    else this.#remove(stream, { kind: 'reset', code, message: `reset by the peer: ${h2ErrorName(code)}` });
  }

  #onGoaway(last: number, code: number): void {
    this.goingAway = true;
    if (code !== h2Error.noError) this.peerError = h2ErrorName(code);
    this.#handlers.goingAway?.();
    if (this.role === 'client') {
      const message = `the peer goes away: ${h2ErrorName(code)}`;
      for (const stream of this.streams.values())
        if (stream.id > last) this.#remove(stream, { kind: 'refused', code, message });
    }
    this.#closeIfDrained();
  }
}
