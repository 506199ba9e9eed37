// The server side of istio.v1.auth.IstioCertificateService. Who may have what is the handler's business.
import { type sendUnaryData, type Server, type ServerUnaryCall } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import type { Logger } from '#/kit/index.ts';
import {
  createCertificateMethodPath,
  decodeCertificateRequest,
  encodeCertificateResponse,
  WireError,
  type CertificateRequest,
} from '#/wire/index.ts';
import { SigningError } from './certificate-authority.ts';
import { callFacts, grpcError, RpcError, type CallFacts } from './rpc.ts';

/**
 * Returns the chain (CertificateAuthority.sign has its layout). RpcError and SigningError reach the caller with their
 * status and text; anything else is an opaque Internal, and is logged.
 */
export type CertificateHandler = (request: CertificateRequest, call: CallFacts) => Promise<readonly string[]>;

const identity = (bytes: Buffer): Buffer => bytes;

/** Adds the service to a gRPC server that is not started yet. */
export function addCertificateService(server: Server, handler: CertificateHandler, log: Logger): void {
  const createCertificate = (
    call: ServerUnaryCall<Buffer, Buffer>,
    callback: sendUnaryData<Buffer>,
  ): void => {
    void respond(call, callback, handler, log);
  };
  server.addService(
    {
      createCertificate: {
        path: createCertificateMethodPath,
        requestStream: false,
        responseStream: false,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      },
    },
    { createCertificate },
  );
}

async function respond(
  call: ServerUnaryCall<Buffer, Buffer>,
  callback: sendUnaryData<Buffer>,
  handler: CertificateHandler,
  log: Logger,
): Promise<void> {
  let reply: Buffer;
  try {
    reply = Buffer.from(await answer(call, handler));
  } catch (error) {
    if (!(error instanceof RpcError))
      log.error('certificate request failed', { peer: call.getPeer(), error: errorText(error) });
    callback({ ...grpcError(error), name: 'RpcError', message: '' });
    return;
  }
  callback(null, reply);
}

async function answer(
  call: ServerUnaryCall<Buffer, Buffer>,
  handler: CertificateHandler,
): Promise<Uint8Array> {
  try {
    return encodeCertificateResponse(await handler(decodeCertificateRequest(call.request), callFacts(call)));
  } catch (error) {
    if (error instanceof WireError) throw new RpcError('INVALID_ARGUMENT', error.message, { cause: error });
    if (error instanceof SigningError) throw new RpcError(error.status, error.message, { cause: error });
    throw error;
  }
}
