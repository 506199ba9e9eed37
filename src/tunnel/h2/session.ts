// An HTTP/2 connection (RFC 9113): many streams over one transport, no push, no priorities. Bytes in, events and bytes out; knows nothing of sockets or TLS. Every buffer has a limit:
// data by the windows, control answers by the transport's back-pressure, header blocks by size and count.
import { ControlFrames } from './control-frames.ts';
import { FloodGuard, type Work } from './flood-guard.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { FrameWriter, h2Error, maxStreamId } from './frames.ts';
import { faultOfHeaders, HeaderIntake, isInformational, type DecodedHeaders } from './header-intake.ts';
import { malformedHeaders } from './header-rules.ts';
import { HpackEncoder, type HeaderList } from './hpack.ts';
import { ReceiveWindow } from './receive-window.ts';
import { SendFlow } from './send-flow.ts';
import type { SessionHandlers, SessionSettings } from './session-interface.ts';
import { firstWindow, greet } from './settings-frame.ts';
import { StreamNumbers } from './stream-numbers.ts';
import { H2Stream, type StreamFailure } from './stream.ts';

type Role = 'client' | 'server';
type WholeHeaders = Extract<DecodedHeaders, { readonly whole: boolean }>;

export class H2Session {
  readonly role: Role;
  readonly output: FrameWriter = new FrameWriter();
  readonly streams: Map<number, H2Stream> = new Map();
  /** Streams that the peer lets us have open; a guess until its settings are here. */
  peerMaxConcurrent = 100;
  /** The peer's settings are here. */
  settingsSeen = false;
  /** The peer takes `:protocol` (RFC 8441). */
  peerConnectProtocol = false;
  readonly numbers: StreamNumbers;
  goingAway = false;
  /** Why the peer goes away, in its GOAWAY's words, if it says so. */
  peerError: string | undefined;
  closed = false;

  readonly #settings: SessionSettings;
  readonly #handlers: SessionHandlers;
  readonly #flow: SendFlow;
  readonly #reader: FrameReader;
  readonly #intake: HeaderIntake;
  readonly #encoder = new HpackEncoder();
  readonly #receiveWindow: ReceiveWindow;
  readonly #guard: FloodGuard | undefined;
  #endedInOrder = 0;
  #goawaySent = false;

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
      trailers: ({ id, trailers }) =>
        this.output.headers(id, this.#encoder.encode(trailers ?? []), true, this.#flow.maxFrame),
      ended: (stream) => this.#onLocalEnd(stream),
    });
    this.#intake = new HeaderIntake(settings.maxHeaderListSize);
    this.numbers = new StreamNumbers(role === 'client');
    this.#guard =
      settings.flood &&
      new FloodGuard(
        settings.flood,
        () => this.#work(),
        (message) => this.close(h2Error.enhanceYourCalm, message),
      );
    const connectionWindow = Math.max(firstWindow, settings.connectionWindow);
    this.#receiveWindow = new ReceiveWindow(connectionWindow, connectionWindow);
    const control = new ControlFrames(this, {
      flow: this.#flow,
      encoder: this.#encoder,
      guard: this.#guard,
      handlers,
      find: (id, frame) => this.#find(id, frame),
      fault: (stream, code, message) => this.fault(stream, code, message),
      remove: (stream, failure) => this.#remove(stream, failure),
      closeIfDrained: () => this.#closeIfDrained(),
    });
    const sink = {
      dataHead: (id, length) => this.#onDataHead(id, length),
      dataBytes: (id, bytes, used) => this.#onDataBytes(id, bytes, used),
      dataEnd: (id, ended) => this.#onDataEnd(id, ended),
      headerBlock: (id, block, ended) => this.#onHeaderBlock(id, block, ended),
      control: (type, flags, id, payload) => control.receive(type, flags, id, payload),
      ignored: () => this.#guard?.emptyFrame(),
      malformed: (code, message) => this.close(code, message),
    } satisfies FrameSink;
    this.#reader = new FrameReader(
      role === 'server',
      settings.maxFrameSize,
      sink,
      settings.maxHeaderListSize,
    );
    greet(this.output, role, settings);
  }

  /** Streams that can be opened now. */
  get freeStreams(): number {
    if (this.closed || this.goingAway || this.numbers.usedUp) return 0;
    return Math.max(0, this.peerMaxConcurrent - this.streams.size);
  }

  /** What the peer has begun and owes the rest of, as FrameReader has it. */
  get owed(): number | undefined {
    return this.closed ? undefined : this.#reader.owed;
  }

  /** Bytes from the transport, in any division. */
  receive(chunk: Buffer): void {
    this.#reader.read(chunk);
  }

  /**
   * Client: opens a stream with a request; `end`: one without a body. A session that takes no more streams gives one
   * that is told later that it was refused.
   */
  request(headers: HeaderList, end = false): H2Stream {
    if (this.closed || this.goingAway || this.numbers.usedUp) return this.refused();
    const stream = this.#open(this.numbers.next);
    this.numbers.next += 2;
    stream.localEnded = end;
    this.output.headers(stream.id, this.#encoder.encode(headers), end, this.#flow.maxFrame);
    this.#handlers.flush();
    return stream;
  }

  /** A stream that never was, and is told so later. */
  refused(message = 'the connection is ending'): H2Stream {
    const stream = new H2Stream(this, 0, 0, new ReceiveWindow(0, 0));
    stream.gone = true;
    const code = h2Error.refusedStream;
    queueMicrotask(() => stream.sink?.closed({ kind: 'refused', code, message }));
    return stream;
  }

  /** Headers of an answer: informational ones first, if any. */
  respond(stream: H2Stream, headers: HeaderList, end: boolean): void {
    if (stream.gone || stream.localEnded) return;
    this.output.headers(stream.id, this.#encoder.encode(headers), end, this.#flow.maxFrame);
    this.#handlers.flush();
    if (!end) return;
    stream.localEnded = true;
    this.#onLocalEnd(stream);
  }

  writeData(stream: H2Stream, chunk: Buffer): boolean {
    if (stream.gone || stream.localEnded || stream.endPending) return true;
    return this.#flow.write(stream, chunk);
  }

  endStream(stream: H2Stream): void {
    if (stream.gone || stream.localEnded || stream.endPending) return;
    this.#flow.end(stream);
  }

  resetStream(stream: H2Stream, code: number, message = 'stream was reset here'): void {
    if (stream.gone) return;
    this.output.rstStream(stream.id, code);
    this.#handlers.flush();
    this.#remove(stream, { kind: 'reset', code, message, local: true });
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
    this.output.goaway(this.numbers.lastTaken, h2Error.noError);
    this.#handlers.flush();
    this.#closeIfDrained();
  }

  /** Server: says that a drain comes, and refuses nobody yet, so that requests under way are taken (RFC 9113, 6.8). */
  announceDrain(): void {
    if (this.closed || this.#goawaySent) return;
    this.output.goaway(maxStreamId, h2Error.noError);
    this.ping();
  }

  /** Ends the connection and every stream on it. Also told when the transport has failed. */
  close(code: number, message: string, tellPeer = true): void {
    if (this.closed) return;
    this.closed = true;
    this.#reader.stop();
    if (tellPeer) {
      this.output.goaway(this.numbers.lastTaken, code, message.slice(0, 200));
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

  #onLocalEnd(stream: H2Stream): void {
    if (stream.remoteEnded) this.#settle(stream);
    else stream.sink?.sent?.();
  }

  #settle(stream: H2Stream): void {
    if (stream.gone || !stream.localEnded || !stream.remoteEnded) return;
    this.#endedInOrder++;
    this.#remove(stream);
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

  // ---- what the peer may not do ----

  #work(): Work {
    const { next, lastPeer } = this.numbers;
    return {
      streams: (next + lastPeer) >> 1,
      endedInOrder: this.#endedInOrder,
      dataLaid: this.#flow.laid,
    };
  }

  /** The peer has broken a rule on a stream: it is reset, which counts against the peer. */
  fault(stream: H2Stream, code: number, message: string): void {
    this.resetStream(stream, code, message);
    this.#guard?.givenUp();
  }

  /** The stream of a frame; none if it is over here. A frame on a stream that never was ends the connection. */
  #find(id: number, frame: string): H2Stream | undefined {
    const stream = this.streams.get(id);
    if (stream === undefined && this.numbers.isIdle(id))
      this.close(h2Error.protocolError, `${frame} on idle stream ${id}`);
    return stream;
  }

  #onDataHead(id: number, length: number): void {
    if (!this.#receiveWindow.take(length)) {
      this.close(h2Error.flowControlError, 'the connection window is overrun');
      return;
    }
    if (length === 0) this.#guard?.emptyFrame();
    const stream = this.#find(id, 'DATA');
    if (stream === undefined) return;
    if (!stream.receiveWindow.take(length))
      this.fault(stream, h2Error.flowControlError, "the stream's window is overrun");
    else if (stream.remoteEnded) this.fault(stream, h2Error.streamClosed, 'DATA after the end');
    else if (!stream.headersSeen) this.fault(stream, h2Error.protocolError, 'DATA before the headers');
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
    // The block is decoded even if its stream is gone: the table is shared by all.
    const decoded = this.#intake.decode(block);
    if (decoded.headers === undefined) {
      this.close(h2Error.compressionError, decoded.message);
      return;
    }
    const stream = this.streams.get(id);
    if (stream !== undefined) this.#onStreamHeaders(stream, decoded, ended);
    else if (this.role === 'client') this.#find(id, 'HEADERS');
    else this.#onRequest(id, decoded, ended);
  }

  #onStreamHeaders(stream: H2Stream, decoded: WholeHeaders, ended: boolean): void {
    if (stream.remoteEnded) {
      this.fault(stream, h2Error.streamClosed, 'HEADERS after the end');
      return;
    }
    // A server's stream has had its request, so these are trailers.
    const trailers = this.role === 'server' || stream.headersSeen;
    const fault = faultOfHeaders(decoded, trailers, ended);
    if (fault !== undefined) {
      this.fault(stream, fault.code, fault.reason);
      return;
    }
    const { headers } = decoded;
    if (trailers) stream.sink?.trailers?.(headers);
    else {
      stream.headersSeen = !isInformational(headers);
      if (!stream.headersSeen) this.#guard?.emptyFrame();
      if (stream.gone) return;
      stream.sink?.headers?.(headers, ended);
    }
    if (ended) this.#onRemoteEnd(stream);
  }

  #onRequest(id: number, { headers, whole }: WholeHeaders, ended: boolean): void {
    const { numbers } = this;
    if ((id & 1) === 0) {
      this.close(h2Error.protocolError, `a request on stream ${id}`);
      return;
    }
    // Late headers for a stream that is over here: the peer may not know yet.
    if (id <= numbers.lastPeer) return;
    numbers.lastPeer = id;
    // Our GOAWAY has named a lower stream, so the peer knows that this one was not looked at.
    if (this.#goawaySent) return;
    numbers.lastTaken = id;
    const stream = this.#open(id);
    stream.headersSeen = true;
    stream.remoteEnded = ended;
    const { maxConcurrentStreams, enableConnectProtocol } = this.#settings;
    if (this.streams.size > maxConcurrentStreams || this.#handlers.request === undefined) {
      this.fault(stream, h2Error.refusedStream, 'too many streams');
      return;
    }
    if (!whole) {
      this.#handlers.tooLarge?.(stream, headers);
      this.fault(
        stream,
        stream.localEnded ? h2Error.noError : h2Error.enhanceYourCalm,
        'headers over the limit',
      );
      return;
    }
    const reason = malformedHeaders(headers, 'request', enableConnectProtocol);
    if (reason === undefined) {
      this.#handlers.request(stream, headers, ended);
      return;
    }
    this.#handlers.malformed?.(reason, headers);
    this.fault(stream, h2Error.protocolError, reason);
  }
}
