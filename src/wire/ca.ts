// The messages of istio.v1.auth.IstioCertificateService.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from './gen/istio/v1/auth/ca_pb.ts';
import { parsed } from './wire-error.ts';

export const createCertificateMethodPath = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

export interface CertificateRequest {
  /** PEM. */
  readonly csr: string;
  readonly ttlSeconds: number;
  /** The SPIFFE id that is asked for when it is not the caller's own. */
  readonly impersonatedIdentity?: string;
}

export function encodeCertificateRequest(request: CertificateRequest): Uint8Array {
  const metadata: JsonObject | undefined =
    request.impersonatedIdentity === undefined
      ? undefined
      : { ImpersonatedIdentity: request.impersonatedIdentity };
  return toBinary(
    IstioCertificateRequestSchema,
    create(IstioCertificateRequestSchema, {
      csr: request.csr,
      validityDuration: BigInt(Math.trunc(request.ttlSeconds)),
      ...(metadata && { metadata }),
    }),
  );
}

/** Throws WireError. Metadata other than a string ImpersonatedIdentity is passed over. */
export function decodeCertificateRequest(bytes: Uint8Array): CertificateRequest {
  const message = parsed('IstioCertificateRequest', () => fromBinary(IstioCertificateRequestSchema, bytes));
  const impersonated = message.metadata?.['ImpersonatedIdentity'];
  return {
    csr: message.csr,
    ttlSeconds: Number(message.validityDuration),
    ...(typeof impersonated === 'string' && impersonated !== '' && { impersonatedIdentity: impersonated }),
  };
}

/** `chain`: the leaf, each intermediate, and as the last element the roots. */
export function encodeCertificateResponse(chain: readonly string[]): Uint8Array {
  return toBinary(
    IstioCertificateResponseSchema,
    create(IstioCertificateResponseSchema, { certChain: [...chain] }),
  );
}

/** Throws WireError. */
export function decodeCertificateResponse(bytes: Uint8Array): readonly string[] {
  return parsed('IstioCertificateResponse', () => fromBinary(IstioCertificateResponseSchema, bytes))
    .certChain;
}
