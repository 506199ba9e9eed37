// struct sockaddr_un, and the sockets that are bound and connected by it.
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_SEQPACKET, lastErrno, libc } from './libc.ts';
import { SystemError } from './system-error.ts';

/** sun_path has 108 bytes, one of them for the closing NUL. */
const pathLimit = 107;
export function unixAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length === 0 || bytes.includes(0)) throw new TypeError(`'${path}' is not a path for a socket`);
  if (bytes.length > pathLimit)
    throw new RangeError(
      `socket path ${path} has ${bytes.length} bytes; Linux allows ${pathLimit}: use a shorter directory`,
    );
  const address = new Uint8Array(new ArrayBuffer(2 + bytes.length + 1));
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

export function seqpacketSocket(): number {
  const fd = libc.socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', lastErrno(), 'AF_UNIX SOCK_SEQPACKET');
  return fd;
}
