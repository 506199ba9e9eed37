// Every way in which a connection or a request can fail, in one table. The code is stable: scripts and
// docs/errors.md name it. An entry without a reason does not type-check.
import type { LogLevel } from '#/kit/index.ts';

/** The `response_flags` label of Istio's TCP metrics. */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED';

export interface ErrorEntry {
  /** What happened, in the words of the access log where upstream has some. */
  readonly text: string;
  readonly cause: string;
  readonly flag: ResponseFlag;
  readonly level: LogLevel;
}

export const errorRegistry = {
  POLICY_DENIED: {
    text: 'connection closed due to policy rejection',
    cause: 'an AuthorizationPolicy or PeerAuthentication refuses this client; the line names it',
    flag: 'DENY',
    level: 'error',
  },
  POLICY_CHANGED: {
    text: 'connection closed due to policy change',
    cause: 'a policy that was added or changed refuses a connection that was open',
    flag: 'DENY',
    level: 'error',
  },
  POLICY_UNKNOWN: {
    text: 'connection closed due to policy rejection: a policy that the workload lists is not known',
    cause: 'the control plane names a policy that it has not sent (yet); refused until it arrives',
    flag: 'DENY',
    level: 'error',
  },
  SELF_CALL: {
    text: 'attempted recursive call to ourselves',
    cause: "the destination is one of the proxy's own ports",
    flag: '-',
    level: 'warn',
  },
  UNKNOWN_SOURCE: {
    text: 'unknown source',
    cause: 'the control plane has not sent the workload of this pod within 5 s',
    flag: '-',
    level: 'warn',
  },
  NO_HEALTHY_UPSTREAM: {
    text: 'no healthy upstream',
    cause: 'the service has no ready endpoint that serves this port',
    flag: 'CONNECT',
    level: 'error',
  },
  NO_ROUTE: {
    text: 'no valid routing destination for workload',
    cause: 'the endpoint is on another network and no gateway leads there, or it has no address',
    flag: 'CONNECT',
    level: 'error',
  },
  UNKNOWN_WAYPOINT: {
    text: 'unknown waypoint',
    cause:
      'the service or workload is bound to a waypoint that is not known or not ready; traffic does not go round it',
    flag: 'CONNECT',
    level: 'error',
  },
  CONNECT_FAILED: {
    text: 'connection failed',
    cause: 'the next hop refused the TCP connection or could not be reached',
    flag: 'CONNECT',
    level: 'error',
  },
  CONNECT_TIMEOUT: {
    text: 'connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008',
    cause: 'no answer from the next hop within 10 s',
    flag: 'NETWORK_POLICY',
    level: 'error',
  },
  TLS_FAILED: {
    text: 'tls handshake error',
    cause: 'the peer has no valid certificate, or does not speak mutual TLS 1.3',
    flag: 'TLS_FAILURE',
    level: 'error',
  },
  IDENTITY_MISMATCH: {
    text: 'identity verification error: peer did not present the expected SAN',
    cause: 'the peer at that address is not who the control plane said',
    flag: 'TLS_FAILURE',
    level: 'error',
  },
  CERTIFICATE_UNAVAILABLE: {
    text: 'identity error: no certificate for this workload',
    cause: 'the certificate authority refused or could not be reached',
    flag: 'IDENTITY_ERROR',
    level: 'error',
  },
  CERTIFICATE_REVOKED: {
    text: 'connection closed: peer certificate revoked by CRL',
    cause: "the peer's certificate is on the revocation list",
    flag: 'CERT_REVOKED',
    level: 'error',
  },
  H2_FAILED: {
    text: 'http2 handshake failed',
    cause: 'the peer speaks TLS but not HTTP/2, or broke its rules',
    flag: 'H2_HANDSHAKE_FAILURE',
    level: 'error',
  },
  HTTP_STATUS: {
    text: 'http status',
    cause: 'the peer answered the CONNECT with this status; its own log has the reason',
    flag: 'CONNECT',
    level: 'error',
  },
  BAD_CONNECT: {
    text: 'invalid CONNECT request',
    cause: 'the request is not a CONNECT, or its authority is not host:port',
    flag: '-',
    level: 'warn',
  },
  IP_MISMATCH: {
    text: 'ip mismatch',
    cause: 'the CONNECT names an address that does not belong to the pod it was sent to',
    flag: '-',
    level: 'warn',
  },
  PEER_RESET: {
    text: 'connection reset by peer',
    cause: 'the peer ended the stream or the tunnel abruptly',
    flag: '-',
    level: 'error',
  },
  DRAINED: {
    text: 'connection closed due to connection drain',
    cause: 'the proxy is shutting down, or the pod is gone, and the deadline has passed',
    flag: '-',
    level: 'error',
  },
  OVER_LIMIT: {
    text: 'too many connections',
    cause: 'a limit of the proxy is reached; see its limits in the documentation',
    flag: '-',
    level: 'warn',
  },
  UNSUPPORTED: {
    text: 'not supported',
    cause: 'the destination asks for something that this build does not do; the line names it',
    flag: 'CONNECT',
    level: 'error',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorRegistry;

/** An error with a code of the registry. `message` is what the access log prints. */
export class MeshError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message?: string, options?: ErrorOptions) {
    super(message ?? errorRegistry[code].text, options);
    this.name = 'MeshError';
    this.code = code;
  }

  get entry(): ErrorEntry {
    return errorRegistry[this.code];
  }
}

/** The text of an unknown thrown value, with its chain of causes. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const own = error.message === '' ? error.name : error.message;
  return error.cause === undefined ? own : `${own}: ${errorText(error.cause)}`;
}
