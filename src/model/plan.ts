// Plans: what a proxy is going to do with one connection. Made by `route`, carried out by a proxy,
// printed by `aura explain`. Plain data.
import type { Ip, SocketAddress } from '#/kit/index.ts';
import type { ErrorCode } from '#/errors/index.ts';
import type { Identity } from './identity.ts';
import type { MeshKey } from './mesh-view.ts';
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
  /** Answers of DNS by hostname, for destinations that have no address. An empty list: there is none. */
  readonly resolved?: ReadonlyMap<string, readonly Ip[]>;
}

interface Explained {
  /** Why this plan, step by step. Only when asked for. */
  readonly because?: readonly string[];
}

/** The decision cannot be made yet: fetch the keys, resolve the names, then plan again. */
export interface Needs extends Explained {
  readonly kind: 'needs';
  readonly keys: readonly MeshKey[];
  /** DNS names to put into `resolved`. */
  readonly hostnames: readonly string[];
}

export interface Rejection extends Explained {
  readonly kind: 'reject';
  readonly code: ErrorCode;
  /** What stands after `error=` in the access log. */
  readonly reason: string;
}

export interface Passthrough extends Explained {
  readonly kind: 'passthrough';
  readonly nextHop: SocketAddress;
  /** Set when the destination is known to the mesh but takes plain TCP. */
  readonly destination?: Workload;
  readonly service?: Service;
}

export interface HboneHop extends Explained {
  readonly kind: 'hbone';
  /** Where the TLS connection goes: the workload's, waypoint's or gateway's address and HBONE port. */
  readonly nextHop: SocketAddress;
  /** `:authority` of the CONNECT. */
  readonly authority: string;
  /** The peer must present one of these. An empty list accepts nobody. */
  readonly expectedIdentities: readonly Identity[];
  /** The workload that terminates this hop (the waypoint's, when there is one). */
  readonly destination: Workload;
  /** The service that the client addressed, if it did. */
  readonly service?: Service;
  readonly viaWaypoint: boolean;
}

export interface DoubleHbone extends Explained {
  readonly kind: 'double-hbone';
  /** To the gateway of the other network; its destination is the gateway's workload. */
  readonly outer: HboneHop;
  /** `host:port`, the same on both layers. */
  readonly authority: string;
  /** The end of the inner tunnel must present one of these, those of the service only. An empty list accepts nobody. */
  readonly innerIdentities: readonly Identity[];
  readonly service: Service;
}

export type OutboundPlan = Needs | Rejection | Passthrough | HboneHop | DoubleHbone;

/** What is known when a CONNECT request has arrived on 15008. */
export interface InboundFacts {
  /** The workload that owns the pod. */
  readonly local: Workload;
  /** The connection's own destination: the pod's address and 15008. */
  readonly connection: SocketAddress;
  readonly peer: SocketAddress;
  readonly peerIdentity: Identity;
  /** Absent: CONNECT. */
  readonly method?: string;
  readonly authority: string;
  /** `host=` of the Forwarded header, if any. */
  readonly forwardedHost?: string;
  /** The x-forwarded-network header, if any: the client's network, when it came through a gateway. */
  readonly forwardedNetwork?: string;
  /** The network of this node. */
  readonly network: string;
}

/** What is known when a plaintext connection has been captured on 15006. */
export interface PlaintextFacts {
  readonly local: Workload;
  readonly peer: SocketAddress;
  readonly originalDestination: SocketAddress;
  readonly network: string;
}

export interface InboundRejection extends Explained {
  readonly kind: 'reject';
  /** For plaintext there is nobody to tell: the connection is closed. */
  readonly status: 400 | 503;
  readonly code: ErrorCode;
  readonly reason: string;
}

export interface Delivery extends Explained {
  readonly kind: 'deliver';
  /** What policy judges: the pod's address and the port that the application listens on. */
  readonly destination: SocketAddress;
  /** Where to dial: the destination, or a loopback address for an application's tunnel. */
  readonly target: SocketAddress;
  /** The address to bind before dialling, so that the application sees its real client. */
  readonly sourceAddress?: Ip;
  /** Write a PROXY v2 header first, from the peer to this address, with the peer's identity in TLV 0xD0. */
  readonly proxyProtocol?: { readonly destination: SocketAddress };
  /** The service that was most likely meant; for labels only. */
  readonly service?: Service;
  /** The workload at the peer's address; for labels only. Never set when the client is on another network. */
  readonly source?: Workload;
  /** True if the client is on another network: only its baggage says who it is. */
  readonly throughGateway: boolean;
}

export type InboundPlan = Needs | InboundRejection | Delivery;
