// Who gets a certificate for whom: the rules around the CA's signature.
import type { Server } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import {
  addCertificateService,
  RpcError,
  SigningError,
  type CallFacts,
  type CertificateAuthority,
} from '#/identity/index.ts';
import type { Clock, Logger } from '#/kit/index.ts';
import type { Identity } from '#/model/index.ts';
import type { CertificateRequest } from '#/wire/index.ts';
import type { Caller } from './caller.ts';
import { Gate, RateLimit } from './limits.ts';
import { authorizeImpersonation, type NodeRules, type PodView } from './node-authorization.ts';

export type CaOutcome = 'success' | 'unauthenticated' | 'csr' | 'ttl' | 'not-ready' | 'overload' | 'error';

export interface CaServiceOptions {
  readonly authenticate: (call: CallFacts) => Promise<Caller>;
  /** Our own CA, or who signs in its place. */
  readonly authority: () => Pick<CertificateAuthority, 'sign'> | undefined;
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
    addCertificateService(server, (request, call) => this.create(request, call), this.#options.log);
  }

  /** The chain for a request. Throws RpcError or SigningError. */
  async create(request: CertificateRequest, call: CallFacts): Promise<readonly string[]> {
    try {
      const chain = await this.#create(request, call);
      this.#options.onOutcome?.('success');
      return chain;
    } catch (error) {
      this.#failed(call, error);
      throw error;
    }
  }

  async #create(request: CertificateRequest, call: CallFacts): Promise<readonly string[]> {
    const { authority, log } = this.#options;
    const caller = await this.#options.authenticate(call);
    const account = `${caller.namespace}/${caller.serviceAccount}`;
    if (!this.#rate.take(`${account}/${caller.pod?.uid ?? ''}`))
      throw new RpcError('RESOURCE_EXHAUSTED', 'too many certificate requests, try again later');
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

  #failed(call: CallFacts, error: unknown): void {
    const { log, onOutcome } = this.#options;
    if (error instanceof SigningError) {
      onOutcome?.(error.kind);
      log.warn(`did not sign a certificate: ${errorText(error)}`, { peer: call.peer });
    } else if (error instanceof RpcError && error.status === 'UNAUTHENTICATED')
      onOutcome?.('unauthenticated');
    else if (error instanceof RpcError && error.status === 'RESOURCE_EXHAUSTED') onOutcome?.('overload');
    else onOutcome?.('error');
  }
}
