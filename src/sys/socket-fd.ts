// From an object of node:net or node:dgram to its fd, for the calls of Kernel that want one.
import type { Server, Socket } from 'node:net';

/**
 * The fd of a socket or server; undefined once it is closed. Still owned by Node: do not close it.
 * Node has no public way; `_handle.fd` has been there since its first years, and a test watches over it.
 */
export function socketFd(socket: Socket | Server): number | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: unknown } | null })._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
