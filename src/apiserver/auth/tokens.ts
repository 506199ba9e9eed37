// Service account tokens: signed statements that end with their time, their account or their pod, whichever first.
import { randomUUID, sign, verify, createHash } from 'node:crypto';
import { Lru } from '#/kit/index.ts';
import type { Item } from '../json.ts';
import type { User } from '../serving/call.ts';
import type { Keys } from './keys.ts';

/** Who signs; also the audience of tokens for the API itself. */
export const issuer = 'https://kubernetes.default.svc.cluster.local';

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly node?: { readonly name: string; readonly uid: string };
  readonly secret?: { readonly name: string; readonly uid: string };
}

/** Reads current objects, to see whether what a token is bound to still lives. */
export type Finder = (collection: string, namespace: string, name: string) => Item | undefined;

export type TokenCheck =
  | { readonly user: User; readonly audiences: readonly string[] }
  | { readonly error: string };

interface Claims {
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly nbf: number;
  readonly iss: string;
  readonly sub: string;
  readonly jti?: string;
  readonly 'kubernetes.io': {
    readonly namespace: string;
    readonly serviceaccount: { readonly name: string; readonly uid: string };
    readonly pod?: { readonly name: string; readonly uid: string };
    readonly node?: { readonly name: string; readonly uid: string };
    readonly secret?: { readonly name: string; readonly uid: string };
  };
}

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Clocks of a cluster's machines differ a little. */
const leewaySeconds = 60;

export class Tokens {
  readonly #keys: Keys;
  readonly #find: Finder;
  readonly #now: () => number;
  readonly #keyId: string;
  /** Signatures that were good: checking one costs 0.1 ms, and agents send the same token again and again. */
  readonly #verified = new Lru<string, Claims>(10_000);

  constructor(keys: Keys, find: Finder, now: () => number = Date.now) {
    this.#keys = keys;
    this.#find = find;
    this.#now = now;
    const der = keys.tokenPublicKey.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(der).digest('base64url');
  }

  /** `seconds` is how long it is good for. */
  issue(
    subject: TokenSubject,
    audiences: readonly string[],
    seconds: number,
  ): { token: string; expires: number } {
    const now = Math.floor(this.#now() / 1000);
    const { namespace, serviceAccount, pod, node, secret } = subject;
    const claims: Claims = {
      aud: audiences.length === 0 ? [issuer] : audiences,
      exp: now + seconds,
      iat: now,
      iss: issuer,
      jti: randomUUID(),
      'kubernetes.io': {
        namespace,
        ...(node === undefined ? {} : { node }),
        ...(pod === undefined ? {} : { pod }),
        ...(secret === undefined ? {} : { secret }),
        serviceaccount: serviceAccount,
      },
      nbf: now,
      sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
    };
    const head = base64url({ alg: 'ES256', kid: this.#keyId });
    const body = `${head}.${base64url(claims)}`;
    const signature = sign('sha256', Buffer.from(body), {
      key: this.#keys.tokenKey,
      dsaEncoding: 'ieee-p1363',
    });
    return { token: `${body}.${signature.toString('base64url')}`, expires: claims.exp * 1000 };
  }

  /** Whose token it is, if it is for one of `audiences`. */
  check(token: string, audiences: readonly string[]): TokenCheck {
    const claims = this.#claims(token);
    if (claims === undefined)
      return { error: 'the token is not one of this cluster, or it has been changed' };
    const now = Math.floor(this.#now() / 1000);
    if (claims.exp <= now) return { error: 'service account token has expired' };
    if (claims.nbf > now + leewaySeconds) return { error: 'service account token is not valid yet' };
    const wanted = audiences.length === 0 ? [issuer] : audiences;
    const good = wanted.filter((audience) => claims.aud.includes(audience));
    if (good.length === 0)
      return {
        error: `token audiences ${JSON.stringify(claims.aud)} is invalid for the target audiences ${JSON.stringify(wanted)}`,
      };
    const { namespace, serviceaccount, pod, node, secret } = claims['kubernetes.io'];
    const account = this.#find('serviceaccounts', namespace, serviceaccount.name);
    if (account === undefined || account.metadata.uid !== serviceaccount.uid)
      return { error: `serviceaccounts "${serviceaccount.name}" not found` };
    if (pod !== undefined) {
      const found = this.#find('pods', namespace, pod.name);
      if (found === undefined || found.metadata.uid !== pod.uid)
        return {
          error: `the pod ${namespace}/${pod.name} that the token is bound to does not exist any more`,
        };
      const gone = found.metadata.deletionTimestamp;
      // While it shuts down it may go on; a pod that should have ended a minute ago may not.
      if (gone !== undefined && Date.parse(gone) / 1000 + leewaySeconds < now)
        return { error: `the pod ${namespace}/${pod.name} that the token is bound to has been deleted` };
    }
    if (secret !== undefined && this.#find('secrets', namespace, secret.name)?.metadata.uid !== secret.uid)
      return {
        error: `the secret ${namespace}/${secret.name} that the token is bound to does not exist any more`,
      };
    const extra: Record<string, readonly string[]> = {};
    if (claims.jti !== undefined) extra['authentication.kubernetes.io/credential-id'] = [`JTI=${claims.jti}`];
    if (node !== undefined) {
      extra['authentication.kubernetes.io/node-name'] = [node.name];
      extra['authentication.kubernetes.io/node-uid'] = [node.uid];
    }
    if (pod !== undefined) {
      extra['authentication.kubernetes.io/pod-name'] = [pod.name];
      extra['authentication.kubernetes.io/pod-uid'] = [pod.uid];
    }
    return {
      user: {
        name: claims.sub,
        uid: serviceaccount.uid,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
        extra,
      },
      audiences: good,
    };
  }

  /** RFC 7517, for those who check tokens themselves. */
  jwks(): unknown {
    return {
      keys: [
        {
          ...this.#keys.tokenPublicKey.export({ format: 'jwk' }),
          use: 'sig',
          kid: this.#keyId,
          alg: 'ES256',
        },
      ],
    };
  }

  #claims(token: string): Claims | undefined {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    const parts = token.split('.');
    if (parts.length !== 3 || token.length > 16_384) return undefined;
    const [head, body, signature] = parts as [string, string, string];
    try {
      const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url').toString('utf8')) as {
        alg?: string;
        kid?: string;
      };
      if (alg !== 'ES256' || (kid !== undefined && kid !== this.#keyId)) return undefined;
      const good = verify(
        'sha256',
        Buffer.from(`${head}.${body}`),
        { key: this.#keys.tokenPublicKey, dsaEncoding: 'ieee-p1363' },
        Buffer.from(signature, 'base64url'),
      );
      if (!good) return undefined;
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as Claims;
      if (claims.iss !== issuer || !Array.isArray(claims.aud)) return undefined;
      this.#verified.set(token, claims);
      return claims;
    } catch {
      return undefined;
    }
  }
}
