// What the gRPC services of the control plane and their clients share: facts about a call, errors with a
// status. Knows nothing of certificates or of xDS.
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';

/** What a service may know of a caller before it has read the request. Plain, so that tests need no socket. */
export interface CallFacts {
  /** The first value of a header, by lower-case name. */
  header(name: string): string | undefined;
  /** `ip:port` of the peer. */
  readonly peer: string;
  /** DER of the client certificate; only when it was verified against the server's roots. */
  readonly peerCertificate?: Uint8Array;
}

type StatusName = keyof typeof status;

/** An error that reaches the caller with this status and this text. Any other error is an opaque Internal. */
export class RpcError extends Error {
  readonly status: StatusName;

  constructor(name: StatusName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RpcError';
    this.status = name;
  }

  get code(): number {
    return status[this.status];
  }
}

interface SurfaceCall {
  readonly metadata: Metadata;
  getPeer(): string;
  getAuthContext(): { sslPeerCertificate?: { raw: Uint8Array } };
}

export function callFacts(call: SurfaceCall): CallFacts {
  const certificate = call.getAuthContext().sslPeerCertificate?.raw;
  return {
    header(name) {
      const value = call.metadata.get(name)[0];
      return value === undefined ? undefined : String(value);
    },
    peer: call.getPeer(),
    ...(certificate && { peerCertificate: certificate }),
  };
}

/** The gRPC form of what a handler threw. */
export function grpcError(error: unknown): { code: number; details: string } {
  if (error instanceof RpcError) return { code: error.code, details: error.message };
  return { code: status.INTERNAL, details: 'internal error' };
}

/** The name of a gRPC status code, `UNKNOWN` for a number without a name. */
export function statusName(code: number): StatusName {
  return (status[code] as StatusName | undefined) ?? 'UNKNOWN';
}

export const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && 'code' in error && typeof error.code === 'number' && 'details' in error;

/** Request headers as gRPC metadata. Names are lower-cased; values are trimmed, as HTTP has it. */
export function toMetadata(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name.toLowerCase(), value.trim());
  return metadata;
}
