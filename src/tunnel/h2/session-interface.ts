// What a session is told, and what it tells its owner.
import type { FloodLimits } from './flood-guard.ts';
import type { HeaderList } from './hpack.ts';
import type { H2Stream } from './stream.ts';

export interface SessionSettings {
  /** Window that each stream gives its peer, bytes. */
  readonly streamWindow: number;
  /** Window for all streams together, bytes. Four times the stream's, so that one stalled stream stops no other. */
  readonly connectionWindow: number;
  /** Largest frame taken from the peer, bytes. */
  readonly maxFrameSize: number;
  readonly maxHeaderListSize: number;
  /** Streams that the peer may have open; 0 on the client side. */
  readonly maxConcurrentStreams: number;
  /** Server: `:protocol` is taken (RFC 8441). */
  readonly enableConnectProtocol?: boolean;
  /** Absent: a peer is held by back-pressure alone, as between the ends of a tunnel that know each other. */
  readonly flood?: FloodLimits;
}

export interface SessionHandlers {
  /** Bytes wait in `session.output`: write them soon, once for all of this turn. */
  flush(): void;
  /** Server side: a request. The handler sets `stream.sink` before it returns. */
  request?(stream: H2Stream, headers: HeaderList, ended: boolean): void;
  /** Server side: a request against the rules of its headers; its stream is reset next. */
  malformed?(reason: string, headers: HeaderList): void;
  /**
   * Server side: a request whose headers, as far as they were kept, are over the limit. The handler may answer;
   * then, or without a handler, the stream is reset.
   */
  tooLarge?(stream: H2Stream, headers: HeaderList): void;
  /** The peer will take no new streams. */
  goingAway?(): void;
  /** A stream has ended: a place is free. Also told when the peer's settings have come. */
  streamEnded?(): void;
  /** A PING was answered. */
  alive?(): void;
  /** The connection is over; the transport is to be closed once the output is written. */
  closed(failure?: SessionFailure): void;
}

export interface SessionFailure {
  readonly code: number;
  readonly message: string;
}
