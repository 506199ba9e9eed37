// One rule of a RequestAuthentication, ready for use: what it accepts and what it makes of an accepted token.
import type { AuthenticatedToken, HeaderValue, JwtRule, TokenLocation } from '#/model/index.ts';
import type { ParsedJwt } from './jwt-text.ts';
import type { Refusal } from './refusal.ts';
import { locationOf } from './token-locations.ts';

/** As upstream. */
const clockSkewSeconds = 60;

export interface CompiledJwtRule {
  readonly id: number;
  readonly rule: JwtRule;
  readonly location: TokenLocation;
  readonly audiences: ReadonlySet<string>;
  readonly spaceDelimited: readonly string[];
}

export function compileJwtRule(rule: JwtRule, id: number): CompiledJwtRule {
  return {
    id,
    rule,
    location: locationOf(rule.from),
    audiences: new Set(rule.audiences.map(plainAudience)),
    // The first two always, as upstream.
    spaceDelimited: ['scope', 'permission', ...rule.spaceDelimitedClaims],
  };
}

/** As upstream: with or without http(s):// and the slash at the end, an audience is the same. */
function plainAudience(audience: string): string {
  const bare = audience.replace(/^https?:\/\//, '');
  return bare.endsWith('/') ? bare.slice(0, -1) : bare;
}

export function timeFault(
  times: { readonly expires: number | undefined; readonly notBefore: number | undefined },
  nowMs: number,
): Refusal | undefined {
  const now = Math.floor(nowMs / 1000);
  if (times.notBefore !== undefined && now + clockSkewSeconds < times.notBefore) return 'notYetValid';
  if (times.expires !== undefined && now > times.expires + clockSkewSeconds) return 'expired';
  return undefined;
}

/** What can be refused before the signature is looked at, in upstream's order. */
export function claimsRefusal(rule: CompiledJwtRule, jwt: ParsedJwt, nowMs: number): Refusal | undefined {
  if (rule.rule.issuer !== '' && jwt.issuer !== rule.rule.issuer) return 'unknownIssuer';
  const late = timeFault(jwt, nowMs);
  if (late !== undefined) return late;
  if (
    rule.audiences.size > 0 &&
    !jwt.audiences.some((audience) => rule.audiences.has(plainAudience(audience)))
  )
    return 'audience';
  return undefined;
}

/** A verified token and all that follows from it; kept, so that the next request with it costs a look-up. */
export interface AcceptedToken {
  readonly token: AuthenticatedToken;
  readonly setHeaders: readonly HeaderValue[];
  readonly expires: number | undefined;
  readonly notBefore: number | undefined;
  /** Of the key set it was verified with. */
  readonly keys: object;
}

export function accept(compiled: CompiledJwtRule, jwt: ParsedJwt, keys: object): AcceptedToken {
  const { rule, spaceDelimited } = compiled;
  const claims = { ...jwt.claims };
  for (const name of spaceDelimited) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    if (typeof value === 'string') claims[name] = value.split(' ').filter((part) => part !== '');
  }
  const setHeaders: HeaderValue[] = [];
  if (rule.outputPayloadToHeader !== undefined && rule.outputPayloadToHeader !== '')
    setHeaders.push({ name: rule.outputPayloadToHeader.toLowerCase(), value: jwt.payload });
  for (const { header, claim } of rule.outputClaimToHeaders) {
    const value = headerText(claimAt(jwt.claims, claim));
    if (value !== undefined) setHeaders.push({ name: header.toLowerCase(), value });
  }
  return {
    token: { issuer: jwt.issuer, subject: jwt.subject, claims },
    setHeaders,
    expires: jwt.expires,
    notBefore: jwt.notBefore,
    keys,
  };
}

/** `a.b` is the claim b inside a, unless there is a claim with that very name (as names that are URLs are). */
function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Texts, numbers and booleans, as upstream; as bytes. Nothing that would break a header. */
function headerText(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return undefined;
  const text = Buffer.from(String(value), 'utf8').toString('latin1');
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return undefined;
  }
  return text === '' ? undefined : text.trim();
}
