// What is known of a request or a TCP connection when it is over: filled in by the engine, read by log, metrics and
// spans. Plain data; headers stay where they are and are looked up only if a format asks for them.
import type { SocketAddress } from '#/kit/index.ts';
import type { HeaderView, Identity, Service, Workload } from '#/model/index.ts';
import type { HttpResponseFlag } from './response-flags.ts';

/** What requests and connections have in common. Absent: not known, or not reached. Times in milliseconds. */
export interface TrafficRecord {
  /** Since the epoch, with a fraction if there is one. */
  readonly startedAt: number;
  readonly durationMs: number;
  readonly flags: readonly HttpResponseFlag[];
  /** Bodies as the waypoint sees them: from the client, to the client. Of TCP: the streams. */
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Envoy's texts, e.g. `via_upstream`, `route_not_found`, `upstream_response_timeout`. */
  readonly responseCodeDetails?: string | undefined;
  readonly connectionTerminationDetails?: string | undefined;
  readonly upstreamTransportFailureReason?: string | undefined;
  /** The endpoint that was tried last. */
  readonly upstreamHost?: SocketAddress | undefined;
  /** `inbound-vip|<port>|http|<host>;`, as upstream names it; see upstreamClusterName. */
  readonly upstreamCluster?: string | undefined;
  readonly upstreamLocalAddress?: SocketAddress | undefined;
  readonly upstreamAttempts?: number | undefined;
  /** What the client addressed. */
  readonly downstreamLocalAddress: SocketAddress;
  /** The client: behind trusted proxies, else the peer. */
  readonly downstreamRemoteAddress: SocketAddress;
  /** The peer; absent if it is the same. */
  readonly downstreamDirectRemoteAddress?: SocketAddress | undefined;
  readonly requestedServerName?: string | undefined;
  readonly routeName?: string | undefined;
  readonly connectionId?: number | undefined;

  readonly source?: Workload | undefined;
  readonly destination?: Workload | undefined;
  /** The service that was meant. */
  readonly service?: Service | undefined;
  /** From the client's certificate. */
  readonly sourceIdentity?: Identity | undefined;
  /** Absent: that of the destination's record. */
  readonly destinationIdentity?: Identity | undefined;
  /** The waypoint's own. */
  readonly localIdentity?: Identity | undefined;
  readonly mutualTls: boolean;
}

export interface HttpExchangeRecord extends TrafficRecord {
  readonly kind: 'http';
  readonly method: string;
  /** As it was sent on, with the query. */
  readonly path: string;
  /** As the client sent it, if it was rewritten. */
  readonly originalPath?: string | undefined;
  readonly scheme: 'http' | 'https';
  readonly authority: string;
  readonly protocol: 'HTTP/1.0' | 'HTTP/1.1' | 'HTTP/2';
  readonly upstreamProtocol?: 'HTTP/1.1' | 'HTTP/2' | undefined;
  /** 0: there was no answer. */
  readonly responseCode: number;
  /** From the start: until the last byte of the request was there. */
  readonly requestMs?: number | undefined;
  /** From the start: until the first byte of the upstream's answer was there. */
  readonly responseMs?: number | undefined;
  /** x-envoy-upstream-service-time. */
  readonly upstreamServiceMs?: number | undefined;
  readonly requestHeaderBytes?: number | undefined;
  readonly responseHeaderBytes?: number | undefined;
  readonly requestId?: string | undefined;
  readonly requestHeaders?: HeaderView | undefined;
  readonly responseHeaders?: HeaderView | undefined;
  readonly trailers?: HeaderView | undefined;
  readonly traceId?: string | undefined;
  readonly spanId?: string | undefined;
  /** The request was gRPC. */
  readonly grpc: boolean;
  /** From the trailers, or the headers of an answer without a body. */
  readonly grpcStatus?: number | undefined;
  /** gRPC messages, if they were counted. */
  readonly requestMessages?: number | undefined;
  readonly responseMessages?: number | undefined;
}

export interface TcpConnectionRecord extends TrafficRecord {
  readonly kind: 'tcp';
}

export type AnyRecord = HttpExchangeRecord | TcpConnectionRecord;

/** As upstream prints it: `inbound-vip|80|http|cart.shop.svc.cluster.local;`, with `http/v2` for a subset. */
export const upstreamClusterName = (
  port: number,
  protocol: 'http' | 'tcp',
  hostname: string,
  subset?: string,
): string => `inbound-vip|${port}|${protocol}${subset === undefined ? '' : `/${subset}`}|${hostname};`;
