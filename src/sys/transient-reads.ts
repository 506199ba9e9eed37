// Reads of a socket into one buffer per thread. Node gives each read a fresh 64 KiB of its own, which is let go by
// the garbage collector; for a proxy that was two thirds of the cost of bulk traffic. node:net can read into a given
// buffer (`onread`), but only for sockets it is told so at their birth, which accepted and TLS sockets are not.
// This turns it on later, by the same means; where they are missing it falls back to 'data'. A test watches over it.
import { Socket } from 'node:net';

interface Handle {
  /** Negative if there is no socket below, but a stream of JavaScript. */
  readonly fd?: number;
  useUserBuffer?(buffer: Uint8Array): void;
}

interface Reads {
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** The largest read that libuv does at once. */
const shared = Buffer.allocUnsafeSlow(64 * 1024);

const reads: Reads | undefined = findReads();

/** A socket born with `onread` shows under which symbols node:net keeps what it was given. */
function findReads(): Reads | undefined {
  const callback = (): boolean => true;
  const probe = new Socket({ onread: { buffer: shared, callback } }) as unknown as Record<symbol, unknown>;
  const symbols = Object.getOwnPropertySymbols(probe);
  const bufferSymbol = symbols.find((symbol) => probe[symbol] === shared);
  const callbackSymbol = symbols.find((symbol) => probe[symbol] === callback);
  return bufferSymbol === undefined || callbackSymbol === undefined
    ? undefined
    : { buffer: bufferSymbol, callback: callbackSymbol };
}

/**
 * Calls `onBytes` with what is read. The chunk is only good until `onBytes` returns: copy what is to stay. 'end',
 * 'error' and 'close' come as ever, `pause` and `resume` work. The socket is to be resumed by the caller.
 * Returns whether the shared buffer is in use.
 */
export function readTransient(socket: Socket, onBytes: (chunk: Buffer) => void): boolean {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  // TLS inside a tunnel is read while the tunnel's own bytes are being looked at: it must not overwrite them.
  if (reads === undefined || handle?.useUserBuffer === undefined || (handle.fd ?? -1) < 0) {
    socket.on('data', onBytes);
    return false;
  }
  // A TLS socket may hold what came right behind the handshake.
  const early = socket.readableLength > 0 ? (socket.read() as Buffer | null) : null;
  const fields = socket as unknown as Record<symbol, unknown>;
  fields[reads.buffer] = shared;
  fields[reads.callback] = (length: number): boolean => {
    onBytes(shared.subarray(0, length));
    return true;
  };
  handle.useUserBuffer(shared);
  if (early !== null) onBytes(early);
  return true;
}
