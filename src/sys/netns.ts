// Network namespaces: opening them, telling them apart, and running code with this thread inside one.
// The namespace belongs to the thread, so each worker has its own home and its own place.
import { access, fstatSync, readFileSync, writeSync } from 'node:fs';
import type { Netns } from './kernel.ts';
import { CLONE_NEWNET, O_CLOEXEC, lastErrno, libc } from './libc.ts';
import { SystemError, errnos } from './system-error.ts';

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
    libc.close(this.fd);
  }
}

/** Takes ownership of `fd`; closes it and throws if it is not a network namespace. */
export function adoptNetns(fd: number, label = `fd ${fd}`): Netns {
  // ioctl numbers are only unique per file system, but no file that is not on nsfs answers with this value.
  const type = libc.ioctl(fd, getNsType, null);
  const errno = type < 0 ? lastErrno() : 0;
  if (type === CLONE_NEWNET) return new NetnsHandle(fd, label);
  if (errno === errnos.EBADF) throw new SystemError('ioctl', errno, `NS_GET_NSTYPE of ${label}`);
  libc.close(fd);
  throw new TypeError(`${label} is not a network namespace`);
}

function openFile(path: string): number {
  if (path.includes('\0')) throw new TypeError(`'${path}' is not a path`);
  const fd = libc.open(path, O_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('open', lastErrno(), path);
  return fd;
}

/** Opens a namespace by path, such as /proc/PID/ns/net. */
export function openNetns(path: string): Netns {
  return adoptNetns(openFile(path), path);
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
  return openFile('/proc/thread-self/ns/net');
}

/** The fd of the namespace that this thread is in. */
export const currentNetns = (): number => (place ??= home());

/** Enters; returns the fd to give to `leaveNetns`. Nothing but system calls may stand between the two. */
export function enterNetns(netns: Netns): number {
  const back = currentNetns();
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

/** Names of the network interfaces in a namespace, `lo` among them, whether up or not. */
export function interfaceNames(netns?: Netns): string[] {
  const text = inNetns(netns, () => readFileSync('/proc/thread-self/net/dev', 'utf8'));
  return text
    .split('\n')
    .slice(2)
    .filter((line) => line.includes(':'))
    .map((line) => line.slice(0, line.indexOf(':')).trim());
}
