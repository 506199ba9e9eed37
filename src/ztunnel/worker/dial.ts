// Opens a TCP connection from inside a pod's network namespace, marked so that the pod's own rules let it pass.
import type { Socket } from 'node:net';
import { MeshError } from '#/errors/index.ts';
import { formatSocketAddress, type Clock, type SocketAddress } from '#/kit/index.ts';
import type { KeepAlive, Kernel, Netns, TcpConnectOptions } from '#/sys/index.ts';
import type { PodSockets } from './pod-sockets.ts';

export interface Dialer {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly mark: number;
  readonly keepAlive?: KeepAlive | undefined;
  readonly userTimeoutMs?: number | undefined;
  readonly sockets: PodSockets;
}

export interface DialTarget {
  readonly netns: Netns;
  readonly to: SocketAddress;
  /** The source address; the port is the kernel's choice. */
  readonly from?: string | undefined;
  /**
   * What is dialled. HBONE's hint at NetworkPolicy, when nobody answers, is of use to nobody else; an application is
   * in the same namespace, so that its end is always seen and needs no keepalive.
   */
  readonly kind: 'hbone' | 'application' | 'remote';
}

export const connectTimeoutMs = 10_000;

/**
 * Calls exactly one of the two; before it returns if the socket cannot be made, or is connected at once, as those of
 * applications mostly are. The socket is paused, half-open allowed, without listeners of ours. Dispose what it returns
 * to give up; undefined if there is nothing left to give up.
 */
export function dial(
  dialer: Dialer,
  target: DialTarget,
  connected: (socket: Socket) => void,
  failed: (error: MeshError) => void,
): Disposable | undefined {
  const where = formatSocketAddress(target.to.ip, target.to.port);
  const local = target.kind === 'application';
  const options: TcpConnectOptions = {
    netns: target.netns,
    ip: target.to.ip,
    port: target.to.port,
    mark: dialer.mark,
    noDelay: true,
    keepAlive: local ? undefined : dialer.keepAlive,
    userTimeoutMs: local ? undefined : dialer.userTimeoutMs,
    bindIp: target.from,
  };
  let socket: Socket;
  let atOnce: boolean;
  try {
    const ready = local ? dialer.kernel.connectAtOnce(options) : undefined;
    socket = ready ?? dialer.kernel.connect(options);
    atOnce = ready !== undefined;
  } catch (cause) {
    const error = cause as NodeJS.ErrnoException;
    const text = error.syscall === 'connect' ? `${where}: ${connectErrorText(error)}` : error.message;
    failed(new MeshError('CONNECT_FAILED', `connection failed: ${text}`));
    return undefined;
  }
  dialer.sockets.add(socket, 'other');
  if (atOnce) {
    connected(socket);
    return undefined;
  }
  const timer = dialer.clock.after(connectTimeoutMs, () => {
    settle();
    socket.destroy();
    failed(
      target.kind === 'hbone'
        ? new MeshError('CONNECT_TIMEOUT')
        : new MeshError(
            'CONNECT_FAILED',
            `connection failed: ${where}: no answer within ${connectTimeoutMs / 1000} s`,
          ),
    );
  });
  const settle = (): void => {
    timer[Symbol.dispose]();
    socket.off('connect', onConnect);
    socket.off('error', onError);
  };
  const onConnect = (): void => {
    settle();
    socket.pause();
    connected(socket);
  };
  const onError = (error: NodeJS.ErrnoException): void => {
    settle();
    failed(new MeshError('CONNECT_FAILED', `connection failed: ${where}: ${connectErrorText(error)}`));
  };
  socket.once('connect', onConnect);
  socket.once('error', onError);
  return {
    [Symbol.dispose]: () => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
    },
  };
}

const errnoTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ECONNRESET: 'Connection reset by peer',
  ETIMEDOUT: 'Connection timed out',
};

function connectErrorText(error: NodeJS.ErrnoException): string {
  return errnoTexts[error.code ?? ''] ?? error.message;
}
