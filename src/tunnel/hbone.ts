// HBONE: one HTTP/2 CONNECT per application connection, on either side of a session. Owns the settings that
// Istio's node proxy uses and the hand-over from "asked" to "open"; what to ask and whom to admit is the caller's.
import type { Duplex } from 'node:stream';
import { H2Connection, type ConnectionHandlers } from './h2/connection.ts';
import { h2Error } from './h2/frames.ts';
import type { HeaderList } from './h2/hpack.ts';
import type { H2Stream, StreamFailure, StreamSink } from './h2/stream.ts';
import { releaseSlabs, SlabQueue } from './slab-queue.ts';

export interface WindowSettings {
  /** HTTP2_STREAM_WINDOW_SIZE, bytes. */
  readonly streamWindow: number;
  /** HTTP2_CONNECTION_WINDOW_SIZE, bytes. */
  readonly connectionWindow: number;
  /** HTTP2_FRAME_SIZE: the largest frame taken, bytes. */
  readonly maxFrameSize: number;
}

export const defaultWindows: WindowSettings = {
  streamWindow: 4 * 1024 * 1024,
  connectionWindow: 16 * 1024 * 1024,
  maxFrameSize: 1024 * 1024,
};

/** PINGs that may stay unanswered, at one every 10 s, before the peer counts as gone after 20 s. */
export const pingIntervalMs = 10_000;
export const missedPings = 2;

/** Speaks HTTP/2 as the client of an established TLS connection. */
export function hboneClient(
  transport: Duplex,
  windows: WindowSettings,
  handlers: ConnectionHandlers,
): H2Connection {
  const settings = { ...windows, maxHeaderListSize: 16 * 1024, maxConcurrentStreams: 0 };
  return new H2Connection(
    transport,
    { role: 'client', settings, sendBuffer: 1024 * 1024, gather: true },
    handlers,
  );
}

/** Speaks HTTP/2 as the server of an established TLS connection. */
export function hboneServer(
  transport: Duplex,
  windows: WindowSettings,
  handlers: ConnectionHandlers,
): H2Connection {
  const settings = { ...windows, maxHeaderListSize: 64 * 1024, maxConcurrentStreams: 200 };
  return new H2Connection(
    transport,
    { role: 'server', settings, sendBuffer: 400 * 1024, gather: true },
    handlers,
  );
}

export interface ConnectOutcome {
  /** 200: the tunnel is open. Give the stream its sink before returning: bytes may follow at once. */
  opened(stream: H2Stream, headers: HeaderList): void;
  /** Another status. The stream is over. */
  refused(status: string): void;
  /** No answer. `refused` in the failure means that the peer has not looked at the request. */
  failed(failure: StreamFailure): void;
}

/** Sends a CONNECT; exactly one of the outcome's functions is called, later. */
export function connect(
  connection: H2Connection,
  authority: string,
  extra: HeaderList,
  outcome: ConnectOutcome,
): H2Stream {
  const stream = connection.session.request([[':method', 'CONNECT'], [':authority', authority], ...extra]);
  stream.sink = new AwaitingResponse(stream, outcome);
  return stream;
}

class AwaitingResponse implements StreamSink {
  readonly #stream: H2Stream;
  readonly #outcome: ConnectOutcome;
  #settled = false;

  constructor(stream: H2Stream, outcome: ConnectOutcome) {
    this.#stream = stream;
    this.#outcome = outcome;
  }

  headers(headers: HeaderList): void {
    const status = headers.find(([name]) => name === ':status')?.[1] ?? '';
    if (status.startsWith('1') || this.#settled) return;
    this.#settled = true;
    if (status === '200') {
      this.#outcome.opened(this.#stream, headers);
      return;
    }
    this.#stream.reset(h2Error.cancel);
    this.#outcome.refused(status);
  }

  data(chunk: Buffer): void {
    this.#stream.consumed(chunk.length);
  }

  ended(): void {
    this.#fail({
      kind: 'reset',
      code: h2Error.protocolError,
      message: 'the peer ended the stream without an answer',
    });
  }

  writable(): void {}

  closed(reason?: StreamFailure): void {
    this.#fail(reason ?? { kind: 'reset', code: h2Error.noError, message: 'the peer closed the stream' });
  }

  #fail(failure: StreamFailure): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#stream.reset(h2Error.cancel);
    this.#outcome.failed(failure);
  }
}

/**
 * The server's side of a request while it is judged and the application is dialled. Keeps what the client sends
 * early (no more than the stream's window) and hands it to the next sink.
 */
export class HeldRequest implements StreamSink {
  readonly stream: H2Stream;
  readonly #onGone: (reason?: StreamFailure) => void;
  readonly #early = new SlabQueue();
  #ended: boolean;

  constructor(stream: H2Stream, onGone: (reason?: StreamFailure) => void) {
    this.stream = stream;
    this.#onGone = onGone;
    stream.sink = this;
    this.#ended = stream.remoteEnded;
  }

  data(chunk: Buffer): void {
    this.#early.push(chunk);
  }

  ended(): void {
    this.#ended = true;
  }

  writable(): void {}

  closed(reason?: StreamFailure): void {
    this.#drop();
    this.#onGone(reason);
  }

  #drop(): void {
    const bytes = this.#early.size;
    releaseSlabs(this.#early.take().slabs);
    if (bytes > 0) this.stream.consumed(bytes);
  }

  /** Answers with a status other than 200 and ends the stream. Does nothing once the tunnel is open. */
  refuse(status: number): void {
    if (this.stream.sink !== this) return;
    this.stream.sink = undefined;
    this.stream.respond([[':status', String(status)]], true);
    // Tells the client that the rest of its bytes is not wanted (RFC 9113, 8.1).
    this.stream.reset(h2Error.noError);
    this.#drop();
  }

  /**
   * Answers 200 and lets `attach` set the stream's sink, which is then given what came early. `attach` is called even
   * if the client has gone in the meantime: a splice then ends by itself.
   */
  open(headers: HeaderList, attach: () => StreamSink): void {
    this.stream.respond([[':status', '200'], ...headers]);
    const sink = attach();
    const { slabs, last } = this.#early.take();
    slabs.forEach((slab, i) => sink.data(i === slabs.length - 1 ? slab.subarray(0, last) : slab));
    releaseSlabs(slabs);
    if (this.#ended && !this.stream.gone) sink.ended();
  }
}
