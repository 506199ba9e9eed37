// The kernel as the mesh sees it: network namespaces and the sockets made in them. An interface, so that
// programs can be tried against the fake twin. Addresses are kit's, fds are plain numbers owned by the caller.
import type { Socket } from 'node:net';
import type { SocketAddress } from '#/kit/index.ts';

/** An open network namespace. Disposing closes the fd; sockets made in it live on. */
export interface Netns extends Disposable {
  readonly fd: number;
  /** With `dev`, the identity of the namespace: two fds of one namespace agree in both. */
  readonly inode: bigint;
  readonly dev: bigint;
  /** Where it came from, for error messages: a path, or `fd 12`. */
  readonly label: string;
}

export interface KeepAlive {
  readonly timeSeconds: number;
  readonly intervalSeconds: number;
  readonly retries: number;
}

export interface TcpListenerOptions {
  readonly netns?: Netns | undefined;
  /** An address without brackets. `::` is dual-stack, and becomes 0.0.0.0 where IPv6 is off. */
  readonly host: string;
  /** 0 lets the kernel choose; see `localAddress`. */
  readonly port: number;
  /** Default 511, as in node:net; cut by net.core.somaxconn. */
  readonly backlog?: number | undefined;
  /** SO_MARK; accepted sockets do not inherit it unless net.ipv4.tcp_fwmark_accept is set. */
  readonly mark?: number | undefined;
  readonly reusePort?: boolean | undefined;
  /** IP_TRANSPARENT: accept connections to addresses that are not local (TPROXY). */
  readonly transparent?: boolean | undefined;
  /** Inherited by accepted sockets. */
  readonly noDelay?: boolean | undefined;
  /** Inherited by accepted sockets. */
  readonly keepAlive?: KeepAlive | undefined;
}

export interface TcpSocketOptions {
  readonly netns?: Netns | undefined;
  readonly family: 4 | 6;
  readonly mark?: number | undefined;
  /** Source address, port chosen at connect. Need not be local (IP_TRANSPARENT). */
  readonly bindIp?: string | undefined;
  readonly noDelay?: boolean | undefined;
  readonly keepAlive?: KeepAlive | undefined;
  /** TCP_USER_TIMEOUT: how long sent data may stay without acknowledgement. */
  readonly userTimeoutMs?: number | undefined;
}

export interface TcpConnectOptions extends Omit<TcpSocketOptions, 'family'> {
  readonly ip: string;
  readonly port: number;
}

/** What node:net lets a socket be told at its birth. */
export interface SocketOptions {
  /** Default true: a proxy passes each half on. */
  readonly allowHalfOpen?: boolean | undefined;
}

export interface UdpSocketOptions {
  readonly netns?: Netns | undefined;
  readonly host: string;
  readonly port: number;
  readonly mark?: number | undefined;
  readonly reusePort?: boolean | undefined;
}

/**
 * What the mesh asks of the kernel. Every call is synchronous and short. Every failure is a SystemError that
 * names the call, its object and the errno. Every returned fd is close-on-exec, non-blocking and owned by the
 * caller, who gives it to node:net or node:dgram, or closes it by `close`.
 */
export interface Kernel {
  /** Opens a namespace by path: /proc/PID/ns/net, or a mount made by `createNetns`. */
  openNetns(path: string): Netns;
  /** Takes ownership of an fd that arrived by SCM_RIGHTS. Not a network namespace: closes it and throws. */
  adoptNetns(fd: number): Netns;
  /** A second handle with an fd of its own, so that two owners need not agree on who disposes. */
  duplicateNetns(netns: Netns): Netns;
  /**
   * Runs `fn` with this thread inside the namespace. `fn` must be synchronous: node:net's listen and connect
   * put their work off to a later tick, which runs outside. Without a netns, just runs `fn`. If the way back
   * fails the process aborts, since everything after would run in the wrong network.
   */
  inNetns<T>(netns: Netns | undefined, fn: () => T): T;
  /**
   * A bound, listening socket, for `server.listen({fd, backlog})`. node:net listens once more, with its own
   * backlog of 511 unless told.
   */
  tcpListener(options: TcpListenerOptions): number;
  /**
   * Dials: `tcpSocket`, taken over by node:net, which then connects it. Returns at once with a connecting
   * socket; its 'connect' or 'error' event follows. Throws only if the socket cannot be made or bound.
   */
  connect(options: TcpConnectOptions & SocketOptions): Socket;
  /**
   * Dials an address of the namespace itself, whose answer mostly is there at once: the socket is connected when this
   * returns, and saves a turn of the event loop; nothing is read from it before `resume`. Throws SystemError, that of
   * a refused connect too. Undefined: not at once; nothing is left of the attempt, and `connect` waits.
   */
  connectAtOnce(options: TcpConnectOptions & SocketOptions): Socket | undefined;
  /**
   * A marked, bound, unconnected socket. `new net.Socket({fd}).connect({host, port})` connects it in its own
   * namespace; both must be in one tick, or the socket fails with ENOTCONN. `connect` does just that.
   */
  tcpSocket(options: TcpSocketOptions): number;
  /**
   * `tcpSocket`, then a connect by system call, which is under way when this returns, or done, on loopback.
   * `new net.Socket({fd})` then has no 'connect' event: `write('', done)` waits, failure shows as a read error.
   * Prefer `connect`, which costs no more and has both.
   */
  tcpConnect(options: TcpConnectOptions): number;
  /** A bound datagram socket, for `dgram.Socket.bind({fd})`, whose 'listening' comes before it returns. */
  udpSocket(options: UdpSocketOptions): number;
  /** Where the client wanted to go before a REDIRECT rule (SO_ORIGINAL_DST, v4 then v6). Undefined: no rule. */
  originalDestination(fd: number): SocketAddress | undefined;
  /** An IPv4 address on a dual-stack socket is reported as IPv4. */
  localAddress(fd: number): SocketAddress;
  peerAddress(fd: number): SocketAddress;
  close(fd: number): void;
  /** Raises the soft limit of open files to the hard limit; returns it. */
  raiseFileLimit(): number;
}
