// The gRPC service that signs certificates.
import type { Server, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import {
  callFacts,
  grpcError,
  RpcError,
  SigningError,
  type CallFacts,
  type CertificateAuthority,
} from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import {
  createCertificateMethodPath,
  decodeCertificateRequest,
  encodeCertificateResponse,
  WireError,
  type CertificateRequest,
} from '#/wire/index.ts';
import type { Caller } from './caller.ts';
import { Gate, RateLimit } from './limits.ts';
import { authorizeImpersonation, type NodeRules, type PodView } from './node-authorization.ts';

export type CaOutcome = 'success' | 'unauthenticated' | 'csr' | 'ttl' | 'not-ready' | 'overload' | 'error';

export interface CaServiceOptions {
  readonly authenticate: (call: CallFacts) => Promise<Caller>;
  readonly authority: () => CertificateAuthority | undefined;
  readonly pods: PodView;
  readonly rules: NodeRules;
  readonly concurrency: number;
  readonly queue: number;
  readonly requestsPerSecond: number;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly onOutcome?: (outcome: CaOutcome) => void;
}

/** One text for all that is about who asks: a caller learns nothing from it. */
const opaque = () => new RpcError('UNAUTHENTICATED', 'request authenticate failure');

export class CaService {
  readonly #options: CaServiceOptions;
  readonly #gate: Gate;
  readonly #rate: RateLimit;

  constructor(options: CaServiceOptions) {
    this.#options = options;
    this.#gate = new Gate(options.concurrency, options.queue);
    this.#rate = new RateLimit(options.requestsPerSecond, options.clock);
  }

  addTo(server: Server): void {
    const bytes = (value: Uint8Array): Buffer =>
      Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    const same = (value: Buffer): Buffer => value;
    server.addService(
      {
        CreateCertificate: {
          path: createCertificateMethodPath,
          requestStream: false,
          responseStream: false,
          requestSerialize: same,
          requestDeserialize: same,
          responseSerialize: same,
          responseDeserialize: same,
        },
      },
      {
        CreateCertificate: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
          this.createCertificate(callFacts(call), call.request).then(
            (response) => reply(null, bytes(response)),
            (error: unknown) => reply(grpcError(error)),
          );
        },
      },
    );
  }

  /** Throws RpcError. */
  async createCertificate(call: CallFacts, request: Uint8Array): Promise<Uint8Array> {
    try {
      const chain = await this.#create(call, request);
      this.#options.onOutcome?.('success');
      return encodeCertificateResponse(chain);
    } catch (error) {
      throw this.#failure(call, error);
    }
  }

  async #create(call: CallFacts, bytes: Uint8Array): Promise<readonly string[]> {
    const { authority, log } = this.#options;
    const caller = await this.#options.authenticate(call);
    const account = `${caller.namespace}/${caller.serviceAccount}`;
    if (!this.#rate.take(`${account}/${caller.pod?.uid ?? ''}`))
      throw new RpcError('RESOURCE_EXHAUSTED', 'too many certificate requests, try again later');
    const request = decodeCertificateRequest(bytes);
    const identity = this.#identity(caller, request, call);
    const turn = this.#gate.enter();
    if (turn === undefined)
      throw new RpcError('RESOURCE_EXHAUSTED', 'too many certificate requests at once, try again later');
    using _pass = await turn;
    const ca = authority();
    if (ca === undefined) throw new SigningError('not-ready', 'the CA has no signing certificate yet');
    const { chain } = await ca.sign(request.csr, identity, request.ttlSeconds);
    log.debug('signed a certificate', { identity, caller: account, pod: caller.pod?.name });
    return chain;
  }

  #identity(caller: Caller, request: CertificateRequest, call: CallFacts): Identity {
    if (request.impersonatedIdentity === undefined) return caller.identity;
    const verdict = authorizeImpersonation(
      caller,
      request.impersonatedIdentity,
      this.#options.pods,
      this.#options.rules,
    );
    if ('identity' in verdict) return verdict.identity;
    this.#options.log.warn(`refused a certificate: ${verdict.refused}`, {
      caller: `${caller.namespace}/${caller.serviceAccount}`,
      pod: caller.pod?.name,
      peer: call.peer,
    });
    throw opaque();
  }

  #failure(call: CallFacts, error: unknown): RpcError {
    const { log, onOutcome } = this.#options;
    if (error instanceof RpcError) {
      onOutcome?.(
        error.status === 'UNAUTHENTICATED'
          ? 'unauthenticated'
          : error.status === 'RESOURCE_EXHAUSTED'
            ? 'overload'
            : 'error',
      );
      return error;
    }
    if (error instanceof SigningError) {
      onOutcome?.(error.kind);
      log.warn(`did not sign a certificate: ${errorText(error)}`, { peer: call.peer });
      return new RpcError(error.status, error.message);
    }
    if (error instanceof WireError) {
      onOutcome?.('csr');
      return new RpcError('INVALID_ARGUMENT', error.message);
    }
    onOutcome?.('error');
    log.error(`could not sign a certificate: ${errorText(error)}`, { peer: call.peer });
    return new RpcError('INTERNAL', 'the certificate could not be signed');
  }
}
