// A net.Socket for an fd that is known to be a connected TCP socket. By `new Socket({fd})` Node finds out what the fd is
// first, with three system calls; here the class of its TCP handles, seen on the first socket, is used as it is. Where
// it looks different from what is expected, Node's own way is taken. A test watches over it.
import { Socket } from 'node:net';

interface TcpHandle {
  /** A negative errno, or 0. */
  open(fd: number): number;
  close(): void;
}

type TcpClass = new (type: number) => TcpHandle;

/** TCP handles are made for one of two uses: this, or a server. */
const forSocket = 0;

let tcpClass: TcpClass | undefined;

/** Takes ownership of `fd`, unless it throws. Nothing is read before `resume`. */
export function adoptSocket(fd: number, allowHalfOpen: boolean): Socket {
  // `manualStart`: else Node reads at once, into memory of its own.
  const options = { allowHalfOpen, manualStart: true };
  if (tcpClass === undefined) {
    const socket = new Socket({ ...options, fd });
    tcpClass = classOf(socket);
    return socket;
  }
  const handle = new tcpClass(forSocket);
  if (handle.open(fd) === 0) return new Socket({ ...options, handle } as object);
  handle.close();
  return new Socket({ ...options, fd });
}

function classOf(socket: Socket): TcpClass | undefined {
  const handle = (socket as unknown as { _handle?: object | null })._handle;
  const made = handle?.constructor;
  return made?.name === 'TCP' ? (made as TcpClass) : undefined;
}
