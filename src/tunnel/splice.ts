// Joins an application's TCP socket and a tunnel stream until both directions have ended. Half-closes pass
// through; back-pressure passes through both ways; every byte that was taken from the tunnel is credited once.
import type { Socket } from 'node:net';
import { h2Error } from './h2/frames.ts';
import type { H2Stream, StreamFailure, StreamSink } from './h2/stream.ts';
import { atEndOfTurn, type TurnTask } from './turn.ts';

export interface SpliceResult {
  /** Bytes from the application's socket into the tunnel. */
  readonly fromSocket: number;
  /** Bytes from the tunnel to the application's socket. */
  readonly toSocket: number;
  /** Absent when both directions ended in order. */
  readonly failure?: { readonly side: 'tunnel' | 'socket'; readonly message: string };
}

/** Ends of a TCP connection that upstream does not count as errors either. */
const ordinaryEnds = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

export class Splice implements StreamSink, TurnTask {
  readonly #socket: Socket;
  readonly #stream: H2Stream;
  readonly #done: (result: SpliceResult) => void;
  fromSocket = 0;
  toSocket = 0;
  #uncredited = 0;
  #corked = false;
  #socketEnded = false;
  #streamEnded = false;
  #finished = false;

  /** `done` is called once, when nothing more will be copied. The socket is then destroyed or ending. */
  constructor(socket: Socket, stream: H2Stream, done: (result: SpliceResult) => void) {
    this.#socket = socket;
    this.#stream = stream;
    this.#done = done;
    stream.sink = this;
    socket.on('data', this.#onSocketData);
    socket.on('end', this.#onSocketEnd);
    socket.on('drain', this.#onSocketDrain);
    socket.on('error', this.#onSocketError);
    socket.on('close', this.#onSocketClose);
    socket.resume();
  }

  readonly #onSocketData = (chunk: Buffer): void => {
    this.fromSocket += chunk.length;
    if (!this.#stream.write(chunk)) this.#socket.pause();
  };

  readonly #onSocketEnd = (): void => {
    this.#socketEnded = true;
    this.#stream.end();
    this.#settle();
  };

  readonly #onSocketDrain = (): void => {
    this.#credit();
  };

  readonly #onSocketError = (error: NodeJS.ErrnoException): void => {
    this.#stream.reset(h2Error.cancel);
    this.#finish(ordinaryEnds.has(error.code ?? '') ? undefined : { side: 'socket', message: error.message });
  };

  readonly #onSocketClose = (): void => {
    if (!this.#finished && !(this.#socketEnded && this.#streamEnded)) this.#stream.reset(h2Error.cancel);
    this.#finish();
  };

  // ---- the tunnel's side ----

  data(chunk: Buffer): void {
    this.toSocket += chunk.length;
    this.#uncredited += chunk.length;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      atEndOfTurn(this);
    }
    this.#socket.write(chunk);
  }

  endOfTurn(): void {
    this.#corked = false;
    this.#socket.uncork();
    if (!this.#socket.writableNeedDrain) this.#credit();
  }

  #credit(): void {
    const bytes = this.#uncredited;
    if (bytes === 0) return;
    this.#uncredited = 0;
    this.#stream.consumed(bytes);
  }

  ended(): void {
    this.#streamEnded = true;
    this.#socket.end();
    this.#settle();
  }

  writable(): void {
    this.#socket.resume();
  }

  closed(reason?: StreamFailure): void {
    if (reason === undefined) return;
    // What the peer cut off must not look like an orderly end to the application.
    if (!this.#finished) this.#socket.resetAndDestroy();
    // CANCEL is how a proxy passes on that its client went away: ordinary, as a reset on a plain socket is.
    const ordinary = reason.kind === 'reset' && (reason.code === h2Error.cancel || reason.code === h2Error.noError);
    this.#finish(ordinary ? undefined : { side: 'tunnel', message: reason.message });
  }

  #settle(): void {
    if (this.#socketEnded && this.#streamEnded) this.#finish();
  }

  #finish(failure?: NonNullable<SpliceResult['failure']>): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#done({
      fromSocket: this.fromSocket,
      toSocket: this.toSocket,
      ...(failure === undefined ? {} : { failure }),
    });
    if (this.#socket.destroyed) this.#credit();
    else this.#socket.once('close', () => this.#credit());
  }

  /** Ends both sides at once. */
  abort(): void {
    this.#stream.reset(h2Error.cancel);
    this.#socket.resetAndDestroy();
    this.#finish();
  }
}
