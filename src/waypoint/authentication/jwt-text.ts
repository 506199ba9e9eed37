// A token's three parts. Strict base64url (RFC 4648, 5: no padding, no other characters), so that one token has one
// spelling. Nothing here trusts what it reads: the signature is checked elsewhere.
import type { Refusal } from './refusal.ts';

export interface ParsedJwt {
  readonly text: string;
  readonly alg: string;
  readonly kid: string | undefined;
  /** The middle part as it was sent. */
  readonly payload: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /** Empty if there is none. */
  readonly issuer: string;
  readonly subject: string;
  readonly audiences: readonly string[];
  /** Seconds since the epoch. */
  readonly expires: number | undefined;
  readonly notBefore: number | undefined;
}

/** Asymmetric only: a shared secret in a public key set is none, and `none` is no signature. */
export const allowedAlgorithms: ReadonlySet<string> = new Set(
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA'.split(' '),
);

const base64url = /^[A-Za-z0-9_-]+$/;

function decode(part: string): Buffer | undefined {
  if (!base64url.test(part)) return undefined;
  const bytes = Buffer.from(part, 'base64url');
  // The bits left over at the end must be zero (RFC 4648, 3.5).
  return bytes.toString('base64url') === part ? bytes : undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function jsonObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

export function parseJwt(text: string): ParsedJwt | Refusal {
  const parts = text.split('.', 4);
  const [first, payload, signature] = parts;
  if (parts.length !== 3 || !first || !payload || !signature) return 'badFormat';
  const headerBytes = decode(first);
  if (headerBytes === undefined) return 'headerBadBase64';
  const header = jsonObject(headerBytes);
  if (header === undefined) return 'headerBadJson';
  const { alg, kid } = header;
  if (typeof alg !== 'string') return 'headerBadAlg';
  if (!allowedAlgorithms.has(alg)) return 'headerUnknownAlg';
  if (kid !== undefined && typeof kid !== 'string') return 'headerBadKid';
  const payloadBytes = decode(payload);
  if (payloadBytes === undefined) return 'payloadBadBase64';
  const claims = jsonObject(payloadBytes);
  if (claims === undefined) return 'payloadBadJson';
  if (decode(signature) === undefined) return 'signatureBadBase64';
  // Extensions that must be understood (RFC 7515, 4.1.11): there is none that we know.
  if (header['crit'] !== undefined) return 'verification';
  const fault = claimFault(claims);
  if (fault !== undefined) return fault;
  const {
    iss = '',
    sub = '',
    aud,
    exp,
    nbf,
  } = claims as {
    iss?: string;
    sub?: string;
    aud?: string | string[];
    exp?: number;
    nbf?: number;
  };
  return {
    text,
    alg,
    kid: kid === '' ? undefined : kid,
    payload,
    claims,
    issuer: iss,
    subject: sub,
    audiences: aud === undefined ? [] : typeof aud === 'string' ? [aud] : aud,
    expires: exp,
    notBefore: nbf,
  };
}

function claimFault({ iss, sub, iat, nbf, exp, jti, aud }: Record<string, unknown>): Refusal | undefined {
  const isText = (value: unknown): boolean => value === undefined || typeof value === 'string';
  // NumericDate may have a fraction (RFC 7519, 2).
  const isTime = (value: unknown): boolean =>
    value === undefined || (typeof value === 'number' && value >= 0 && Number.isFinite(value));
  if (!isText(iss)) return 'payloadBadIss';
  if (!isText(sub)) return 'payloadBadSub';
  if (!isTime(iat)) return 'payloadBadIat';
  if (!isTime(nbf)) return 'payloadBadNbf';
  if (!isTime(exp)) return 'payloadBadExp';
  if (!isText(jti)) return 'payloadBadJti';
  if (!isText(aud) && !(Array.isArray(aud) && aud.every((item) => typeof item === 'string')))
    return 'payloadBadAud';
  return undefined;
}
