// Who calls the control plane: a client certificate of our own CA, or a service account's token.
import { createHash, X509Certificate } from 'node:crypto';
import { errorText } from '#/errors/index.ts';
import { Lru, SingleFlight, systemClock, type Clock, type Logger } from '#/kit/index.ts';
import { parseCertificate, RpcError, splitPem, type CallFacts } from '#/identity/index.ts';
import type { KubeClient } from '#/kube/index.ts';
import { identityOf, identityParts, type Identity } from '#/model/index.ts';

export interface Caller {
  readonly identity: Identity;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** From a token that is bound to a pod. */
  readonly pod?: { readonly name: string; readonly uid: string };
}

export interface CallerOptions {
  readonly client: Pick<KubeClient, 'tokenReview'>;
  readonly audiences: readonly string[];
  readonly trustDomain: string;
  readonly clusterId: string;
  /** PEM of the certificates that may have signed a client's: our signing certificate, intermediates and roots. */
  readonly issuersPem: () => string;
  readonly log: Logger;
  readonly clock?: Clock;
}

/** A verdict is believed for this long: a proxy that opens many streams at once is reviewed once. */
const acceptedForMs = 30_000;
const refusedForMs = 2000;
const maxRemembered = 10_000;
const maxTokenBytes = 16 * 1024;

type Verdict = { readonly until: number } & ({ readonly caller: Caller } | { readonly refused: string });

export class CallerReview {
  readonly #options: CallerOptions;
  readonly #clock: Clock;
  readonly #verdicts = new Lru<string, Verdict>(maxRemembered);
  readonly #reviews = new SingleFlight<string, Verdict>();

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Throws RpcError UNAUTHENTICATED with a text that says nothing; the reason is in our own log. UNAVAILABLE if the
   * API server cannot be asked.
   */
  async authenticate(call: CallFacts): Promise<Caller> {
    const cluster = call.header('clusterid');
    if (cluster !== undefined && cluster !== '' && cluster !== this.#options.clusterId)
      throw this.#refuse(call, `it is of cluster "${cluster}", this is "${this.#options.clusterId}"`);
    const byCertificate =
      call.peerCertificate === undefined ? undefined : this.#certified(call.peerCertificate);
    if (typeof byCertificate === 'object') return byCertificate;
    const token = /^Bearer ([^ ]+)$/i.exec(call.header('authorization') ?? '')?.[1];
    if (token === undefined)
      throw this.#refuse(call, byCertificate ?? 'it shows neither a certificate nor a token');
    if (token.length > maxTokenBytes) throw this.#refuse(call, `its token has ${token.length} characters`);
    const verdict = await this.#review(token);
    if ('refused' in verdict) throw this.#refuse(call, verdict.refused);
    return verdict.caller;
  }

  #refuse(call: CallFacts, reason: string): RpcError {
    this.#options.log.warn(`refused a caller: ${reason}`, { peer: call.peer });
    return new RpcError('UNAUTHENTICATED', 'authentication failure');
  }

  /**
   * The caller, or why the certificate does not count. TLS has proved that the peer holds the key, but took
   * certificates of any issuer, as peers may come without one.
   */
  #certified(der: Uint8Array): Caller | string {
    try {
      const leaf = new X509Certificate(der);
      const { identity, notBefore, notAfter } = parseCertificate(der);
      const now = this.#clock.now();
      if (identity === undefined) return 'its certificate has no SPIFFE identity';
      if (now < notBefore || now > notAfter) return 'its certificate is not valid at this time';
      const issued = splitPem(this.#options.issuersPem()).some((pem) => {
        const issuer = new X509Certificate(pem);
        return issuer.ca && leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey);
      });
      if (!issued) return 'its certificate is not of this CA';
      const { trustDomain, namespace, serviceAccount } = identityParts(identity);
      if (trustDomain !== this.#options.trustDomain) return `its trust domain is ${trustDomain}`;
      return { identity, namespace, serviceAccount };
    } catch (error) {
      return `its certificate cannot be read: ${errorText(error)}`;
    }
  }

  #review(token: string): Promise<Verdict> {
    // The cache holds no token that somebody could read out of a dump.
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#verdicts.get(key);
    if (known !== undefined && known.until > this.#clock.now()) return Promise.resolve(known);
    return this.#reviews.do(key, async () => {
      const verdict = await this.#ask(token);
      this.#verdicts.set(key, verdict);
      return verdict;
    });
  }

  async #ask(token: string): Promise<Verdict> {
    const { client, audiences, log } = this.#options;
    let result: Awaited<ReturnType<KubeClient['tokenReview']>>;
    try {
      result = await client.tokenReview(token, audiences);
    } catch (error) {
      log.error(`the API server cannot review a token: ${errorText(error)}`);
      throw new RpcError('UNAVAILABLE', 'tokens cannot be checked at the moment');
    }
    const now = this.#clock.now();
    const refused = (reason: string): Verdict => ({ refused: reason, until: now + refusedForMs });
    if (!result.authenticated) return refused(`its token was not accepted: ${result.error}`);
    const { username, groups, extra } = result.user;
    const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username);
    const [, namespace, serviceAccount] = account ?? [];
    if (namespace === undefined || serviceAccount === undefined || !groups.includes('system:serviceaccounts'))
      return refused(`its token is of "${username}", which is not a service account`);
    const name = extra['authentication.kubernetes.io/pod-name']?.[0];
    const uid = extra['authentication.kubernetes.io/pod-uid']?.[0];
    return {
      caller: {
        identity: identityOf(this.#options.trustDomain, namespace, serviceAccount),
        namespace,
        serviceAccount,
        ...(name === undefined || uid === undefined ? {} : { pod: { name, uid } }),
      },
      until: Math.min(now + acceptedForMs, expiryOf(token) ?? Number.POSITIVE_INFINITY),
    };
  }
}

/** When a JWT that has been accepted ends, milliseconds; undefined if it does not say. */
function expiryOf(token: string): number | undefined {
  try {
    const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const seconds = (payload as { exp?: unknown }).exp;
    return typeof seconds === 'number' ? seconds * 1000 : undefined;
  } catch {
    return undefined;
  }
}
