// Readiness of fds that libuv refuses to watch, such as SEQPACKET sockets. One epoll_wait at a time waits on
// a thread of libuv's pool (of which it takes one of four) for all fds of this JavaScript thread. While
// nothing is watched there is no call, no fd, and nothing that keeps the process alive.
import { isMainThread } from 'node:worker_threads';
import { lastErrno, libc } from './libc.ts';
import { SystemError, errnos } from './system-error.ts';

export const EPOLLIN = 1;
export const EPOLLOUT = 4;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0x80000;
const EFD_NONBLOCK_CLOEXEC = 0x800 | 0x80000;

/** struct epoll_event is packed on x86-64 only. */
const eventSize = process.arch === 'x64' ? 12 : 16;
const dataOffset = process.arch === 'x64' ? 4 : 8;
const maxEvents = 64;

/**
 * At exit Node joins the pool's threads, so the waiting call must end. The main thread's exit handler wakes it;
 * a worker may be terminated without a word, hence it looks up once a second.
 */
const waitMs = isMainThread ? -1 : 1000;

export interface Watch {
  /** EPOLLIN, EPOLLOUT, both, or 0 to stop. Must be 0 before the fd is closed. */
  update(events: number): void;
}

interface Entry {
  readonly id: number;
  readonly fd: number;
  readonly onReady: () => void;
  events: number;
}

const active = new Map<number, Entry>();
const change = new DataView(new ArrayBuffer(eventSize));
const changeBytes = new Uint8Array(change.buffer);
const happened = new DataView(new ArrayBuffer(eventSize * maxEvents));
const happenedBytes = new Uint8Array(happened.buffer);
const one = new Uint8Array(new BigUint64Array([1n]).buffer);
const wakeId = 0;
let lastId = wakeId;
let open: { epoll: number; wake: number } | undefined;
let waiting = false;

/**
 * Registers `onReady` for an fd; nothing is watched before the first `update`. It is called after each time
 * the fd is ready, and on error or hang-up, whatever was asked for.
 */
export function watch(fd: number, onReady: () => void): Watch {
  const entry: Entry = { id: 0, fd, onReady, events: 0 };
  let current = entry;
  return {
    update(events) {
      if (events === current.events) return;
      if (events === 0) {
        control(EPOLL_CTL_DEL, current, 0);
        active.delete(current.id);
        current = { ...current, events };
        if (active.size === 0) rest();
        return;
      }
      if (current.events === 0) {
        // A new id each time: an event of an earlier life, already on its way, must not be taken for ours.
        current = { ...current, id: (lastId = (lastId % 0x7fffffff) + 1), events };
        control(EPOLL_CTL_ADD, current, events);
        active.set(current.id, current);
        wait();
      } else {
        control(EPOLL_CTL_MOD, current, events);
        current.events = events;
      }
    },
  };
}

function control(operation: number, entry: Pick<Entry, 'id' | 'fd'>, events: number): void {
  const { epoll } = (open ??= create());
  change.setUint32(0, events, true);
  change.setUint32(dataOffset, entry.id, true);
  if (libc.epollCtl(epoll, operation, entry.fd, changeBytes) !== 0)
    throw new SystemError('epoll_ctl', lastErrno(), `fd ${entry.fd}`);
}

function create(): { epoll: number; wake: number } {
  const epoll = libc.epollCreate1(EPOLL_CLOEXEC);
  if (epoll < 0) throw new SystemError('epoll_create1', lastErrno(), '');
  const wake = libc.eventfd(0, EFD_NONBLOCK_CLOEXEC);
  if (wake < 0) {
    const errno = lastErrno();
    libc.close(epoll);
    throw new SystemError('eventfd', errno, '');
  }
  open = { epoll, wake };
  control(EPOLL_CTL_ADD, { id: wakeId, fd: wake }, EPOLLIN);
  process.on('exit', wakeUp);
  return open;
}

function wakeUp(): void {
  if (open !== undefined) libc.write(open.wake, one, 8);
}

function wait(): void {
  if (waiting || open === undefined) return;
  waiting = true;
  libc.epollWait.async(open.epoll, happenedBytes, maxEvents, waitMs, (error, count) => {
    const errno = count < 0 ? lastErrno() : 0;
    waiting = false;
    if (error !== null && error !== undefined) throw error as Error;
    if (count < 0 && errno !== errnos.EINTR) throw new SystemError('epoll_wait', errno, '');
    const ready: (Entry | undefined)[] = [];
    for (let i = 0; i < count; i++) {
      const id = happened.getUint32(i * eventSize + dataOffset, true);
      if (id === wakeId && open !== undefined) libc.read(open.wake, new Uint8Array(8), 8);
      else ready.push(active.get(id));
    }
    try {
      for (const entry of ready) if (entry !== undefined && active.get(entry.id) === entry) entry.onReady();
    } finally {
      if (active.size > 0) wait();
      else rest();
    }
  });
}

/** Nothing is watched now. Most often the next receive is a microtask away, so look again a turn later. */
function rest(): void {
  setImmediate(() => {
    if (active.size > 0) wait();
    else if (waiting) wakeUp();
    else if (open !== undefined) {
      const { epoll, wake } = open;
      open = undefined;
      process.off('exit', wakeUp);
      libc.close(wake);
      libc.close(epoll);
    }
  });
}
