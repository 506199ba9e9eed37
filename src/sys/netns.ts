// Network namespaces: opening them, telling them apart, and running code with this thread inside one.
// The namespace belongs to the thread, so each worker has its own home and its own place.
import { access, closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import type { Netns } from './kernel.ts';
import { CLONE_NEWNET, lastErrno, libc } from './libc.ts';
import { SystemError } from './system-error.ts';

/** NS_GET_NSTYPE: which kind of namespace an fd of nsfs is. */
const getNsType = 0xb703n;

class NetnsHandle implements Netns {
  readonly fd: number;
  readonly inode: bigint;
  readonly dev: bigint;
  readonly label: string;
  #open = true;

  constructor(fd: number, label: string) {
    const stat = fstatSync(fd, { bigint: true });
    this.fd = fd;
    this.inode = stat.ino;
    this.dev = stat.dev;
    this.label = label;
  }

  get open(): boolean {
    return this.#open;
  }

  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

/** Takes ownership of `fd`; closes it and throws if it is not a network namespace. */
export function adoptNetns(fd: number, label = `fd ${fd}`): Netns {
  // ioctl numbers are only unique per file system, but no file that is not on nsfs answers with this value.
  const type = libc.ioctl(fd, getNsType, 0);
  const errno = type < 0 ? lastErrno() : 0;
  if (type === CLONE_NEWNET) return new NetnsHandle(fd, label);
  if (errno !== 9) libc.close(fd);
  if (errno === 9) throw new SystemError('ioctl', errno, `NS_GET_NSTYPE of ${label}`);
  throw new TypeError(`${label} is not a network namespace`);
}

/** Opens a namespace by path, such as /proc/PID/ns/net. */
export function openNetns(path: string): Netns {
  return adoptNetns(openSync(path, 'r'), path);
}

/** The namespace of a process. Fails with ENOENT if it has gone. */
export function netnsOfProcess(pid: number): Netns {
  return openNetns(`/proc/${pid}/ns/net`);
}

export function duplicateNetns(netns: Netns): Netns {
  const fd = libc.dupCloseOnExec(netns.fd);
  if (fd < 0) throw new SystemError('fcntl', lastErrno(), `F_DUPFD_CLOEXEC of netns ${netns.label}`);
  return new NetnsHandle(fd, netns.label);
}

export const sameNetns = (a: Netns, b: Netns): boolean => a.inode === b.inode && a.dev === b.dev;

/** The fd of the namespace that this thread is in; undefined until it has been elsewhere. */
let place: number | undefined;

function home(): number {
  // libuv makes its threads at the first asynchronous call. Made while inside a pod, they would stay there.
  access('/', () => {});
  return openSync('/proc/thread-self/ns/net', 'r');
}

/** Enters; returns the fd to give to `leaveNetns`. Nothing but system calls may stand between the two. */
export function enterNetns(netns: Netns): number {
  const back = (place ??= home());
  if (netns instanceof NetnsHandle && !netns.open)
    throw new Error(`netns ${netns.label} has been disposed of; it cannot be entered`);
  if (libc.setns(netns.fd, CLONE_NEWNET) !== 0)
    throw new SystemError('setns', lastErrno(), `into netns ${netns.label}`);
  place = netns.fd;
  return back;
}

export function leaveNetns(back: number): void {
  if (libc.setns(back, CLONE_NEWNET) !== 0) {
    // process.abort is refused in a worker. Going on would open sockets in a stranger's network.
    writeSync(2, `fatal: setns back to the own netns failed: errno ${lastErrno()}\n`);
    libc.abort();
  }
  place = back;
}

/** See Kernel.inNetns. May be nested. */
export function inNetns<T>(netns: Netns | undefined, fn: () => T): T {
  if (netns === undefined) return fn();
  const back = enterNetns(netns);
  let result: T;
  try {
    result = fn();
  } finally {
    leaveNetns(back);
  }
  if (result instanceof Promise)
    throw new TypeError(
      `inNetns(${netns.label}) was given an asynchronous function: its later part ran in the wrong netns`,
    );
  return result;
}
