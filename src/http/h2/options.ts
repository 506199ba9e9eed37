// What an HTTP/2 connection may be told, and what holds when it is not.
import { systemClock, type Clock } from '#/kit/index.ts';
import { atEndOfTurn, type SessionSettings, type TurnTask } from '#/tunnel/index.ts';
import type { PathNormalization } from '../canonical-path.ts';
import type { HttpLimits } from '../exchange.ts';
import { defaultHttpLimits } from '../limits.ts';

/** Bytes. A window bounds what a peer may send before the next hop has taken it. */
export interface H2Windows {
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly maxFrameSize: number;
}

/** What a peer may make us do for nothing before it loses its connection. */
export interface H2FloodLimits {
  /** Frames that carry nothing, beyond what streams and data account for. Default 1000, as Envoy for control frames. */
  readonly maxEmptyFrames: number;
  /** Streams given up before their answer, beyond those that end in order. Default 500, as Envoy. */
  readonly maxPrematureResets: number;
  /** By so many a second both allowances grow back. Default 100. */
  readonly perSecond: number;
}

export interface H2Options {
  readonly limits?: Partial<HttpLimits>;
  readonly windows?: Partial<H2Windows>;
  readonly flood?: Partial<H2FloodLimits>;
  /** Bytes that may gather before the outer channel takes them. Default 256 KiB. */
  readonly sendBuffer?: number;
  /** A PING after `intervalMs` of silence; the peer is gone if nothing comes for `timeoutMs` then. Absent: none. */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number };
  /** What has ended on our side must have been taken by the peer within this time of standing still. Default 300 000. */
  readonly flushTimeoutMs?: number;
  /** Server: how paths are made canonical. Default BASE. */
  readonly pathNormalization?: PathNormalization;
  /** Server: extended CONNECT (RFC 8441), for WebSocket. Default true. */
  readonly extendedConnect?: boolean;
  readonly clock?: Clock;
  /** For tests that run turns by hand. */
  readonly atEndOfTurn?: (task: TurnTask) => void;
}

export interface ResolvedOptions {
  readonly limits: HttpLimits;
  readonly session: SessionSettings;
  readonly sendBuffer: number;
  readonly keepalive: H2Options['keepalive'];
  readonly flushTimeoutMs: number;
  readonly pathNormalization: PathNormalization;
  readonly clock: Clock;
  readonly atEndOfTurn: (task: TurnTask) => void;
}

const mib = 1024 * 1024;

export function resolveOptions(role: 'client' | 'server', options: H2Options): ResolvedOptions {
  const limits = { ...defaultHttpLimits, ...options.limits };
  const clock = options.clock ?? systemClock;
  return {
    limits,
    clock,
    atEndOfTurn: options.atEndOfTurn ?? atEndOfTurn,
    session: {
      streamWindow: mib,
      connectionWindow: 4 * mib,
      maxFrameSize: 64 * 1024,
      ...options.windows,
      maxHeaderListSize: limits.maxHeadBytes,
      maxConcurrentStreams: role === 'client' ? 0 : limits.maxConcurrentStreams,
      enableConnectProtocol: role === 'server' && options.extendedConnect !== false,
      flood: {
        maxEmptyFrames: 1000,
        maxPrematureResets: 500,
        perSecond: 100,
        ...options.flood,
        now: () => clock.now(),
      },
    },
    sendBuffer: options.sendBuffer ?? 256 * 1024,
    keepalive: options.keepalive,
    flushTimeoutMs: options.flushTimeoutMs ?? 300_000,
    pathNormalization: options.pathNormalization ?? 'BASE',
  };
}
