// For the tests of this folder: an issuer with keys, a scripted key server, and requests.
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { ManualClock, silentLogger } from '#/kit/index.ts';
import type { JwtRule, RequestAuthentication, RequestFacts } from '#/model/index.ts';
import { Authenticator, type AuthenticatorOptions, type AuthResult } from './authenticator.ts';

export const issuer = 'https://issuer.example';
export const jwksUri = 'https://issuer.example/keys';
/** Milliseconds; the clock of the tests begins here. */
export const start = 1_800_000_000_000;

export interface TestKey {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export async function makeKey(kid: string | undefined, alg = 'RS256'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return {
    alg,
    privateKey,
    jwk: { ...(await exportJWK(publicKey)), alg, ...(kid !== undefined && { kid }) },
  };
}

export function sign(
  key: TestKey,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
) {
  const seconds = Math.floor(start / 1000);
  return new SignJWT({ iss: issuer, sub: 'alice', exp: seconds + 3600, ...claims })
    .setProtectedHeader({ alg: key.alg, ...(key.jwk.kid !== undefined && { kid: key.jwk.kid }), ...header })
    .sign(key.privateKey);
}

export const keySet = (...keys: readonly TestKey[]): string =>
  JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

export function ruleOf(changes: Partial<JwtRule> = {}): JwtRule {
  return {
    issuer,
    audiences: [],
    from: { headers: [], params: [], cookies: [] },
    outputClaimToHeaders: [],
    forwardOriginalToken: false,
    timeoutMs: 5_000,
    spaceDelimitedClaims: [],
    ...changes,
  };
}

export const authenticationOf = (...rules: readonly JwtRule[]): RequestAuthentication => ({
  kind: 'request-authentication',
  name: 'shop/jwt',
  targets: [],
  rules,
});

export function requestOf(headers: Readonly<Record<string, string>> = {}, query = ''): RequestFacts {
  return {
    method: 'GET',
    scheme: 'http',
    authority: 'shop.example',
    path: '/items',
    query,
    headers: new Map(Object.entries(headers)),
    version: '1.1',
    grpc: false,
  };
}

export const bearer = (token: string): RequestFacts => requestOf({ authorization: `Bearer ${token}` });

/** A key server in memory. `fetches` are the addresses that were asked for. */
export function scriptedServer() {
  const server = {
    fetches: [] as string[],
    /** Address to document; an Error is thrown. */
    documents: new Map<string, string | Error>(),
    /** Set: every fetch waits for it. */
    gate: undefined as Promise<void> | undefined,
    async fetch(url: string): Promise<string> {
      server.fetches.push(url);
      if (server.gate !== undefined) await server.gate;
      const document = server.documents.get(url);
      if (typeof document === 'string') return document;
      throw document ?? new Error('no such document');
    },
  };
  return server;
}

export function setUp(options: Partial<AuthenticatorOptions> = {}) {
  const clock = new ManualClock(start);
  const server = scriptedServer();
  const authenticator = new Authenticator({ fetch: server.fetch, clock, log: silentLogger, ...options });
  return { clock, server, authenticator };
}

/** `accepted`, or the body of the refusal. */
export const shown = (result: AuthResult): string =>
  result.accepted ? 'accepted' : `${result.status} ${result.body}`;
