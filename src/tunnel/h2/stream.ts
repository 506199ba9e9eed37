// One HTTP/2 stream: a pair of byte flows with a window each. Owned by a session; told of bytes through a sink.
import type { HeaderList } from './hpack.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { H2Session } from './session.ts';

/**
 * What a stream tells its owner. After `closed` nothing more is said; bytes that were not consumed by then still are
 * to be, since they count for the streams that are left.
 */
export interface StreamSink {
  /** Response headers (client), informational ones too. `ended`: nothing follows, and `ended` is told next. */
  headers?(headers: HeaderList, ended: boolean): void;
  /** Trailers; `ended` is told next. */
  trailers?(headers: HeaderList): void;
  /** Bytes from the peer. The owner calls `stream.consumed(n)` once they have gone on. The chunk is lent for the call. */
  data(chunk: Buffer): void;
  /** The peer has sent its last byte. */
  ended(): void;
  /** `write` may be called again after it returned false. */
  writable(): void;
  /** Our last byte is on its way, and the peer's is not here yet. */
  sent?(): void;
  /** The stream is over. `reason` is absent when both sides ended in order. */
  closed(reason?: StreamFailure): void;
}

export interface StreamFailure {
  readonly kind: 'reset' | 'session' | 'refused';
  readonly code: number;
  readonly message: string;
  /** It was reset by this side. */
  readonly local?: boolean;
}

export class H2Stream {
  readonly id: number;
  readonly session: H2Session;
  sink: StreamSink | undefined;
  sendWindow: number;
  readonly receiveWindow: ReceiveWindow;
  /** Chunks that wait for the window; only the last writer's, since `write` then returns false. */
  readonly pending: Buffer[] = [];
  pendingBytes = 0;
  endPending = false;
  /** To be sent behind the last byte. */
  trailers: HeaderList | undefined;
  localEnded = false;
  remoteEnded = false;
  gone = false;
  /** The owner has been told to wait. */
  waiting = false;
  headersSeen = false;

  constructor(session: H2Session, id: number, sendWindow: number, receiveWindow: ReceiveWindow) {
    this.session = session;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** Copies the chunk. False: take no more from the source until `writable`. */
  write(chunk: Buffer): boolean {
    return this.session.writeData(this, chunk);
  }

  /** Ends our direction after what was written. */
  end(trailers?: HeaderList): void {
    if (trailers !== undefined) this.trailers = trailers;
    this.session.endStream(this);
  }

  /** Ends both directions at once. */
  reset(code: number): void {
    this.session.resetStream(this, code);
  }

  respond(headers: HeaderList, end = false): void {
    this.session.respond(this, headers, end);
  }

  /** Lets the peer send as many bytes again. Also called for a stream that is gone: its bytes count for the others. */
  consumed(bytes: number): void {
    this.session.creditConnection(bytes);
    if (this.remoteEnded || this.gone) return;
    const increment = this.receiveWindow.credit(bytes);
    if (increment > 0) this.session.sendCredit(this.id, increment);
  }
}
