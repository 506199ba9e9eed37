// An HTTP/2 session on a ByteChannel: one flush per turn of the event loop, back-pressure both ways, and an end that
// is orderly or bounded. What the peer does wrong costs it this channel and nothing beside it.
import {
  h2Error,
  H2Session,
  releaseSlab,
  type ConnectionHandlers,
  type SessionFailure,
  type SessionHandlers,
  type TurnTask,
} from '#/tunnel/index.ts';
import type { ByteChannel, ByteSink } from '../byte-channel.ts';
import { Liveness } from './liveness.ts';
import type { ResolvedOptions } from './options.ts';

/** How long the peer of a connection that is over may leave its side of the channel open. */
const lingerMs = 1000;

export class ChannelSession implements ByteSink, TurnTask {
  readonly session: H2Session;
  readonly #channel: ByteChannel;
  readonly #options: ResolvedOptions;
  readonly #onClosed: (failure?: SessionFailure) => void;
  readonly #liveness: Liveness;
  /** Taken from the channel, and not yet given back since the peer makes us answer without reading. */
  #owed = 0;
  #planned = false;
  #full = false;
  #ended = false;
  #gone = false;
  #linger: Disposable | undefined;

  constructor(
    role: 'client' | 'server',
    channel: ByteChannel,
    options: ResolvedOptions,
    handlers: ConnectionHandlers,
  ) {
    this.#channel = channel;
    this.#options = options;
    this.#onClosed = handlers.closed;
    const sessionHandlers: SessionHandlers = {
      ...handlers,
      flush: () => this.#planFlush(),
      closed: (failure) => this.#onSessionClosed(failure),
    };
    this.session = new H2Session(role, options.session, sessionHandlers, options.sendBuffer);
    this.#liveness = new Liveness(this.session, options, () => this.abort());
    channel.sink = this;
    this.#planFlush();
  }

  data(chunk: Buffer): void {
    this.#liveness.heard = true;
    this.session.receive(chunk);
    this.#owed += chunk.length;
    this.#payOwed();
  }

  #payOwed(): void {
    const flooded = this.session.output.size > 2 * this.#options.sendBuffer;
    if (this.#owed === 0 || (flooded && !this.session.closed)) return;
    const bytes = this.#owed;
    this.#owed = 0;
    this.#channel.consumed(bytes);
  }

  ended(): void {
    const { session } = this;
    // Streams that were open are cut off, not ended.
    const code = session.streams.size > 0 ? h2Error.internalError : h2Error.noError;
    const why = session.peerError === undefined ? '' : `: ${session.peerError}`;
    session.close(code, `the peer closed the connection${why}`, false);
    this.#planFlush();
  }

  writable(): void {
    this.#full = false;
    this.#planFlush();
  }

  closed(reason?: { readonly message: string }): void {
    this.#gone = true;
    this.#linger?.[Symbol.dispose]();
    this.session.close(h2Error.internalError, reason?.message ?? 'the connection was lost', false);
    this.#payOwed();
  }

  #planFlush(): void {
    if (this.#planned) return;
    this.#planned = true;
    this.#options.atEndOfTurn(this);
  }

  endOfTurn(): void {
    this.#planned = false;
    const { output } = this.session;
    while (!this.#full && !this.#gone && !this.#ended) {
      const piece = output.next();
      if (piece === undefined) break;
      this.#full = !this.#channel.write(piece.bytes);
      releaseSlab(piece.slab);
    }
    if (this.session.closed) this.#finish();
    else if (output.size >= this.#options.sendBuffer) this.session.setCongested(true);
    else if (output.size <= this.#options.sendBuffer >> 1) this.session.setCongested(false);
    this.#payOwed();
  }

  #onSessionClosed(failure: SessionFailure | undefined): void {
    this.#liveness[Symbol.dispose]();
    this.#planFlush();
    this.#onClosed(failure);
  }

  /** The session is over: our side of the channel ends behind its last words, and the peer's soon after. */
  #finish(): void {
    if (this.#gone) return;
    this.#linger ??= this.#options.clock.after(lingerMs, () => this.abort());
    if (this.#ended || this.session.output.size > 0) return;
    this.#ended = true;
    this.#channel.end();
  }

  /** Ends the channel at once. The session is closed before. */
  abort(): void {
    this.#linger?.[Symbol.dispose]();
    if (this.#gone) return;
    this.#gone = true;
    this.#channel.reset(h2Error.cancel);
  }

  destroy(message: string): void {
    this.session.close(h2Error.cancel, message);
    this.endOfTurn();
    this.abort();
  }
}
