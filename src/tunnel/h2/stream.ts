// One HTTP/2 stream: a pair of byte flows with a window each. Owned by a session; told of bytes through a sink.
import type { H2Session } from './session.ts';
import type { HeaderList } from './hpack.ts';

/** What a stream tells its owner. After `closed` nothing more is said. */
export interface StreamSink {
  /** Response headers (client) or trailers. */
  headers?(headers: HeaderList): void;
  /** Bytes from the peer. The owner calls `stream.consumed(n)` once they have gone on. The chunk is not reused. */
  data(chunk: Buffer): void;
  /** The peer has sent its last byte. */
  ended(): void;
  /** `write` may be called again after it returned false. */
  writable(): void;
  /** The stream is over. `reason` is absent when both sides ended in order. */
  closed(reason?: StreamFailure): void;
}

export interface StreamFailure {
  readonly kind: 'reset' | 'session' | 'refused';
  readonly code: number;
  readonly message: string;
}

export class H2Stream {
  readonly id: number;
  readonly session: H2Session;
  sink: StreamSink | undefined;
  sendWindow: number;
  /** Bytes that the peer may still send before we credit it. */
  receiveWindow: number;
  #unacknowledged = 0;
  /** Chunks that wait for the window; only the last writer's, since `write` then returns false. */
  readonly pending: Buffer[] = [];
  pendingBytes = 0;
  endPending = false;
  localEnded = false;
  remoteEnded = false;
  gone = false;
  /** The owner has been told to wait. */
  waiting = false;
  headersSeen = false;

  constructor(session: H2Session, id: number, sendWindow: number, receiveWindow: number) {
    this.session = session;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Takes the chunk. False: take no more from the source until `writable`. */
  write(chunk: Buffer): boolean {
    return this.session.writeData(this, chunk);
  }

  /** Ends our direction after what was written. */
  end(): void {
    this.session.endStream(this);
  }

  /** Ends both directions at once. */
  reset(code: number): void {
    this.session.resetStream(this, code);
  }

  respond(headers: HeaderList, end = false): void {
    this.session.respond(this, headers, end);
  }

  /** Lets the peer send as many bytes again. */
  consumed(bytes: number): void {
    this.session.creditConnection(bytes);
    if (this.remoteEnded || this.gone) return;
    this.#unacknowledged += bytes;
    if (this.#unacknowledged >= this.session.streamCreditStep) {
      this.receiveWindow += this.#unacknowledged;
      this.session.sendCredit(this.id, this.#unacknowledged);
      this.#unacknowledged = 0;
    }
  }
}
