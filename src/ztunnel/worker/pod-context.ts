// What the three proxies of one pod share: its names, its namespace, its place in the mesh, and the accounts.
import type { Socket } from 'node:net';
import { errorText, MeshError } from '#/errors/index.ts';
import type { Clock, Logger, SocketAddress } from '#/kit/index.ts';
import type { MeshKey, Workload } from '#/model/index.ts';
import type { RouteSettings } from '#/route/index.ts';
import type { MirrorView } from '#/state/index.ts';
import type { WorkerCertificates } from '#/program/index.ts';
import type { Netns } from '#/sys/index.ts';
import { resetSocket, socketFd } from '#/sys/index.ts';
import type { Ledger } from '#/telemetry/index.ts';
import type { SessionPool } from '#/tunnel/index.ts';
import type { ZtunnelConfig } from '../config.ts';
import type { PodStart } from '../messages.ts';
import type { Dialer } from './dial.ts';
import type { DnsShared } from './dns/pod-dns.ts';
import type { LiveConnections } from './live-connections.ts';
import type { PodSockets } from './pod-sockets.ts';

export interface PodContext {
  readonly pod: PodStart;
  readonly netns: Netns;
  readonly config: ZtunnelConfig;
  readonly route: RouteSettings;
  readonly view: MirrorView;
  readonly certificates: WorkerCertificates;
  readonly dialer: Dialer;
  readonly ledger: Ledger;
  readonly live: LiveConnections;
  readonly sockets: PodSockets;
  readonly pool: SessionPool;
  /** Absent: questions of the pod's applications are not captured. */
  readonly dns: DnsShared | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  /** Raised when the pod is gone or the proxy drains: no new requests are taken. */
  readonly closing: AbortSignal;
  /** Whether this worker tells of the pod's listeners: one does for all. */
  readonly announces: boolean;
  /** Raised when the pod is gone, or the drain's time is up: nothing is waited for any more. */
  readonly gone: AbortSignal;
}

/** How long a connection waits for the control plane to tell of the pod. */
const unknownPodMs = 5000;

/** The pod's own workload record, if the control plane has sent it. */
export function localWorkload(context: PodContext): Workload | undefined {
  return context.view.localWorkload(context.pod);
}

/** Waits for the record; rejects with UNKNOWN_SOURCE, or DRAINED when the pod is gone. */
export function awaitLocalWorkload(context: PodContext): Promise<Workload> {
  const known = localWorkload(context);
  if (known !== undefined) return Promise.resolve(known);
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      subscription[Symbol.dispose]();
      timer[Symbol.dispose]();
      context.gone.removeEventListener('abort', onGone);
    };
    const onGone = (): void => {
      settle();
      reject(new MeshError('DRAINED'));
    };
    context.gone.addEventListener('abort', onGone);
    const subscription = context.view.onChange(() => {
      const workload = localWorkload(context);
      if (workload === undefined) return;
      settle();
      resolve(workload);
    });
    const timer = context.clock.after(unknownPodMs, () => {
      settle();
      const { namespace, name } = context.pod;
      reject(
        new MeshError(
          'UNKNOWN_SOURCE',
          `unknown source: the control plane has not told of pod ${namespace}/${name}`,
        ),
      );
    });
  });
}

/** How long a connection waits for what the main thread knows. */
const lookUpMs = 5000;

/** Waits until the view knows the keys. Rejects with NO_ROUTE when the main thread does not answer in time. */
export async function lookUp(context: PodContext, keys: readonly MeshKey[]): Promise<void> {
  const late = Promise.withResolvers<never>();
  using _timer = context.clock.after(lookUpMs, () =>
    late.reject(
      new MeshError(
        'NO_ROUTE',
        `no valid routing destination for workload: no answer to ${keys.join(', ')} within ${lookUpMs / 1000} s`,
      ),
    ),
  );
  await Promise.race([context.view.ask(keys), late.promise]);
}

export interface Ends {
  readonly peer: SocketAddress;
  readonly destination: SocketAddress;
}

/**
 * Both ends of a connection that was accepted; undefined, and the socket destroyed, if it is gone already.
 * `redirected`: the destination is where the client wanted to go before the pod's rules sent it here.
 *
 * Never by `socket.remoteAddress`: for a link-local address Node looks the interface up in its own namespace, and
 * throws where the pod's is not found.
 */
export function endsOf(context: PodContext, socket: Socket, redirected: boolean): Ends | undefined {
  const { kernel } = context.dialer;
  const fd = socketFd(socket);
  try {
    if (fd !== undefined)
      return {
        peer: kernel.peerAddress(fd),
        destination: (redirected ? kernel.originalDestination(fd) : undefined) ?? kernel.localAddress(fd),
      };
  } catch (error) {
    context.log.debug('connection gone before it was looked at', { error: errorText(error) });
  }
  socket.destroy();
  return undefined;
}

/**
 * What policy says now of a connection that it let in. While the control plane does not know the pod, its policies
 * are not known either: the connection stays as it is, and nothing new comes in.
 */
export function stillAllowed(context: PodContext, judge: (local: Workload) => boolean): boolean {
  const local = localWorkload(context);
  return local === undefined || judge(local);
}

/** What a connection comes to that was cut off while its way was looked for. */
export function abandoned(context: PodContext): MeshError {
  return context.gone.aborted
    ? new MeshError('DRAINED')
    : new MeshError('PEER_RESET', 'the client went away before its connection was established');
}

/** A connection that has no owner yet may fail at any time without anybody to tell. */
export function guard(socket: Socket): void {
  socket.on('error', () => {});
}

/** The application sees a reset, never an orderly end that it could take for an answer. */
export function cut(socket: Socket): void {
  resetSocket(socket);
}
