// An H2 session on a byte transport (a TLS socket, or any Duplex in tests): one write per turn, back-pressure
// both ways, liveness by PING, and an orderly or bounded end.
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { readTransient } from '#/sys/index.ts';
import { atEndOfTurn, type TurnTask } from '../turn.ts';
import { releaseSlab } from '../slabs.ts';
import { h2Error, type Piece } from './frames.ts';
import type { SessionFailure, SessionHandlers, SessionSettings } from './session-interface.ts';
import { H2Session } from './session.ts';

export interface ConnectionOptions {
  readonly role: 'client' | 'server';
  readonly settings: SessionSettings;
  /** Bytes that may wait in the transport before the streams are told to stop. */
  readonly sendBuffer: number;
  /**
   * While many streams are busy, writes what two turns of the event loop brought at once: a write costs more than all
   * else that a short stream needs, a turn little.
   */
  readonly gather?: boolean;
}

const gatherStreams = 4;
const gatherBytes = 16 * 1024;

export type ConnectionHandlers = Omit<SessionHandlers, 'flush'>;

/** How long a closing transport may take to write its rest: after a failure, and after an orderly end. */
const lingerMs = 1000;
const orderlyLingerMs = 10_000;

export class H2Connection implements TurnTask {
  readonly session: H2Session;
  readonly transport: Duplex;
  readonly #handlers: ConnectionHandlers;
  readonly #sendBuffer: number;
  #flushPlanned = false;
  /** A turn has been waited for company. */
  #waited = false;
  readonly #gather: boolean;
  /** What the transport is writing. One piece at a time: several would be one vectored write, which TLS copies. */
  #writing: Piece | undefined;
  /** A socket has done with the bytes when it calls back. Another Duplex may have passed them on as they are. */
  readonly #ownsBytes: boolean;
  #ended = false;
  #lingers = false;
  #told = false;
  #failure: SessionFailure | undefined;
  #pingsMissed = 0;

  constructor(transport: Duplex, options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.transport = transport;
    this.#sendBuffer = options.sendBuffer;
    this.#gather = options.gather === true;
    this.#handlers = handlers;
    this.#ownsBytes = transport instanceof Socket;
    // What is written has been gathered already: to wait for the peer's ACK would stall it.
    if (transport instanceof Socket) transport.setNoDelay(true);
    const sessionHandlers: SessionHandlers = {
      flush: () => this.#planFlush(),
      closed: (failure) => this.#onSessionClosed(failure),
      alive: () => {
        this.#pingsMissed = 0;
        handlers.alive?.();
      },
      ...(handlers.request === undefined ? {} : { request: handlers.request }),
      ...(handlers.goingAway === undefined ? {} : { goingAway: handlers.goingAway }),
      ...(handlers.streamEnded === undefined ? {} : { streamEnded: handlers.streamEnded }),
    };
    this.session = new H2Session(options.role, options.settings, sessionHandlers, options.sendBuffer);
    transport.on('end', () => this.#onEnd());
    transport.on('finish', () => this.#tellClosed());
    transport.on('error', (error: Error) => this.session.close(h2Error.internalError, error.message, false));
    transport.on('close', () => this.#onClose());
    // What came right behind the handshake is read when the caller has its connection in hand.
    queueMicrotask(() => this.#start());
    this.#planFlush();
  }

  #start(): void {
    const { transport } = this;
    if (transport.closed || transport.readableEnded) this.#onClose();
    if (transport.destroyed || transport.readableEnded) return;
    const receive = (chunk: Buffer): void => this.session.receive(chunk);
    if (transport instanceof Socket) readTransient(transport, receive);
    else transport.on('data', receive);
    transport.resume();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    atEndOfTurn(this);
  }

  endOfTurn(): void {
    if (!this.#waited && this.#mayGather()) {
      this.#waited = true;
      atEndOfTurn(this);
      return;
    }
    this.#waited = false;
    this.#flushPlanned = false;
    if (this.#ended || this.transport.destroyed) return;
    if (this.session.closed) this.#linger();
    this.#writeNext();
    this.#holdBack();
  }

  /** With few streams nobody would come in the turn that is waited for, and much to write is worth a write. */
  #mayGather(): boolean {
    const { streams, output, closed } = this.session;
    return this.#gather && !closed && streams.size >= gatherStreams && output.size < gatherBytes;
  }

  #writeNext(): void {
    const { session, transport } = this;
    if (this.#writing !== undefined) return;
    const piece = session.output.next();
    if (piece !== undefined) {
      this.#writing = piece;
      transport.write(piece.bytes, this.#onWritten);
    }
    if (session.closed && session.output.size === 0 && this.#writing === undefined) this.#finish();
  }

  /** The streams wait while much is in the output, and so does a peer that makes us answer without reading. */
  #holdBack(): void {
    const { session, transport } = this;
    const waiting = session.output.size;
    if (waiting >= this.#sendBuffer) session.setCongested(true);
    else if (waiting <= this.#sendBuffer >> 1) session.setCongested(false);
    const flooded = waiting > 2 * this.#sendBuffer;
    if (flooded && !session.closed) transport.pause();
    else if (!flooded && transport.isPaused()) transport.resume();
  }

  readonly #onWritten = (): void => {
    const piece = this.#writing;
    this.#writing = undefined;
    // Memory of a write that was cut short is not used again.
    if (piece === undefined || this.transport.destroyed) return;
    if (this.#ownsBytes) releaseSlab(piece.slab);
    if (this.#ended) return;
    this.#writeNext();
    this.#holdBack();
  };

  #onEnd(): void {
    // Streams that were open are cut off, not ended.
    const code = this.session.streams.size > 0 ? h2Error.internalError : h2Error.noError;
    const { peerError } = this.session;
    const why = peerError === undefined ? '' : `: ${peerError}`;
    this.session.close(code, `the peer closed the connection${why}`, false);
  }

  #onClose(): void {
    const message = this.transport.errored?.message ?? 'the connection was lost';
    this.session.close(h2Error.internalError, message, false);
    this.#tellClosed();
  }

  #onSessionClosed(failure: SessionFailure | undefined): void {
    this.#failure = failure;
    // After an orderly end the last bytes may still be on their way: the owner may exit only when they are out.
    if (failure !== undefined) this.#tellClosed();
    this.#planFlush();
  }

  #tellClosed(): void {
    if (this.#told || !this.session.closed) return;
    this.#told = true;
    this.#handlers.closed(this.#failure);
  }

  /** All is written. */
  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.transport.end();
    this.transport.resume();
  }

  /** A peer that does not read, or does not close, cannot hold the transport for good. */
  #linger(): void {
    if (this.#lingers) return;
    this.#lingers = true;
    const wait = this.#failure === undefined ? orderlyLingerMs : lingerMs;
    const timer = setTimeout(() => this.transport.destroy(), wait);
    timer.unref();
    this.transport.once('close', () => clearTimeout(timer));
  }

  /** Called every PING interval: a peer that left `misses` PINGs unanswered is gone. */
  checkAlive(misses: number): void {
    if (this.session.closed) return;
    if (this.#pingsMissed >= misses) {
      this.session.close(h2Error.internalError, 'the peer does not answer', false);
      this.transport.destroy();
      return;
    }
    this.#pingsMissed++;
    this.session.ping();
  }

  /** Ends at once, without waiting for the peer. */
  destroy(message: string): void {
    this.session.close(h2Error.cancel, message);
    this.endOfTurn();
    this.transport.destroy();
  }
}
