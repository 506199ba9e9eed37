// The narrow side of grpc-js that a connection needs, so that the protocol can be tested without sockets.
import type { ServerDuplexStream } from '@grpc/grpc-js';

export type DeltaCall = ServerDuplexStream<Buffer, Buffer>;

interface Resettable {
  close(code: number): void;
}

const http2Cancel = 8;

/**
 * Resets the stream under a call. `call.end()` and errors wait until everything before them has been read; a client
 * that has stopped reading would hold them, and what is queued for it, for ever. grpc-js has no call for this, so the
 * HTTP/2 stream is looked up behind it; were it not found, the connection's age limit is the last resort.
 */
export function resetCall(call: DeltaCall): boolean {
  let at: unknown = call;
  for (let depth = 0; depth < 6 && typeof at === 'object' && at !== null; depth++) {
    const { stream, call: inner, nextCall } = at as { stream?: unknown; call?: unknown; nextCall?: unknown };
    if (isResettable(stream)) {
      stream.close(http2Cancel);
      return true;
    }
    at = inner ?? nextCall;
  }
  return false;
}

function isResettable(value: unknown): value is Resettable {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function';
}
