// Reads, verifies and remembers tokens. A token that was seen before costs a hash and a look-up, and no promise.
//
// Every token at the places where the rules look must be accepted, not just one: a bad token beside a good one could be
// the one that the application believes.
import { hash } from 'node:crypto';
import { Lru, type Clock, type Logger } from '#/kit/index.ts';
import type { AuthenticatedToken, HeaderValue, RequestAuthentication, RequestFacts } from '#/model/index.ts';
import type { FetchText } from './fetch-text.ts';
import { JwksCache, type JwksCounters } from './jwks-cache.ts';
import {
  accept,
  claimsRefusal,
  compileJwtRule,
  timeFault,
  type AcceptedToken,
  type CompiledJwtRule,
} from './jwt-rule.ts';
import { parseJwt, type ParsedJwt } from './jwt-text.ts';
import { KeySet } from './key-set.ts';
import { refusals, refusalStatus, type Refusal } from './refusal.ts';
import { tokensAt } from './token-locations.ts';

export interface AuthenticatorOptions {
  readonly fetch: FetchText;
  readonly clock: Clock;
  readonly log: Logger;
  /** Verified tokens that are remembered. Default 1024. */
  readonly maxRemembered?: number;
  /** Characters of one token. Default 32 768. */
  readonly maxTokenLength?: number;
  /** Tokens of one request. Default 8. */
  readonly maxTokens?: number;
  /** Requests whose token is being verified. Default 1024. */
  readonly maxPending?: number;
}

export type AuthResult =
  | {
      readonly accepted: true;
      /** Absent: the request has none, which only an authorization policy may refuse. */
      readonly token: AuthenticatedToken | undefined;
      /** To be removed first, whether there is a token or not: what only we may say, and the token itself. Lower case. */
      readonly removeHeaders: readonly string[];
      readonly removeParams: readonly string[];
      readonly removeCookies: readonly string[];
      readonly setHeaders: readonly HeaderValue[];
    }
  | {
      readonly accepted: false;
      readonly status: 401 | 403 | 503;
      readonly body: string;
      readonly headers: readonly HeaderValue[];
      /** Response code details: `jwt_authn_access_denied{Jwt_is_expired}`. */
      readonly details: string;
    };

/** The rules of all the RequestAuthentications that apply to one target. */
export interface CompiledAuthentication {
  readonly rules: readonly CompiledJwtRule[];
  readonly withoutToken: AuthResult;
  readonly inline: ReadonlyMap<number, KeySet | undefined>;
}

interface Found {
  readonly text: string;
  readonly rules: CompiledJwtRule[];
}

interface Verified {
  readonly rule: CompiledJwtRule;
  readonly accepted: AcceptedToken;
}

const empty: readonly never[] = [];

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #jwks: JwksCache;
  readonly #remembered: Lru<string, AcceptedToken>;
  #nextRule = 0;
  #pending = 0;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#jwks = new JwksCache(options);
    this.#remembered = new Lru(options.maxRemembered ?? 1024);
  }

  get counters(): Readonly<JwksCounters> {
    return this.#jwks.counters;
  }

  compile(authentications: readonly RequestAuthentication[]): CompiledAuthentication {
    const rules = authentications.flatMap((one) =>
      one.rules.map((rule) => compileJwtRule(rule, this.#nextRule++)),
    );
    const output = rules.flatMap(({ rule }) => [
      ...(rule.outputPayloadToHeader ? [rule.outputPayloadToHeader] : []),
      ...rule.outputClaimToHeaders.map(({ header }) => header),
    ]);
    const inline = rules.flatMap(({ id, rule }) =>
      rule.jwks === undefined || rule.jwks === '' ? [] : [[id, KeySet.parse(rule.jwks)] as const],
    );
    return {
      rules,
      inline: new Map(inline),
      withoutToken: {
        accepted: true,
        token: undefined,
        removeHeaders: [...new Set(output.map((name) => name.toLowerCase()))],
        removeParams: empty,
        removeCookies: empty,
        setHeaders: empty,
      },
    };
  }

  /** A promise only if a token has not been seen before, or its keys have to be fetched. Never rejects. */
  authenticate(compiled: CompiledAuthentication, request: RequestFacts): AuthResult | Promise<AuthResult> {
    const found = this.#find(compiled, request);
    if (found.length === 0) return compiled.withoutToken;
    if (found.length > (this.#options.maxTokens ?? 8)) return refuse('multiple', request);
    const verified: Verified[] = [];
    for (const one of found) {
      const known = this.#recall(compiled, one);
      if (known === undefined) return this.#verifyAll(compiled, found, request);
      verified.push(known);
    }
    return result(compiled, verified, request);
  }

  /** Each token once, with the rules that look where it was found. */
  #find({ rules }: CompiledAuthentication, request: RequestFacts): readonly Found[] {
    let found: Found[] | undefined;
    for (const rule of rules)
      for (const text of tokensAt(rule.location, request)) {
        found ??= [];
        const same = found.find((one) => one.text === text);
        if (same === undefined) found.push({ text, rules: [rule] });
        else if (!same.rules.includes(rule)) same.rules.push(rule);
      }
    return found ?? empty;
  }

  #recall(compiled: CompiledAuthentication, { text, rules }: Found): Verified | undefined {
    if (text.length > (this.#options.maxTokenLength ?? 32_768)) return undefined;
    const key = hash('sha256', text, 'base64');
    for (const rule of rules) {
      const accepted = this.#remembered.get(`${rule.id} ${key}`);
      if (accepted === undefined) continue;
      const keys = compiled.inline.get(rule.id) ?? this.#jwks.current(rule.rule);
      if (accepted.keys === keys && timeFault(accepted, this.#options.clock.now()) === undefined)
        return { rule, accepted };
    }
    return undefined;
  }

  async #verifyAll(
    compiled: CompiledAuthentication,
    found: readonly Found[],
    request: RequestFacts,
  ): Promise<AuthResult> {
    if (this.#pending >= (this.#options.maxPending ?? 1024)) return refuse('overloaded', request);
    this.#pending++;
    try {
      const verified: Verified[] = [];
      for (const one of found) {
        const outcome = await this.#verify(compiled, one);
        if (typeof outcome === 'string') return refuse(outcome, request);
        verified.push(outcome);
      }
      return result(compiled, verified, request);
    } catch (error) {
      // Nothing above throws on a token; if it does after all, the token is not good.
      this.#options.log.error('a token could not be verified', {
        error: error instanceof Error ? error.message : String(error),
      });
      return refuse('verification', request);
    } finally {
      this.#pending--;
    }
  }

  async #verify(compiled: CompiledAuthentication, { text, rules }: Found): Promise<Verified | Refusal> {
    if (text.length > (this.#options.maxTokenLength ?? 32_768)) return 'tooLarge';
    const jwt = parseJwt(text);
    if (typeof jwt === 'string') return jwt;
    let refusal: Refusal = 'unknownIssuer';
    for (const rule of rules) {
      const fault =
        claimsRefusal(rule, jwt, this.#options.clock.now()) ??
        (await this.#verifySignature(compiled, rule, jwt));
      if (typeof fault !== 'string') {
        this.#remembered.set(`${rule.id} ${hash('sha256', text, 'base64')}`, fault);
        return { rule, accepted: fault };
      }
      // A rule of another issuer has nothing to say about this token.
      if (fault !== 'unknownIssuer') refusal = fault;
    }
    return refusal;
  }

  async #verifySignature(
    compiled: CompiledAuthentication,
    rule: CompiledJwtRule,
    jwt: ParsedJwt,
  ): Promise<AcceptedToken | Refusal> {
    const isInline = compiled.inline.has(rule.id);
    let keys = isInline ? compiled.inline.get(rule.id) : await this.#jwks.get(rule.rule);
    if (keys === undefined) return isInline ? 'noValidKeys' : 'fetchFailed';
    if (!isInline && !keys.has(jwt)) keys = (await this.#jwks.renewed(rule.rule)) ?? keys;
    return (await keys.verify(jwt)) ?? accept(rule, jwt, keys);
  }
}

function result(
  { withoutToken }: CompiledAuthentication,
  verified: readonly Verified[],
  { headers }: RequestFacts,
): AuthResult {
  if (!withoutToken.accepted) return withoutToken;
  const stripped = verified.filter(({ rule }) => !rule.rule.forwardOriginalToken);
  return {
    accepted: true,
    token: verified[0]?.accepted.token,
    removeHeaders: [
      ...withoutToken.removeHeaders,
      ...stripped.flatMap(({ rule }) =>
        rule.location.headers.flatMap(({ name, prefix }) =>
          headers.get(name)?.startsWith(prefix) === true ? [name] : [],
        ),
      ),
    ],
    removeParams: stripped.flatMap(({ rule }) => rule.location.params),
    removeCookies: stripped.flatMap(({ rule }) => rule.location.cookies),
    setHeaders: verified.flatMap(({ accepted }) => accepted.setHeaders),
  };
}

function refuse(refusal: Refusal, { scheme, authority, path }: RequestFacts): AuthResult {
  const body = refusals[refusal];
  const realm = `${scheme}://${authority}${path}`.slice(0, 256).replace(/["\\]/g, '');
  return {
    accepted: false,
    status: refusalStatus(refusal),
    body,
    headers: [{ name: 'www-authenticate', value: `Bearer realm="${realm}", error="invalid_token"` }],
    details: `jwt_authn_access_denied{${body.replaceAll(' ', '_')}}`,
  };
}
