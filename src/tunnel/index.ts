// tunnel: HBONE. Owns the HTTP/2 session machine, the pool of sessions, the CONNECT hand-shake and the splice of
// bytes. Imports kit, errors, model and sys. Must not know policies, xDS or Kubernetes, nor decide where anything goes.
//
// The HTTP/2 here is our own. A tunnel needs a small part of it (byte streams, no push, no priorities), and in a
// trial on two cores framing that writes once per turn of the event loop carried 6.3 Gb/s and 62 500 requests/s
// where node:http2 carried 5.5 Gb/s and 52 000. It also leaves the answer to floods of resets in our hands.
export * from './h2/connection.ts';
export { h2Error, h2ErrorName, type H2ErrorCode } from './h2/frames.ts';
export {
  HpackDecoder,
  HpackEncoder,
  CompressionError,
  type HeaderField,
  type HeaderList,
} from './h2/hpack.ts';
export { H2Session } from './h2/session.ts';
export * from './h2/session-interface.ts';
export type { FloodLimits } from './h2/flood-guard.ts';
export { H2Stream, type StreamFailure, type StreamSink } from './h2/stream.ts';
export * from './hbone.ts';
export * from './plain-splice.ts';
export * from './pool.ts';
export { releaseSlab } from './slabs.ts';
export * from './splice.ts';
export { atEndOfTurn, type TurnTask } from './turn.ts';
