// Tokens for the tour: an issuer that lives as long as it.
import { generateKeyPairSync, sign } from 'node:crypto';

export interface TourIssuer {
  /** The key set that verifies its tokens, as JSON. */
  readonly jwks: string;
  /** A token for `subject`, good for ten minutes. */
  token(subject: string): string;
}

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export function tourIssuer(issuer: string): TourIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const head = { alg: 'RS256', kid: 'tour', typ: 'JWT' };
  return {
    jwks: JSON.stringify({
      keys: [{ ...publicKey.export({ format: 'jwk' }), kid: head.kid, alg: head.alg, use: 'sig' }],
    }),
    token: (subject) => {
      const exp = Math.floor(Date.now() / 1000) + 600;
      const text = `${base64url(head)}.${base64url({ iss: issuer, sub: subject, exp })}`;
      return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`;
    },
  };
}
