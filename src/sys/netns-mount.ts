// Namespaces that outlive the process that made them, each held by a mount on a file. For the lab; pods of a
// cluster get theirs from the container runtime.
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Netns } from './kernel.ts';
import { AF_INET, CLONE_NEWNET, SOCK_CLOEXEC, SOCK_DGRAM, lastErrno, libc } from './libc.ts';
import { currentNetns, leaveNetns, openNetns } from './netns.ts';
import { SystemError, errnos } from './system-error.ts';

const MS_BIND = 4096;
const MNT_DETACH = 2;
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const IFF_UP = 1;

/**
 * Makes a namespace with nothing in it but `lo`, which is up, and mounts it on `path` (made with its
 * directories, or an empty leftover). Fails if a namespace is mounted there already.
 */
export function createNetns(path: string): Netns {
  mkdirSync(dirname(path), { recursive: true });
  if (isNetns(path)) throw new Error(`${path} holds a network namespace already; delete it first`);
  closeSync(openSync(path, 'a', 0o444));
  const back = currentNetns();
  // unshare moves this thread alone, so no child process is needed.
  if (libc.unshare(CLONE_NEWNET) !== 0) throw new SystemError('unshare', lastErrno(), `for netns ${path}`);
  let errno = 0;
  try {
    setLoopbackUp();
    if (libc.mount('/proc/thread-self/ns/net', path, null, MS_BIND, null) !== 0) errno = lastErrno();
  } finally {
    leaveNetns(back);
  }
  if (errno !== 0) {
    rmSync(path, { force: true });
    throw new SystemError('mount', errno, `netns on ${path}`);
  }
  return openNetns(path);
}

/**
 * Unmounts and removes the file. The namespace itself ends with its last process, socket and fd. Nothing
 * there is no error, so that a clean-up may be repeated.
 */
export function deleteNetns(path: string): void {
  while (libc.umount2(path, MNT_DETACH) === 0); // twice mounted, after a crash between two runs
  const errno = lastErrno();
  if (errno === errnos.ENOENT) return;
  if (errno !== errnos.EINVAL) throw new SystemError('umount2', errno, path);
  rmSync(path, { force: true });
}

function isNetns(path: string): boolean {
  try {
    openNetns(path)[Symbol.dispose]();
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.errno !== errnos.ENOENT) throw error;
    return false;
  }
}

function setLoopbackUp(): void {
  const fd = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', lastErrno(), 'to set lo up');
  // struct ifreq: name of 16 bytes, then the flags
  const request = new Uint8Array(new ArrayBuffer(40));
  request.set(Buffer.from('lo'));
  const got = libc.ioctl(fd, SIOCGIFFLAGS, request);
  request[16] = (request[16] as number) | IFF_UP;
  const errno = got !== 0 || libc.ioctl(fd, SIOCSIFFLAGS, request) !== 0 ? lastErrno() : 0;
  libc.close(fd);
  if (errno !== 0) throw new SystemError('ioctl', errno, 'SIOCSIFFLAGS lo up');
}
