// Plans: what a proxy is going to do with one connection. Made by `route`, carried out by a proxy,
// printed by `aura explain`. Plain data.
import type { Ip, SocketAddress } from '#/kit/index.ts';
import type { ErrorCode } from '#/errors/index.ts';
import type { Identity } from './identity.ts';
import type { Service } from './service.ts';
import type { Workload } from './workload.ts';

/** What is known when the application's connection has been captured. */
export interface OutboundFacts {
  /** The workload that owns the pod the connection came from. */
  readonly source: Workload;
  readonly sourceAddress: SocketAddress;
  readonly originalDestination: SocketAddress;
  /** The network of this node. */
  readonly network: string;
}

export interface Rejection {
  readonly kind: 'reject';
  readonly code: ErrorCode;
  /** What stands after `error=` in the access log. */
  readonly reason: string;
}

export interface Passthrough {
  readonly kind: 'passthrough';
  readonly nextHop: SocketAddress;
  /** Set when the destination is known to the mesh but takes plain TCP. */
  readonly destination?: Workload;
  readonly service?: Service;
}

export interface HboneHop {
  readonly kind: 'hbone';
  /** Where the TLS connection goes: the workload's or waypoint's address, port 15008. */
  readonly nextHop: SocketAddress;
  /** `:authority` of the CONNECT. */
  readonly authority: string;
  /** The peer must present one of these. */
  readonly expectedIdentities: readonly Identity[];
  /** The workload that terminates this hop (the waypoint's, when there is one). */
  readonly destination: Workload;
  /** The service that the client addressed, if it did. */
  readonly service?: Service;
  readonly viaWaypoint: boolean;
}

export interface DoubleHbone {
  readonly kind: 'double-hbone';
  readonly outer: HboneHop;
  /** `host:port`, the same on both layers. */
  readonly authority: string;
  readonly innerIdentities: readonly Identity[];
  readonly service: Service;
}

export type OutboundPlan = Rejection | Passthrough | HboneHop | DoubleHbone;

/** What is known when a CONNECT request has arrived on 15008. */
export interface InboundFacts {
  /** The workload that owns the pod. */
  readonly local: Workload;
  /** The connection's own destination: the pod's address and 15008. */
  readonly connection: SocketAddress;
  readonly peer: SocketAddress;
  readonly peerIdentity: Identity;
  readonly authority: string;
  /** `host=` of the Forwarded header, if any. */
  readonly forwardedHost?: string;
  readonly network: string;
}

export type InboundPlan =
  | {
      readonly kind: 'reject';
      readonly status: 400 | 401 | 503;
      readonly code: ErrorCode;
      readonly reason: string;
    }
  | {
      readonly kind: 'deliver';
      readonly target: SocketAddress;
      /** The address to bind before dialling, so that the application sees its real client. */
      readonly sourceAddress?: Ip;
      readonly proxyProtocol: boolean;
      readonly service?: Service;
    };
