// The last bytes and the end of a connection in one packet, where node:net writes the bytes and shuts down a turn later.
import type { Socket } from 'node:net';
import { libc } from './libc.ts';
import { socketFd } from './socket-fd.ts';

const SOL_TCP = 6;
const TCP_CORK = 3;
const on = new Int32Array([1]);

/** What is written from now on may wait in the kernel for `end` or `destroy`, which must follow in this turn. */
export function holdForEnd(socket: Socket): void {
  const fd = socketFd(socket);
  // Where it fails, the bytes go at once.
  if (fd !== undefined) libc.setsockopt(fd, SOL_TCP, TCP_CORK, on, 4);
}
