// The real kernel. Holds no state but that of the thread (netns.ts), hence one instance per thread.
import { Socket } from 'node:net';
import { isV6 } from '#/kit/index.ts';
import type { Kernel, SocketOptions, TcpConnectOptions } from './kernel.ts';
import { lastErrno, libc } from './libc.ts';
import { adoptNetns, duplicateNetns, inNetns, openNetns } from './netns.ts';
import { adoptSocket } from './adopt-socket.ts';
import { SystemError } from './system-error.ts';
import {
  checkAddress,
  connectAtOnce as connectSocketAtOnce,
  localAddress,
  originalDestination,
  peerAddress,
  tcpConnect,
  tcpListener,
  tcpSocket,
  udpSocket,
} from './tcp.ts';

const RLIMIT_NOFILE = 7;

/** See Kernel.connect. Trial: 55 µs of CPU per connection, net.connect 50, `tcpConnect` and a write 60. */
function connect(o: TcpConnectOptions & SocketOptions): Socket {
  checkAddress(o.ip, o.port); // node:net would ask DNS for a name
  const fd = tcpSocket({ ...o, family: isV6(o.ip) ? 6 : 4 });
  let socket: Socket;
  try {
    socket = new Socket({ fd, allowHalfOpen: o.allowHalfOpen ?? true });
  } catch (error) {
    libc.close(fd);
    throw error;
  }
  // In the same tick: the stream has begun to read, and the loop would find it not connected.
  return socket.connect({ host: o.ip, port: o.port });
}

/** Dials that are not tried at once after one that was not, so that a kernel that never is so costs little. */
const afterMiss = 64;
let skip = 0;

/** See Kernel.connectAtOnce. */
function connectAtOnce(o: TcpConnectOptions & SocketOptions): Socket | undefined {
  if (skip > 0) {
    skip--;
    return undefined;
  }
  checkAddress(o.ip, o.port);
  const fd = tcpSocket({ ...o, family: isV6(o.ip) ? 6 : 4 });
  try {
    if (connectSocketAtOnce(fd, o.ip, o.port, o.netns)) return adoptSocket(fd, o.allowHalfOpen ?? true);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
  // Before the handshake is done the listener's side has seen nothing of it.
  libc.close(fd);
  skip = afterMiss;
  return undefined;
}

function close(fd: number): void {
  // After EINTR the fd is gone on Linux; a second close could hit a stranger's.
  if (libc.close(fd) !== 0) throw new SystemError('close', lastErrno(), `fd ${fd}`);
}

function raiseFileLimit(): number {
  const limits = new BigUint64Array(2);
  const memory = new Uint8Array(limits.buffer);
  if (libc.getrlimit(RLIMIT_NOFILE, memory) !== 0)
    throw new SystemError('getrlimit', lastErrno(), 'RLIMIT_NOFILE');
  limits[0] = limits[1] as bigint;
  if (libc.setrlimit(RLIMIT_NOFILE, memory) !== 0)
    throw new SystemError('setrlimit', lastErrno(), `RLIMIT_NOFILE=${limits[0]}`);
  return Number(limits[0]);
}

const kernel: Kernel = {
  openNetns,
  adoptNetns,
  duplicateNetns,
  inNetns,
  tcpListener,
  connect,
  connectAtOnce,
  tcpSocket,
  tcpConnect,
  udpSocket,
  originalDestination,
  localAddress,
  peerAddress,
  close,
  raiseFileLimit,
};

/** The kernel this process runs on. The calls that enter a namespace, mark or spoof need root. */
export function linuxKernel(): Kernel {
  return kernel;
}
