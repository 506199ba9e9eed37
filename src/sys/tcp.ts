// TCP and UDP sockets made, marked and bound by system call. Only socket() has to run inside the namespace:
// bind, connect and listen go by the namespace of the socket, not by that of the thread.
import { formatSocketAddress, isV6, type SocketAddress } from '#/kit/index.ts';
import type {
  KeepAlive,
  Netns,
  TcpConnectOptions,
  TcpListenerOptions,
  TcpSocketOptions,
  UdpSocketOptions,
} from './kernel.ts';
import {
  AF_INET,
  AF_INET6,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  lastErrno,
  libc,
} from './libc.ts';
import { enterNetns, leaveNetns } from './netns.ts';
import { readSockaddr, sockaddr, sockaddrLength, writeSockaddr } from './sockaddr.ts';
import { SystemError, errnos } from './system-error.ts';

const SOL_IP = 0;
const SOL_SOCKET = 1;
const SOL_TCP = 6;
const SOL_IPV6 = 41;
/** Level, number and name of each option. */
const option = {
  reuseAddress: [SOL_SOCKET, 2, 'SO_REUSEADDR'],
  keepAlive: [SOL_SOCKET, 9, 'SO_KEEPALIVE'],
  reusePort: [SOL_SOCKET, 15, 'SO_REUSEPORT'],
  mark: [SOL_SOCKET, 36, 'SO_MARK'],
  transparentV4: [SOL_IP, 19, 'IP_TRANSPARENT'],
  bindAddressNoPort: [SOL_IP, 24, 'IP_BIND_ADDRESS_NO_PORT'],
  v6Only: [SOL_IPV6, 26, 'IPV6_V6ONLY'],
  transparentV6: [SOL_IPV6, 75, 'IPV6_TRANSPARENT'],
  noDelay: [SOL_TCP, 1, 'TCP_NODELAY'],
  keepIdle: [SOL_TCP, 4, 'TCP_KEEPIDLE'],
  keepInterval: [SOL_TCP, 5, 'TCP_KEEPINTVL'],
  keepCount: [SOL_TCP, 6, 'TCP_KEEPCNT'],
  userTimeout: [SOL_TCP, 18, 'TCP_USER_TIMEOUT'],
} as const satisfies Record<string, readonly [number, number, string]>;
/** SO_ORIGINAL_DST at SOL_IP, IP6T_SO_ORIGINAL_DST at SOL_IPV6. */
const originalDst = 80;

const word = new Int32Array(new ArrayBuffer(4));

function set(fd: number, which: readonly [number, number, string], value: number): void {
  word[0] = value;
  if (libc.setsockopt(fd, which[0], which[1], word, 4) !== 0)
    throw new SystemError('setsockopt', lastErrno(), `${which[2]}=${value}`);
}

const where = (netns: Netns | undefined): string => (netns === undefined ? '' : ` in netns ${netns.label}`);

function create(netns: Netns | undefined, family: number, type: number): number {
  let fd: number;
  let errno = 0;
  if (netns === undefined) {
    fd = libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) errno = lastErrno();
  } else {
    const back = enterNetns(netns);
    fd = libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) errno = lastErrno();
    leaveNetns(back);
  }
  if (fd < 0) throw new SystemError('socket', errno, `${familyName(family)}${where(netns)}`);
  return fd;
}

const familyName = (family: number): string => (family === AF_INET ? 'IPv4' : 'IPv6');

/** Runs `setUp` on a new socket; a socket that cannot be set up is closed. */
function made(fd: number, setUp: (fd: number) => void): number {
  try {
    setUp(fd);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function bindTo(fd: number, netns: Netns | undefined, ip: string, port: number): void {
  const length = writeSockaddr(ip, port);
  if (length === 0) throw new TypeError(`'${ip}' is not an IP address`);
  if (libc.bind(fd, sockaddr, length) !== 0)
    throw new SystemError('bind', lastErrno(), `${formatSocketAddress(ip, port)}${where(netns)}`);
}

function setKeepAlive(fd: number, keepAlive: KeepAlive): void {
  set(fd, option.keepAlive, 1);
  set(fd, option.keepIdle, keepAlive.timeSeconds);
  set(fd, option.keepInterval, keepAlive.intervalSeconds);
  set(fd, option.keepCount, keepAlive.retries);
}

export function checkAddress(ip: string, port: number): void {
  if (writeSockaddr(ip, port) === 0) throw new TypeError(`'${ip}' is not an IP address`);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new RangeError(`${port} is not a port (0–65535)`);
}

/** '::' falls back to 0.0.0.0 where the kernel has no IPv6 at all, or none in this namespace. */
function withFallback(host: string, make: (host: string) => number): number {
  try {
    return make(host);
  } catch (error) {
    const noV6 =
      error instanceof SystemError &&
      (error.errno === errnos.EAFNOSUPPORT || error.errno === errnos.EADDRNOTAVAIL);
    if (host !== '::' || !noV6) throw error;
    return make('0.0.0.0');
  }
}

export function tcpListener(o: TcpListenerOptions): number {
  checkAddress(o.host, o.port);
  return withFallback(o.host, (host) =>
    made(create(o.netns, isV6(host) ? AF_INET6 : AF_INET, SOCK_STREAM), (fd) => {
      set(fd, option.reuseAddress, 1);
      if (host === '::') set(fd, option.v6Only, 0);
      if (o.reusePort === true) set(fd, option.reusePort, 1);
      if (o.mark !== undefined) set(fd, option.mark, o.mark);
      if (o.transparent === true) set(fd, isV6(host) ? option.transparentV6 : option.transparentV4, 1);
      if (o.noDelay === true) set(fd, option.noDelay, 1);
      if (o.keepAlive !== undefined) setKeepAlive(fd, o.keepAlive);
      bindTo(fd, o.netns, host, o.port);
      if (libc.listen(fd, o.backlog ?? 511) !== 0)
        throw new SystemError('listen', lastErrno(), `${formatSocketAddress(host, o.port)}${where(o.netns)}`);
    }),
  );
}

export function tcpSocket(o: TcpSocketOptions): number {
  const fd = create(o.netns, o.family === 4 ? AF_INET : AF_INET6, SOCK_STREAM);
  try {
    if (o.mark !== undefined) set(fd, option.mark, o.mark);
    if (o.noDelay === true) set(fd, option.noDelay, 1);
    if (o.keepAlive !== undefined) setKeepAlive(fd, o.keepAlive);
    if (o.userTimeoutMs !== undefined) set(fd, option.userTimeout, o.userTimeoutMs);
    if (o.bindIp !== undefined) {
      // Lets through a foreign address, and one that is only about to come. The port is chosen at connect, so that ports are unique per destination and not per host.
      set(fd, o.family === 4 ? option.transparentV4 : option.transparentV6, 1);
      set(fd, option.bindAddressNoPort, 1);
      bindTo(fd, o.netns, o.bindIp, 0);
    }
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Starts a connect; throws what is known at once, EINPROGRESS apart. */
export function startConnect(fd: number, ip: string, port: number, netns?: Netns): void {
  const length = writeSockaddr(ip, port);
  if (libc.connect(fd, sockaddr, length) === 0) return;
  const errno = lastErrno();
  if (errno !== errnos.EINPROGRESS)
    throw new SystemError('connect', errno, `${formatSocketAddress(ip, port)}${where(netns)}`);
}

/**
 * Connects to an address of the socket's own namespace. Loopback delivers within the call: by its end the answer is
 * here, though it still says EINPROGRESS, since the socket was busy then; the second call tells. False if there is no
 * answer yet: the listener's queue is full, or the kernel has put the packet off.
 */
export function connectAtOnce(fd: number, ip: string, port: number, netns?: Netns): boolean {
  const length = writeSockaddr(ip, port);
  for (let i = 0; i < 2; i++) {
    if (libc.connect(fd, sockaddr, length) === 0) return true;
    const errno = lastErrno();
    if (errno !== errnos.EINPROGRESS && errno !== errnos.EALREADY)
      throw new SystemError('connect', errno, `${formatSocketAddress(ip, port)}${where(netns)}`);
  }
  return false;
}

/** A socket bound to a port of 127.0.0.1 here and now, so that it is known before the connection is. */
export function loopbackSocket(): number {
  return made(create(undefined, AF_INET, SOCK_STREAM), (fd) => bindTo(fd, undefined, '127.0.0.1', 0));
}

export function tcpConnect(o: TcpConnectOptions): number {
  checkAddress(o.ip, o.port);
  return made(tcpSocket({ ...o, family: isV6(o.ip) ? 6 : 4 }), (fd) => {
    startConnect(fd, o.ip, o.port, o.netns);
  });
}

export function udpSocket(o: UdpSocketOptions): number {
  checkAddress(o.host, o.port);
  return withFallback(o.host, (host) =>
    made(create(o.netns, isV6(host) ? AF_INET6 : AF_INET, SOCK_DGRAM), (fd) => {
      if (host === '::') set(fd, option.v6Only, 0);
      if (o.reusePort === true) set(fd, option.reusePort, 1);
      if (o.mark !== undefined) set(fd, option.mark, o.mark);
      bindTo(fd, o.netns, host, o.port);
    }),
  );
}

export function originalDestination(fd: number): SocketAddress | undefined {
  sockaddrLength[0] = 16;
  if (libc.getsockopt(fd, SOL_IP, originalDst, sockaddr, sockaddrLength) === 0) return readSockaddr();
  let errno = lastErrno();
  if (isNoEntry(errno)) {
    sockaddrLength[0] = 28;
    if (libc.getsockopt(fd, SOL_IPV6, originalDst, sockaddr, sockaddrLength) === 0) return readSockaddr();
    errno = lastErrno();
    if (isNoEntry(errno)) return undefined;
  }
  throw new SystemError('getsockopt', errno, `SO_ORIGINAL_DST of fd ${fd}`);
}

/** No connection tracking entry, no netfilter in this kernel, or an IPv4 socket asked for IPv6. */
const isNoEntry = (errno: number): boolean =>
  errno === errnos.ENOENT || errno === errnos.ENOPROTOOPT || errno === errnos.EOPNOTSUPP;

function name(fd: number, syscall: 'getsockname' | 'getpeername'): SocketAddress {
  sockaddrLength[0] = sockaddr.length;
  if (libc[syscall](fd, sockaddr, sockaddrLength) !== 0)
    throw new SystemError(syscall, lastErrno(), `fd ${fd}`);
  const address = readSockaddr();
  if (address === undefined) throw new TypeError(`fd ${fd} is not an IP socket`);
  return address;
}

export const localAddress = (fd: number): SocketAddress => name(fd, 'getsockname');
export const peerAddress = (fd: number): SocketAddress => name(fd, 'getpeername');
