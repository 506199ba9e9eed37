// One datagram with passed fds, by sendmsg and recvmsg. The structures of the kernel (64 bit) are laid out by
// hand in one block per thread: calls are synchronous, so one is enough.
import { addressOf, lastErrno, libc } from './libc.ts';

/** What one datagram can carry. The kernel's own limit is 253 (SCM_MAX_FD). */
export const maxFds = 16;

const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

const cmsgHeader = 16;
/** What recvmsg may fill: more fds than that, and it says MSG_CTRUNC. */
const receiveControl = cmsgHeader + maxFds * 4;
/** `sendDatagram` itself takes more, so that tests can play the bad peer. */
const maxSentFds = 2 * maxFds;
const controlSize = cmsgHeader + maxSentFds * 4;
// struct msghdr: name, namelen, iov, iovlen, control, controllen, flags; then struct iovec; then control.
const iovAt = 56;
const controlAt = 72;

const block = new ArrayBuffer(controlAt + controlSize);
const bytes = new Uint8Array(block);
const view = new DataView(block);
const base = addressOf(bytes);
view.setBigUint64(16, base + BigInt(iovAt), true);
view.setBigUint64(24, 1n, true);

let data = new Uint8Array(new ArrayBuffer(4096));
pointAtData();

function pointAtData(): void {
  view.setBigUint64(iovAt, addressOf(data), true);
}

function room(size: number): void {
  if (size <= data.length) return;
  data = new Uint8Array(new ArrayBuffer(size));
  pointAtData();
}

function setControl(length: number): void {
  view.setBigUint64(32, length === 0 ? 0n : base + BigInt(controlAt), true);
  view.setBigUint64(40, BigInt(length), true);
  view.setUint32(48, 0, true);
}

/** Sends one datagram. Returns 0, or the errno (EAGAIN: no room now). */
export function sendDatagram(fd: number, payload: Uint8Array, fds: readonly number[]): number {
  if (fds.length > maxSentFds) throw new RangeError(`a message carries at most ${maxSentFds} fds`);
  room(payload.length);
  data.set(payload);
  view.setBigUint64(iovAt + 8, BigInt(payload.length), true);
  if (fds.length === 0) setControl(0);
  else {
    const length = cmsgHeader + fds.length * 4;
    setControl((length + 7) & ~7);
    view.setBigUint64(controlAt, BigInt(length), true);
    view.setInt32(controlAt + 8, SOL_SOCKET, true);
    view.setInt32(controlAt + 12, SCM_RIGHTS, true);
    fds.forEach((one, i) => view.setInt32(controlAt + cmsgHeader + 4 * i, one, true));
  }
  return libc.sendmsg(fd, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? lastErrno() : 0;
}

export interface Received {
  /** A copy, of at most `limit` bytes. */
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  /** What did not fit: then `fds` are closed already, and empty. */
  readonly truncated: 'data' | 'fds' | undefined;
}

/** Takes one datagram of at most `limit` bytes. Returns the errno if there is none. */
export function receiveDatagram(fd: number, limit: number): Received | number {
  room(limit);
  view.setBigUint64(iovAt + 8, BigInt(limit), true);
  setControl(receiveControl);
  const count = libc.recvmsg(fd, bytes, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) return lastErrno();
  const fds = receivedFds(Number(view.getBigUint64(40, true)));
  const flags = view.getInt32(48, true);
  const truncated = (flags & MSG_CTRUNC) !== 0 ? 'fds' : (flags & MSG_TRUNC) !== 0 ? 'data' : undefined;
  if (truncated === undefined) return { bytes: data.slice(0, count), fds, truncated };
  for (const one of fds) libc.close(one);
  return { bytes: data.slice(0, count), fds: [], truncated };
}

function receivedFds(controlLength: number): number[] {
  const fds: number[] = [];
  for (let at = 0; at + cmsgHeader <= controlLength;) {
    const length = Number(view.getBigUint64(controlAt + at, true));
    if (length < cmsgHeader) break;
    const isRights =
      view.getInt32(controlAt + at + 8, true) === SOL_SOCKET &&
      view.getInt32(controlAt + at + 12, true) === SCM_RIGHTS;
    const end = Math.min(length, controlLength - at);
    for (let i = cmsgHeader; isRights && i + 4 <= end; i += 4)
      fds.push(view.getInt32(controlAt + at + i, true));
    at += (length + 7) & ~7;
  }
  return fds;
}
