// SETTINGS, PING, GOAWAY, RST_STREAM and WINDOW_UPDATE: what they mean to a session (RFC 9113, 6).
import type { FloodGuard } from './flood-guard.ts';
import { flag, frameType, h2Error, h2ErrorName, maxStreamId, maxWindow } from './frames.ts';
import type { HpackEncoder } from './hpack.ts';
import type { SendFlow } from './send-flow.ts';
import type { SessionHandlers } from './session-interface.ts';
import type { H2Session } from './session.ts';
import { readSettings } from './settings-frame.ts';
import type { H2Stream, StreamFailure } from './stream.ts';

/** What these frames move, of a session. */
export interface SessionParts {
  readonly flow: SendFlow;
  readonly encoder: HpackEncoder;
  readonly guard: FloodGuard | undefined;
  readonly handlers: SessionHandlers;
  /** The stream of a frame; none if it is over. */
  find(id: number, frame: string): H2Stream | undefined;
  /** The peer has broken a rule on a stream. */
  fault(stream: H2Stream, code: number, message: string): void;
  remove(stream: H2Stream, failure?: StreamFailure): void;
  closeIfDrained(): void;
}

export class ControlFrames {
  readonly #session: H2Session;
  readonly #parts: SessionParts;

  constructor(session: H2Session, parts: SessionParts) {
    this.#session = session;
    this.#parts = parts;
  }

  receive(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case frameType.settings:
        if ((flags & flag.ack) !== 0) return;
        this.#parts.guard?.emptyFrame();
        if (!this.#session.closed) this.#onSettings(payload);
        return;
      case frameType.windowUpdate:
        this.#parts.guard?.emptyFrame();
        this.#onWindowUpdate(id, payload.readUInt32BE(0) & maxWindow);
        return;
      case frameType.rstStream:
        this.#onReset(id, payload.readUInt32BE(0));
        return;
      case frameType.ping:
        if ((flags & flag.ack) !== 0) {
          this.#parts.handlers.alive?.();
          return;
        }
        this.#parts.guard?.emptyFrame();
        if (this.#session.closed) return;
        this.#session.output.ping(payload, true);
        this.#parts.handlers.flush();
        return;
      case frameType.goaway:
        this.#onGoaway(payload.readUInt32BE(0) & maxStreamId, payload.readUInt32BE(4));
        return;
      default:
    }
  }

  #onSettings(payload: Buffer): void {
    const settings = readSettings(payload, this.#session.role);
    if (settings.error !== undefined) {
      this.#session.close(settings.error.code, settings.error.message);
      return;
    }
    for (const size of settings.tableLimits) this.#parts.encoder.setTableLimit(size);
    // A peer that names no limit has none.
    const limit = this.#session.settingsSeen ? this.#session.peerMaxConcurrent : maxStreamId;
    this.#session.peerMaxConcurrent = settings.maxConcurrentStreams ?? limit;
    this.#session.settingsSeen = true;
    this.#session.peerConnectProtocol = settings.connectProtocol ?? this.#session.peerConnectProtocol;
    this.#parts.flow.maxFrame = settings.maxFrame ?? this.#parts.flow.maxFrame;
    this.#session.output.settingsAck();
    this.#parts.handlers.flush();
    const { initialWindow } = settings;
    if (
      initialWindow !== undefined &&
      !this.#parts.flow.setStreamWindow(initialWindow, this.#session.streams)
    )
      this.#session.close(
        h2Error.flowControlError,
        `SETTINGS_INITIAL_WINDOW_SIZE ${initialWindow} on top of credit`,
      );
    else this.#parts.handlers.streamEnded?.();
  }

  #onWindowUpdate(id: number, increment: number): void {
    if (id === 0) {
      if (increment === 0) this.#session.close(h2Error.protocolError, 'WINDOW_UPDATE by 0');
      else if (!this.#parts.flow.creditConnection(increment))
        this.#session.close(h2Error.flowControlError, `WINDOW_UPDATE by ${increment}`);
      return;
    }
    const stream = this.#parts.find(id, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) this.#parts.fault(stream, h2Error.protocolError, 'WINDOW_UPDATE by 0');
    else if (!this.#parts.flow.creditStream(stream, increment))
      this.#parts.fault(stream, h2Error.flowControlError, `WINDOW_UPDATE by ${increment}`);
  }

  #onReset(id: number, code: number): void {
    const stream = this.#parts.find(id, 'RST_STREAM');
    if (stream === undefined) return;
    if (this.#session.role === 'server') this.#parts.guard?.givenUp();
    // NO_ERROR after a whole answer only says that the rest of our bytes is not wanted (RFC 9113, 8.1).
    if (code === h2Error.noError && stream.remoteEnded) this.#parts.remove(stream);
    else if (code === h2Error.refusedStream && !stream.headersSeen)
      this.#parts.remove(stream, { kind: 'refused', code, message: 'refused by the peer' });
    else
      this.#parts.remove(stream, { kind: 'reset', code, message: `reset by the peer: ${h2ErrorName(code)}` });
  }

  #onGoaway(last: number, code: number): void {
    this.#session.goingAway = true;
    if (code !== h2Error.noError) this.#session.peerError = h2ErrorName(code);
    this.#parts.handlers.goingAway?.();
    if (this.#session.role === 'client') {
      const message = `the peer goes away: ${h2ErrorName(code)}`;
      for (const stream of this.#session.streams.values())
        if (stream.id > last) this.#parts.remove(stream, { kind: 'refused', code, message });
    }
    this.#parts.closeIfDrained();
  }
}
