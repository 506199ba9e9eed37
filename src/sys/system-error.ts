// Failures of system calls, as errors that name the call, its object and the errno.
import { getSystemErrorMap } from 'node:util';

const known = getSystemErrorMap();

/** `bind 10.0.0.1:80 in netns /run/x: EADDRINUSE (address already in use)`. `code` is the errno's name. */
export class SystemError extends Error {
  readonly code: string;
  /** Positive, as in errno.h. */
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, object: string) {
    const [code, text] = known.get(-errno) ?? [`E${errno}`, 'unknown error'];
    super(`${syscall}${object === '' ? '' : ` ${object}`}: ${code} (${text})`);
    this.name = 'SystemError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** The errno numbers that the code tells apart; the same on x86-64 and arm64. */
export const errnos = {
  ENOENT: 2,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  EINVAL: 22,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ECONNRESET: 104,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
} as const;
