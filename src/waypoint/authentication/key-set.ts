// The keys of an issuer (RFC 7517), and the check of a signature against them.
import { compactVerify, importJWK, type CryptoKey, type JWK } from 'jose';
import type { ParsedJwt } from './jwt-text.ts';
import type { Refusal } from './refusal.ts';

/** More keys than an issuer has; fewer than would make a token without `kid` expensive. */
const maxKeys = 100;
const maxTried = 10;

interface Key {
  readonly jwk: JWK;
  readonly imported: Map<string, Promise<CryptoKey | undefined>>;
}

const publicMembers = ['kty', 'kid', 'alg', 'crv', 'n', 'e', 'x', 'y'] as const;
const familyOf: Readonly<Record<string, string>> = { RS: 'RSA', PS: 'RSA', ES: 'EC', Ed: 'OKP' };

export class KeySet {
  readonly #keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /** Undefined if the text is no key set with a usable public key in it. Keys that cannot verify are passed over. */
  static parse(text: string): KeySet | undefined {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      return undefined;
    }
    const list =
      typeof parsed === 'object' && parsed !== null ? (parsed as { keys?: unknown }).keys : undefined;
    if (!Array.isArray(list)) return undefined;
    const keys = (list as readonly unknown[]).slice(0, maxKeys).flatMap(usable);
    return keys.length === 0 ? undefined : new KeySet(keys);
  }

  get size(): number {
    return this.#keys.length;
  }

  /** True if some key can have signed the token. */
  has(jwt: ParsedJwt): boolean {
    return this.#keys.some((key) => fits(key, jwt));
  }

  /** Undefined: the signature holds. */
  async verify(jwt: ParsedJwt): Promise<Refusal | undefined> {
    const keys = this.#keys.filter((key) => fits(key, jwt)).slice(0, maxTried);
    if (keys.length === 0) return 'noMatchingKey';
    for (const key of keys) if (await holds(key, jwt)) return undefined;
    return 'verification';
  }
}

function usable(value: unknown): readonly Key[] {
  if (typeof value !== 'object' || value === null) return [];
  const given = value as Record<string, unknown>;
  const { kty, use, key_ops: operations } = given;
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return [];
  if (use !== undefined && use !== 'sig') return [];
  if (Array.isArray(operations) && !operations.includes('verify')) return [];
  // A private key that was published by mistake still verifies.
  const jwk: JWK = { kty };
  for (const name of publicMembers) {
    const member = given[name];
    if (typeof member === 'string') jwk[name] = member;
  }
  return [{ jwk, imported: new Map() }];
}

function fits({ jwk }: Key, { alg, kid }: ParsedJwt): boolean {
  if (kid !== undefined && jwk.kid !== undefined && jwk.kid !== '' && jwk.kid !== kid) return false;
  if (jwk.alg !== undefined && jwk.alg !== '' && jwk.alg !== alg) return false;
  return familyOf[alg.slice(0, 2)] === jwk.kty;
}

async function holds(key: Key, { alg, text }: ParsedJwt): Promise<boolean> {
  let imported = key.imported.get(alg);
  if (imported === undefined) {
    imported = importKey(key.jwk, alg);
    key.imported.set(alg, imported);
  }
  const cryptoKey = await imported;
  if (cryptoKey === undefined) return false;
  try {
    await compactVerify(text, cryptoKey, { algorithms: [alg] });
    return true;
  } catch {
    return false;
  }
}

async function importKey(jwk: JWK, alg: string): Promise<CryptoKey | undefined> {
  try {
    const key = await importJWK(jwk, alg);
    return key instanceof Uint8Array ? undefined : key;
  } catch {
    return undefined;
  }
}
