// Joins an application's TCP socket and a tunnel stream until both directions have ended. Half-closes pass
// through; back-pressure passes through both ways; every byte that was taken from the tunnel is credited once,
// when the socket has written it.
import type { Socket } from 'node:net';
import { holdForEnd, readTransient, resetSocket } from '#/sys/index.ts';
import { h2Error } from './h2/frames.ts';
import type { H2Stream, StreamFailure, StreamSink } from './h2/stream.ts';
import { releaseSlabs, SlabQueue } from './slab-queue.ts';
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
export const ordinaryEnds: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

/** While the socket is busy writing, this much gathers before the next write: a slow reader costs few writes. */
const gather = 16 * 1024;

export class Splice implements StreamSink, TurnTask {
  readonly #socket: Socket;
  readonly #stream: H2Stream;
  readonly #done: (result: SpliceResult) => void;
  fromSocket = 0;
  toSocket = 0;
  readonly #queue = new SlabQueue();
  /** What was handed to the socket and may still be read by it, oldest first. */
  readonly #lent: (readonly Buffer[])[] = [];
  #flushPlanned = false;
  /** Writes that the socket has not confirmed. */
  #writing = 0;
  /** Bytes given to the socket, and those of them that were credited. */
  #handedOn = 0;
  #credited = 0;
  #socketEnded = false;
  #streamClosed = false;
  /** Closed after both directions had ended and all was written: the kernel sends the rest and the end. */
  #shut = false;
  #finished = false;

  /** `done` is called once, later, when nothing more will be copied. The socket is then destroyed or has ended. */
  constructor(socket: Socket, stream: H2Stream, done: (result: SpliceResult) => void) {
    this.#socket = socket;
    this.#stream = stream;
    this.#done = done;
    stream.sink = this;
    socket.allowHalfOpen = true;
    readTransient(socket, this.#onSocketData);
    socket.on('end', this.#onSocketEnd);
    socket.on('finish', this.#settle);
    socket.on('error', this.#onSocketError);
    socket.on('close', this.#onSocketClose);
    if (stream.gone || socket.closed || socket.readableEnded) queueMicrotask(this.#onLateStart);
    socket.resume();
  }

  /** Either side may have ended while the other was being opened: its events are then over. */
  readonly #onLateStart = (): void => {
    if (this.#stream.gone)
      this.closed({
        kind: 'reset',
        code: h2Error.cancel,
        message: 'the tunnel had ended before it was used',
      });
    else if (this.#socket.errored) this.#onSocketError(this.#socket.errored);
    else if (this.#socket.closed) this.#onSocketClose();
    else this.#onSocketEnd();
  };

  readonly #onSocketData = (chunk: Buffer): void => {
    this.fromSocket += chunk.length;
    if (!this.#stream.write(chunk)) this.#socket.pause();
  };

  readonly #onSocketEnd = (): void => {
    this.#socketEnded = true;
    this.#stream.end();
  };

  readonly #onSocketError = (error: NodeJS.ErrnoException): void => {
    this.#finish(ordinaryEnds.has(error.code ?? '') ? undefined : { side: 'socket', message: error.message });
    this.#stream.reset(h2Error.cancel);
  };

  readonly #onSocketClose = (): void => {
    this.#credit(this.toSocket);
    // After an orderly end, what the application sent may still be on its way to the peer.
    if (this.#shut || (this.#socketEnded && this.#socket.writableFinished)) return;
    this.#finish();
    this.#stream.reset(h2Error.cancel);
  };

  // ---- the tunnel's side ----

  data(chunk: Buffer): void {
    this.toSocket += chunk.length;
    if (this.#socket.destroyed) {
      if (this.#socket.closed) this.#credit(this.toSocket);
      return;
    }
    this.#queue.push(chunk);
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    atEndOfTurn(this);
  }

  endOfTurn(): void {
    this.#flushPlanned = false;
    if (this.#writing === 0 || (this.#queue.size >= gather && !this.#socket.writableNeedDrain))
      this.#handOn();
  }

  #handOn(): void {
    const socket = this.#socket;
    if (this.#queue.size === 0 || socket.destroyed) return;
    this.#handedOn += this.#queue.size;
    this.#writing++;
    const { slabs, last } = this.#queue.take();
    this.#lent.push(slabs);
    const end = (slabs.at(-1) as Buffer).subarray(0, last);
    if (slabs.length === 1) {
      socket.write(end, this.#onWritten);
      return;
    }
    socket.cork();
    for (const slab of slabs.slice(0, -1)) socket.write(slab);
    socket.write(end, this.#onWritten);
    socket.uncork();
  }

  readonly #onWritten = (): void => {
    this.#writing--;
    const written = this.#lent.shift();
    // A write that was cut short may still be under way in the kernel's hands: its memory is not used again.
    if (this.#socket.destroyed && !this.#shut) return;
    if (written !== undefined) releaseSlabs(written);
    this.#credit(this.#handedOn - this.#socket.writableLength);
    if (this.#writing === 0 && !this.#flushPlanned) this.#handOn();
  };

  /** Credits all up to this count of bytes. */
  #credit(upTo: number): void {
    const bytes = upTo - this.#credited;
    if (bytes <= 0) return;
    this.#credited = upTo;
    this.#stream.consumed(bytes);
  }

  ended(): void {
    const socket = this.#socket;
    // One packet, and one wake-up of the reader, for the last bytes and the end.
    if (this.#writing === 0 && this.#queue.size > 0) holdForEnd(socket);
    this.#handOn();
    if (!this.#socketEnded || socket.writableLength > 0 || socket.destroyed) {
      socket.end();
      return;
    }
    // Nothing is left to read, so that closing sends an end and no reset; `end` would do so a turn later, and close then.
    this.#shut = true;
    socket.destroy();
  }

  writable(): void {
    this.#socket.resume();
  }

  closed(reason?: StreamFailure): void {
    if (reason !== undefined) {
      // CANCEL is how a proxy passes on that its client went away: ordinary, as a reset on a plain socket is.
      const ordinary =
        reason.kind === 'reset' && (reason.code === h2Error.cancel || reason.code === h2Error.noError);
      // What the peer cut off must not look like an orderly end to the application.
      if (!this.#finished) resetSocket(this.#socket);
      this.#finish(ordinary ? undefined : { side: 'tunnel', message: reason.message });
      return;
    }
    this.#streamClosed = true;
    // The peer has sent all it had and wants no more: what the application writes now has no reader.
    if (!this.#socketEnded) this.#socket.destroySoon();
    this.#settle();
  }

  /** Both directions have ended, and all that came has been written. */
  readonly #settle = (): void => {
    if (!this.#streamClosed || !this.#socketEnded) return;
    if (this.#shut || this.#socket.writableFinished) this.#finish();
  };

  #finish(failure?: NonNullable<SpliceResult['failure']>): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#done({
      fromSocket: this.fromSocket,
      toSocket: this.toSocket,
      ...(failure === undefined ? {} : { failure }),
    });
  }

  /** Ends both sides at once. */
  abort(): void {
    this.#finish();
    this.#stream.reset(h2Error.cancel);
    resetSocket(this.#socket);
  }
}
