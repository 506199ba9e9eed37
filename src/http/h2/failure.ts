// Why a stream or a session ended, in the words of an exchange.
import { h2Error, type SessionFailure, type StreamFailure } from '#/tunnel/index.ts';
import type { ExchangeFailure } from '../exchange.ts';

/** The peer broke the protocol, and we have said so. */
const brokenRules: ReadonlySet<number> = new Set([
  h2Error.protocolError,
  h2Error.flowControlError,
  h2Error.settingsTimeout,
  h2Error.streamClosed,
  h2Error.frameSizeError,
  h2Error.compressionError,
  h2Error.enhanceYourCalm,
]);

export function failureOfSession({ code, message }: SessionFailure): ExchangeFailure {
  if (brokenRules.has(code)) return { kind: 'protocol', message };
  return { kind: code === h2Error.cancel ? 'local' : 'reset', message };
}

export function failureOfStream(reason: StreamFailure | undefined): ExchangeFailure {
  if (reason === undefined) return { kind: 'reset', message: 'the stream is over' };
  if (reason.kind === 'session') return failureOfSession(reason);
  const { message } = reason;
  if (reason.kind === 'refused') return { kind: 'refused', message };
  if (reason.local !== true) return { kind: 'reset', message };
  return { kind: brokenRules.has(reason.code) ? 'protocol' : 'local', message };
}
