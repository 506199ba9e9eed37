// The fake twin of the kernel, for tests without root: namespaces are plain files, told apart by inode, and
// every socket is a real one on 127.0.0.1, under the address and port that it was asked to have.
// Not there: marks (but see FakeRedirection), keep-alive, transparent proxying, `tcpSocket` dialled by hand.
import { fstatSync, unlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { Lru, formatSocketAddress, type Ip, type SocketAddress } from '#/kit/index.ts';
import {
  FakeNetwork,
  type FakeListener,
  type FakeRedirection,
  type FakeRoute,
  type NetnsKey,
} from './fake-network.ts';
import type {
  Kernel,
  Netns,
  SocketOptions,
  TcpConnectOptions,
  TcpListenerOptions,
  TcpSocketOptions,
  UdpSocketOptions,
} from './kernel.ts';
import { O_CLOEXEC, lastErrno, libc } from './libc.ts';
import { linuxKernel } from './linux-kernel.ts';
import { SystemError, errnos } from './system-error.ts';
import * as tcp from './tcp.ts';

type SocketCall = 'tcpListener' | 'connect' | 'tcpSocket' | 'tcpConnect' | 'udpSocket' | 'adoptNetns';

interface Connection {
  readonly client: SocketAddress;
  readonly server: SocketAddress;
  readonly local: SocketAddress;
  readonly original: SocketAddress | undefined;
}

const O_RDWR_CREAT_EXCL = 0o302;
let made = 0;

class FakeNetns implements Netns {
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
    if (this.#open) libc.close(this.fd);
    this.#open = false;
  }
}

export class FakeKernel implements Kernel {
  readonly #network = new FakeNetwork();
  /** By the client's real port. */
  readonly #connections = new Lru<number, Connection>(4096);
  readonly #failures = new Map<SocketCall, number[]>();
  #inside: Netns | undefined;

  /** A new namespace with these addresses. Its fd is that of a real (unlinked) file, and can be passed on. */
  createNetns(label: string, ...ips: string[]): Netns {
    const path = join(tmpdir(), `fake-netns-${process.pid}-${threadId}-${(made += 1)}`);
    const fd = libc.open(path, O_RDWR_CREAT_EXCL | O_CLOEXEC, 0o600);
    if (fd < 0) throw new SystemError('open', lastErrno(), path);
    unlinkSync(path);
    const netns = new FakeNetns(fd, label);
    this.assign(netns, ...ips);
    return netns;
  }

  /** Gives the namespace (undefined: the own one) addresses, by which the others reach it. */
  assign(netns: Netns | undefined, ...ips: string[]): void {
    for (const ip of ips) this.#network.assign(this.#key(netns), ip);
  }

  /** Captures connections as a pod's redirection rules do. `{}` takes the rules away. */
  redirect(netns: Netns, redirection: FakeRedirection): void {
    this.#network.redirect(this.#key(netns), redirection);
  }

  /** The next calls of this kind fail with these errnos, one each. */
  failNext(call: SocketCall, ...errors: number[]): void {
    this.#failures.set(call, [...(this.#failures.get(call) ?? []), ...errors]);
  }

  /** The real loopback port behind an address, for clients and servers that know nothing of the fake. */
  realPort(
    netns: Netns | undefined,
    ip: string,
    port: number,
    protocol: 'tcp' | 'udp' = 'tcp',
  ): number | undefined {
    const route = this.#network.route(this.#key(netns), { ip: ip as Ip, port }, true, protocol);
    return typeof route === 'number' ? undefined : route.realPort;
  }

  openNetns(path: string): Netns {
    const fd = libc.open(path, O_CLOEXEC, 0);
    if (fd < 0) throw new SystemError('open', lastErrno(), path);
    return this.#adopt(fd, path);
  }

  adoptNetns(fd: number): Netns {
    this.#mayFail('adoptNetns', `fd ${fd}`);
    return this.#adopt(fd, `fd ${fd}`);
  }

  duplicateNetns(netns: Netns): Netns {
    const fd = libc.dupCloseOnExec(netns.fd);
    if (fd < 0) throw new SystemError('fcntl', lastErrno(), `F_DUPFD_CLOEXEC of netns ${netns.label}`);
    return new FakeNetns(fd, netns.label);
  }

  inNetns<T>(netns: Netns | undefined, fn: () => T): T {
    if (netns === undefined) return fn();
    this.#key(netns);
    const back = this.#inside;
    this.#inside = netns;
    let result: T;
    try {
      result = fn();
    } finally {
      this.#inside = back;
    }
    if (result instanceof Promise)
      throw new TypeError(`inNetns(${netns.label}) was given an asynchronous function`);
    return result;
  }

  tcpListener(o: TcpListenerOptions): number {
    return this.#listen('tcpListener', 'tcp', o, o.backlog);
  }

  udpSocket(o: UdpSocketOptions): number {
    return this.#listen('udpSocket', 'udp', o);
  }

  connect(o: TcpConnectOptions & SocketOptions): Socket {
    this.#mayFail('connect', formatSocketAddress(o.ip, o.port));
    const route = this.#route(o);
    if (typeof route === 'number') {
      const { code, errno } = new SystemError('connect', route, '');
      const socket = new Socket();
      const text = `connect ${code} ${formatSocketAddress(o.ip, o.port)}`;
      const error = Object.assign(new Error(text), {
        code,
        errno: -errno,
        syscall: 'connect',
        address: o.ip,
        port: o.port,
      });
      return socket.destroy(error);
    }
    const fd = this.#dial(o, route);
    return new Socket({ fd, allowHalfOpen: o.allowHalfOpen ?? true }).connect({
      host: '127.0.0.1',
      port: route.realPort,
    });
  }

  /** Never at once. */
  connectAtOnce(): undefined {
    return undefined;
  }

  /** Bound to the loopback; nothing but `close` can be done with it. Programs use `connect`. */
  tcpSocket(_o: TcpSocketOptions): number {
    this.#mayFail('tcpSocket', '');
    return tcp.loopbackSocket();
  }

  tcpConnect(o: TcpConnectOptions): number {
    this.#mayFail('tcpConnect', formatSocketAddress(o.ip, o.port));
    const route = this.#route(o);
    if (typeof route === 'number') throw new SystemError('connect', route, formatSocketAddress(o.ip, o.port));
    const fd = this.#dial(o, route);
    tcp.startConnect(fd, '127.0.0.1', route.realPort);
    return fd;
  }

  originalDestination(fd: number): SocketAddress | undefined {
    return this.#connections.peek(tcp.peerAddress(fd).port)?.original;
  }

  localAddress(fd: number): SocketAddress {
    const real = tcp.localAddress(fd);
    const dialled = this.#connections.peek(real.port);
    if (dialled !== undefined) return dialled.client;
    const listener = this.#network.byRealPort(real.port);
    return this.#accepted(fd)?.local ?? (listener === undefined ? real : address(listener));
  }

  peerAddress(fd: number): SocketAddress {
    const dialled = this.#connections.peek(tcp.localAddress(fd).port);
    return dialled?.server ?? this.#accepted(fd)?.client ?? tcp.peerAddress(fd);
  }

  close(fd: number): void {
    linuxKernel().close(fd);
  }

  /** Changes nothing. */
  raiseFileLimit(): number {
    return 1_048_576;
  }

  #adopt(fd: number, label: string): Netns {
    let isFile = false;
    try {
      isFile = fstatSync(fd).isFile();
    } catch {
      throw new SystemError('fstat', errnos.EBADF, label);
    }
    if (isFile) return new FakeNetns(fd, label);
    libc.close(fd);
    throw new TypeError(`${label} is not a network namespace`);
  }

  #key(netns: Netns | undefined): NetnsKey {
    const place = netns ?? this.#inside;
    if (place === undefined) return '';
    if (place instanceof FakeNetns && !place.open)
      throw new Error(`netns ${place.label} has been disposed of; it cannot be entered`);
    return `${place.dev}:${place.inode}`;
  }

  #mayFail(call: SocketCall, object: string): void {
    const errno = this.#failures.get(call)?.shift();
    if (errno !== undefined) throw new SystemError(call, errno, object);
  }

  #listen(
    call: SocketCall,
    protocol: 'tcp' | 'udp',
    o: Pick<TcpListenerOptions, 'host' | 'port' | 'netns' | 'reusePort'>,
    backlog?: number,
  ): number {
    tcp.checkAddress(o.host, o.port);
    const netns = this.#key(o.netns);
    const text = `${formatSocketAddress(o.host, o.port)} in netns ${o.netns?.label ?? '(own)'}`;
    this.#mayFail(call, text);
    const reusePort = o.reusePort === true;
    if (o.port !== 0 && this.#network.taken(netns, protocol, o.host, o.port, reusePort))
      throw new SystemError('bind', errnos.EADDRINUSE, text);
    const loopback = { host: '127.0.0.1', port: 0 };
    const fd = protocol === 'tcp' ? tcp.tcpListener({ ...loopback, backlog }) : tcp.udpSocket(loopback);
    const realPort = tcp.localAddress(fd).port;
    const port = o.port === 0 ? realPort : o.port;
    const alive = (): boolean => {
      try {
        return tcp.localAddress(fd).port === realPort;
      } catch {
        return false;
      }
    };
    this.#network.add({ netns, protocol, host: o.host, port, reusePort, realPort, alive });
    return fd;
  }

  #route(o: TcpConnectOptions): FakeRoute | number {
    tcp.checkAddress(o.ip, o.port);
    return this.#network.route(
      this.#key(o.netns),
      { ip: o.ip as Ip, port: o.port },
      o.mark !== undefined && o.mark !== 0,
    );
  }

  #dial(o: TcpConnectOptions, route: FakeRoute): number {
    const fd = tcp.loopbackSocket();
    const { port } = tcp.localAddress(fd);
    const ip = (o.bindIp as Ip | undefined) ?? this.#network.sourceFor(this.#key(o.netns), o.ip);
    this.#connections.set(port, {
      client: { ip, port },
      server: { ip: o.ip as Ip, port: o.port },
      local: route.local,
      original: route.original,
    });
    return fd;
  }

  #accepted(fd: number): Connection | undefined {
    try {
      return this.#connections.peek(tcp.peerAddress(fd).port);
    } catch {
      return undefined;
    }
  }
}

const address = (listener: FakeListener): SocketAddress => ({
  ip: listener.host as Ip,
  port: listener.port,
});
