// An H2 session on a byte transport (a TLS socket, or any Duplex in tests): one write per turn, back-pressure
// both ways, liveness by PING, and an orderly or bounded end.
import type { Duplex } from 'node:stream';
import { atEndOfTurn, type TurnTask } from '../turn.ts';
import { h2Error } from './frames.ts';
import { H2Session, type SessionFailure, type SessionHandlers, type SessionSettings } from './session.ts';

export interface ConnectionOptions {
  readonly role: 'client' | 'server';
  readonly settings: SessionSettings;
  /** Bytes that may wait in the transport before the streams are told to stop. */
  readonly sendBuffer: number;
}

export type ConnectionHandlers = Omit<SessionHandlers, 'flush'>;

/** How long a closing transport may take to write its rest. */
const lingerMs = 1000;

export class H2Connection implements TurnTask {
  readonly session: H2Session;
  readonly transport: Duplex;
  readonly #handlers: ConnectionHandlers;
  readonly #sendBuffer: number;
  #flushPlanned = false;
  #ended = false;
  #pingsMissed = 0;
  #writes = 0;

  constructor(transport: Duplex, options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.transport = transport;
    this.#sendBuffer = options.sendBuffer;
    this.#handlers = handlers;
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
    this.session = new H2Session(options.role, options.settings, sessionHandlers);
    transport.on('data', (chunk: Buffer) => this.session.receive(chunk));
    transport.on('drain', () => this.#onDrain());
    transport.on('end', () => this.session.close(h2Error.noError, 'the peer closed the connection', false));
    transport.on('error', (error: Error) => this.session.close(h2Error.internalError, error.message, false));
    transport.on('close', () => this.session.close(h2Error.internalError, 'the connection was lost', false));
    this.#planFlush();
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    atEndOfTurn(this);
  }

  endOfTurn(): void {
    this.#flushPlanned = false;
    if (this.#ended || this.transport.destroyed) return;
    const session = this.session;
    if (session.congested && !session.closed) {
      // Only control frames gather here, since the streams wait. A peer that makes us answer without reading
      // is not read from either.
      if (session.output.size > this.#sendBuffer) this.transport.pause();
      return;
    }
    for (const piece of session.output.take()) {
      this.#writes++;
      this.transport.write(piece, this.#onWritten);
    }
    if (this.transport.writableLength > this.#sendBuffer) session.setCongested(true);
    if (session.closed) this.#finish();
  }

  readonly #onWritten = (): void => {
    if (--this.#writes === 0) this.session.output.reuse();
  };

  #onDrain(): void {
    if (this.#ended) return;
    this.session.setCongested(false);
    if (this.session.output.size > 0) this.#planFlush();
    if (this.transport.isPaused()) this.transport.resume();
  }

  #onSessionClosed(failure: SessionFailure | undefined): void {
    this.#handlers.closed(failure);
    this.#planFlush();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.transport.end();
    this.transport.resume();
    const linger = setTimeout(() => this.transport.destroy(), lingerMs);
    linger.unref();
    this.transport.once('close', () => clearTimeout(linger));
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
    if (this.#writes === 0) this.session.output.shrink();
  }

  /** Ends at once, without waiting for the peer. */
  destroy(message: string): void {
    this.session.close(h2Error.cancel, message);
    this.endOfTurn();
    this.transport.destroy();
  }
}
