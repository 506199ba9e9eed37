// What a decision may know of a request. Headers and path have been checked and canonicalised before.
import type { Ip, SocketAddress } from '#/kit/index.ts';
import type { Identity } from '../identity.ts';
import type { ServiceKey } from '../workload.ts';

export interface HeaderView {
  /** By lower-case name; several values joined with `,` (cookies with `; `). */
  get(name: string): string | undefined;
}

export interface RequestFacts {
  /** As sent: methods are case-sensitive. */
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /** Lower case, with the port if one was sent. */
  readonly authority: string;
  /** Canonical, without the query; begins with `/` (or is `*` for OPTIONS). */
  readonly path: string;
  /** Without the `?`; empty if there is none. */
  readonly query: string;
  readonly headers: HeaderView;
  /** HTTP/1.0, HTTP/1.1 or HTTP/2 toward the client. */
  readonly version: '1.0' | '1.1' | '2';
  /** True for `content-type: application/grpc`, `+proto` and the like. */
  readonly grpc: boolean;
}

/** Who sent a request or opened a connection, and where it was sent. */
export interface ConnectionFacts {
  /** The peer of the HBONE connection: the client, not a waypoint before us. */
  readonly identity: Identity | undefined;
  /** The client's address, as the tunnel told it. */
  readonly source: SocketAddress;
  /** As the client addressed it: a service's address and port, or a pod's. */
  readonly destination: SocketAddress;
  readonly service: ServiceKey | undefined;
  readonly workload: string | undefined;
  readonly sni: string | undefined;
}

/** The claims of the token that was accepted. */
export interface AuthenticatedToken {
  readonly issuer: string;
  readonly subject: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface HttpSubject {
  readonly request: RequestFacts;
  readonly connection: ConnectionFacts;
  /** Behind trusted proxies; else the peer's. */
  readonly remoteIp: Ip;
  readonly token: AuthenticatedToken | undefined;
}
