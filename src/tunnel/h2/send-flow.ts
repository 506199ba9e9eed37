// What a session may send, and what has to wait: the peer's windows, and the room in the output. Bytes that must
// wait stay in their stream, one chunk of a writer that listens, and go out in the order in which streams came.
import { maxWindow, type FrameWriter } from './frames.ts';
import { firstWindow } from './settings-frame.ts';
import type { H2Stream } from './stream.ts';

export interface SendFlowEvents {
  /** Bytes wait in the output. */
  flush(): void;
  /** Lays a stream's trailers, which end it. */
  trailers(stream: H2Stream): void;
  /** The end of a stream has been laid. */
  ended(stream: H2Stream): void;
}

export class SendFlow {
  readonly #output: FrameWriter;
  readonly #outputLimit: number;
  readonly #events: SendFlowEvents;
  readonly #blocked = new Set<H2Stream>();
  #window = firstWindow;
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  maxFrame = 16384;
  /** The window that a new stream has. */
  streamWindow = firstWindow;
  /** Nothing more is laid until the transport has taken what is there. */
  congested = false;
  /** Pieces of data laid so far. */
  laid = 0;

  constructor(output: FrameWriter, outputLimit: number, events: SendFlowEvents) {
    this.#output = output;
    this.#outputLimit = outputLimit;
    this.#events = events;
  }

  write(stream: H2Stream, chunk: Buffer): boolean {
    const sent = stream.pendingBytes === 0 ? this.#lay(stream, chunk) : 0;
    if (sent < chunk.length) {
      // What the writer gives is only lent.
      stream.pending.push(Buffer.from(sent === 0 ? chunk : chunk.subarray(sent)));
      stream.pendingBytes += chunk.length - sent;
      this.#blocked.add(stream);
    }
    stream.waiting = stream.pendingBytes > 0 || this.congested;
    return !stream.waiting;
  }

  /** Ends the stream, after what waits on it. */
  end(stream: H2Stream): void {
    if (stream.pendingBytes > 0) {
      stream.endPending = true;
      return;
    }
    stream.endPending = false;
    stream.localEnded = true;
    if (stream.trailers === undefined) this.#output.endStream(stream.id);
    else this.#events.trailers(stream);
    this.#events.flush();
    this.#events.ended(stream);
  }

  /** The stream is gone, and what waited on it. */
  drop(stream: H2Stream): void {
    this.#blocked.delete(stream);
    stream.pending.length = 0;
    stream.pendingBytes = 0;
    stream.endPending = false;
  }

  /** Lays what the windows and the output's limit allow; returns how much that was. */
  #lay(stream: H2Stream, chunk: Buffer): number {
    if (this.congested) return 0;
    const space = this.#outputLimit - this.#output.size;
    const room = Math.min(stream.sendWindow, this.#window, chunk.length, space);
    if (room >= space) this.congested = true;
    if (room <= 0) return 0;
    stream.sendWindow -= room;
    this.#window -= room;
    this.laid++;
    for (let at = 0; at < room; at += this.maxFrame)
      this.#output.data(stream.id, chunk, at, Math.min(room, at + this.maxFrame));
    this.#events.flush();
    return room;
  }

  /** Sends what waits on a stream, as far as that may be, and tells its owner if it may go on. */
  #resume(stream: H2Stream): void {
    while (stream.pending.length > 0) {
      const chunk = stream.pending[0] as Buffer;
      const sent = this.#lay(stream, chunk);
      stream.pendingBytes -= sent;
      if (sent < chunk.length) {
        if (sent > 0) stream.pending[0] = chunk.subarray(sent);
        return;
      }
      stream.pending.shift();
    }
    this.#blocked.delete(stream);
    if (stream.endPending) this.end(stream);
    else this.#wake(stream);
  }

  #wake(stream: H2Stream): void {
    if (!stream.waiting || stream.pendingBytes > 0 || this.congested) return;
    stream.waiting = false;
    stream.sink?.writable();
  }

  #resumeBlocked(): void {
    for (const stream of this.#blocked) {
      if (this.#window <= 0 || this.congested) return;
      this.#resume(stream);
    }
  }

  /** Tells whether the transport takes more. `streams`: all that there are. */
  setCongested(congested: boolean, streams: Iterable<H2Stream>): void {
    if (this.congested === congested) return;
    this.congested = congested;
    if (congested) return;
    this.#resumeBlocked();
    for (const stream of streams) {
      if (this.congested) return;
      this.#wake(stream);
    }
  }

  /** False if the window is now larger than a window may be. */
  creditConnection(increment: number): boolean {
    this.#window += increment;
    if (this.#window > maxWindow) return false;
    this.#resumeBlocked();
    return true;
  }

  /** False if the window is now larger than a window may be. */
  creditStream(stream: H2Stream, increment: number): boolean {
    stream.sendWindow += increment;
    if (stream.sendWindow > maxWindow) return false;
    if (stream.pendingBytes > 0) this.#resume(stream);
    return true;
  }

  /**
   * SETTINGS_INITIAL_WINDOW_SIZE moves the window of every open stream too, below zero if need be (RFC 9113, 6.9.2).
   * False if a window is now larger than a window may be.
   */
  setStreamWindow(value: number, streams: ReadonlyMap<number, H2Stream>): boolean {
    const change = value - this.streamWindow;
    if (change === 0) return true;
    this.streamWindow = value;
    for (const stream of streams.values()) {
      stream.sendWindow += change;
      if (stream.sendWindow > maxWindow) return false;
    }
    if (change > 0) this.#resumeBlocked();
    return true;
  }
}
