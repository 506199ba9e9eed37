// Ends a TCP connection by RST. node:net's own resetAndDestroy cannot be used: while the end of the writable side is
// on its way (between `end` and the next turn of the loop) libuv refuses to reset, and Node 26 then forgets the
// handle without closing it. Its fd stays open for good, 'close' never comes, the peer sees an orderly end, and a
// worker that has such a handle never ends.
import type { Socket } from 'node:net';
import { libc } from './libc.ts';
import { socketFd } from './socket-fd.ts';

const SOL_SOCKET = 1;
const SO_LINGER = 13;
/** struct linger {on, 0 s}: close sends RST at once and drops what waits to be sent. */
const reset = new Int32Array([1, 0]);

/** The other side sees ECONNRESET, whatever was still to be written. Destroys the socket; may be called again. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const fd = socketFd(socket);
  // Where it fails there is no connection any more that could be reset.
  if (fd !== undefined) libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, reset, 8);
  socket.destroy();
}
