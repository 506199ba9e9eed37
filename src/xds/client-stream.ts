// One connection of the client: a channel, one stream on it, and how it ended.
import type { Client, ClientDuplexStream, Metadata } from '@grpc/grpc-js';
import { isServiceError, statusName } from '#/identity/index.ts';
import { errorText } from '#/errors/index.ts';
import { deltaMethodPath } from '#/wire/index.ts';

export interface StreamEnd {
  /** `connect`: there never was a stream. `complete`: we ended it. `closed`: the server did, in good order. */
  readonly kind: 'connect' | 'error' | 'closed' | 'complete';
  /** A gRPC status, where there is one. */
  readonly status?: string;
  readonly reason: string;
}

export type ClientStream = ClientDuplexStream<Uint8Array, Buffer>;

/**
 * Calls back once: without an error when the channel is connected, with one when it is not in time. A refused
 * connection ends the stream earlier, and says why; this is for hosts that do not answer at all.
 */
export function onConnected(client: Client, deadlineMs: number, callback: (late: boolean) => void): void {
  client.waitForReady(Date.now() + deadlineMs, (error) => callback(error !== undefined));
}

export function openStream(client: Client, metadata: Metadata): ClientStream {
  return client.makeBidiStreamRequest(
    deltaMethodPath,
    (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    (bytes: Buffer) => bytes,
    metadata,
  );
}

/** Reads until the stream ends. `onData` may throw: that cancels the stream, and is how it ended. */
export function readToEnd(
  client: Client,
  stream: ClientStream,
  on: { connected(): void; data(bytes: Buffer): void },
  connectTimeoutMs: number,
  signal: AbortSignal,
): Promise<StreamEnd> {
  return new Promise((resolve) => {
    let settled = false;
    const settle = (end: StreamEnd): void => {
      if (settled) return;
      settled = true;
      signal.removeEventListener('abort', onAbort);
      stream.cancel();
      resolve(end);
    };
    const onAbort = (): void => settle({ kind: 'complete', reason: 'stopped' });
    onConnected(client, connectTimeoutMs, (late) => {
      if (settled) return;
      if (late) settle({ kind: 'connect', reason: `no connection within ${connectTimeoutMs} ms` });
      else on.connected();
    });
    stream.on('error', (error: unknown) => {
      const status = isServiceError(error) ? statusName(error.code) : undefined;
      const reason = isServiceError(error) ? error.details : errorText(error);
      const kind = status === 'UNAVAILABLE' && noConnection.test(reason) ? 'connect' : 'error';
      settle({ kind, ...(status !== undefined && { status }), reason: `${status ?? 'error'}: ${reason}` });
    });
    stream.on('end', () => settle({ kind: 'closed', reason: 'closed by the server' }));
    stream.on('data', (bytes: Buffer) => {
      if (settled) return;
      try {
        on.data(bytes);
      } catch (error) {
        settle({ kind: 'error', reason: errorText(error) });
      }
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

// The texts of grpc-js for calls that never had a connection.
const noConnection = /^(No connection established|Name resolution failed)/;

/**
 * True for ends that say nothing against trying again at once: the server went away in good order, or the connection
 * did. Upstream starts its back-off anew after the same ones.
 */
export function isHarmless(end: StreamEnd): boolean {
  if (end.kind === 'closed' || end.kind === 'complete') return true;
  if (end.kind === 'connect') return false;
  switch (end.status) {
    case 'UNKNOWN':
    case 'CANCELLED':
    case 'DEADLINE_EXCEEDED':
      return true;
    case 'UNAVAILABLE':
      // The texts of grpc-js for a connection that was lost or sent away.
      return /connection dropped|goaway|transport|RST_STREAM|closing/i.test(end.reason);
    default:
      return false;
  }
}
