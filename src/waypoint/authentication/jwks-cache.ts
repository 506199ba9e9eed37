// Key sets of issuers, fetched when a token first asks for them. A set is refreshed every 20 minutes of use, as upstream,
// and when a token names a key that it lacks. If the server is dead the old set stays in use, and that is counted and
// logged: to lose all users with the issuer's server would be worse.
import { backoffDelay, Lru, type Clock, type Logger } from '#/kit/index.ts';
import type { JwtRule } from '#/model/index.ts';
import type { FetchText } from './fetch-text.ts';
import { KeySet } from './key-set.ts';

export interface JwksCacheOptions {
  readonly fetch: FetchText;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default 20 minutes. */
  readonly refreshMs?: number;
  /** Least time between fetches for keys that are not known. Default 30 s. */
  readonly unknownKeyMs?: number;
  /** Of one document. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Issuers. Default 256. */
  readonly maxSets?: number;
}

export interface JwksCounters {
  fetched: number;
  failed: number;
  /** Times that keys were used although a refresh had failed. */
  stale: number;
}

interface Entry {
  keys: KeySet | undefined;
  text: string;
  /** Of the last success. */
  fetchedAt: number;
  attemptedAt: number;
  failures: number;
  /** The fetch that is under way. */
  flight: Promise<void> | undefined;
}

const defaultTimeoutMs = 5_000;
const retryBackoff = { initial: 1_000, max: 30_000 };

export class JwksCache {
  readonly counters: JwksCounters = { fetched: 0, failed: 0, stale: 0 };
  readonly #options: JwksCacheOptions;
  readonly #refreshMs: number;
  readonly #entries: Lru<string, Entry>;

  constructor(options: JwksCacheOptions) {
    this.#options = options;
    this.#refreshMs = options.refreshMs ?? 20 * 60_000;
    this.#entries = new Lru(options.maxSets ?? 256);
  }

  /** The keys, if they are there and fit for use; a refresh that is due starts behind the caller's back. */
  current(rule: JwtRule): KeySet | undefined {
    const entry = this.#entries.get(keyOf(rule));
    if (entry?.keys === undefined) return undefined;
    const age = this.#options.clock.now() - entry.fetchedAt;
    if (age < this.#refreshMs) return entry.keys;
    if (this.#mayTry(entry)) {
      void this.#refresh(rule, entry);
      // Keys that nobody has looked at for long: wait for news.
      if (age > 1.5 * this.#refreshMs) return undefined;
    }
    if (entry.failures > 0) this.counters.stale++;
    return entry.keys;
  }

  /** The keys, fetched if need be; old ones if that fails; undefined if there are none. */
  async get(rule: JwtRule): Promise<KeySet | undefined> {
    const current = this.current(rule);
    if (current !== undefined) return current;
    const entry = this.#entry(rule);
    if (entry.flight !== undefined || this.#mayTry(entry)) await this.#refresh(rule, entry);
    if (entry.keys !== undefined && entry.failures > 0) this.counters.stale++;
    return entry.keys;
  }

  /** After a token named a key that is not in the set: the set as it is now, fetched unless that was tried just now. */
  async renewed(rule: JwtRule): Promise<KeySet | undefined> {
    const entry = this.#entry(rule);
    const least = this.#options.unknownKeyMs ?? 30_000;
    if (entry.flight !== undefined || this.#options.clock.now() - entry.attemptedAt >= least)
      await this.#refresh(rule, entry);
    return entry.keys;
  }

  #entry(rule: JwtRule): Entry {
    const key = keyOf(rule);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        keys: undefined,
        text: '',
        fetchedAt: 0,
        attemptedAt: Number.NEGATIVE_INFINITY,
        failures: 0,
        flight: undefined,
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** False while the last failure is too recent. */
  #mayTry(entry: Entry): boolean {
    if (entry.failures === 0) return true;
    const wait = backoffDelay(retryBackoff, entry.failures - 1);
    return this.#options.clock.now() - entry.attemptedAt >= wait;
  }

  #refresh(rule: JwtRule, entry: Entry): Promise<void> {
    return (entry.flight ??= this.#fetch(rule, entry).finally(() => {
      entry.flight = undefined;
    }));
  }

  async #fetch(rule: JwtRule, entry: Entry): Promise<void> {
    const { clock, log } = this.#options;
    entry.attemptedAt = clock.now();
    try {
      const text = await this.#document(rule);
      const keys = text === entry.text && entry.keys !== undefined ? entry.keys : KeySet.parse(text);
      if (keys === undefined) throw new Error('the answer is no key set with a usable public key');
      entry.keys = keys;
      entry.text = text;
      entry.fetchedAt = clock.now();
      entry.failures = 0;
      this.counters.fetched++;
    } catch (error) {
      entry.failures++;
      this.counters.failed++;
      log.warn(
        `keys of issuer ${rule.issuer} cannot be fetched; ` +
          (entry.keys === undefined ? 'its tokens are refused' : 'the old ones stay in use'),
        { error: error instanceof Error ? error.message : String(error), failures: entry.failures },
      );
    }
  }

  async #document(rule: JwtRule): Promise<string> {
    const { fetch, maxBytes = 1024 * 1024 } = this.#options;
    const limits = { timeoutMs: rule.timeoutMs > 0 ? rule.timeoutMs : defaultTimeoutMs, maxBytes };
    if (rule.jwksUri !== undefined && rule.jwksUri !== '') return fetch(webAddress(rule.jwksUri), limits);
    // OpenID Connect Discovery 1.0, 4.
    const url = `${rule.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const found: unknown = JSON.parse(await fetch(webAddress(url), limits));
    const uri =
      typeof found === 'object' && found !== null ? (found as { jwks_uri?: unknown }).jwks_uri : undefined;
    if (typeof uri !== 'string') throw new Error(`${url} names no jwks_uri`);
    return fetch(webAddress(uri), limits);
  }
}

const keyOf = (rule: JwtRule): string =>
  rule.jwksUri === undefined || rule.jwksUri === '' ? `issuer ${rule.issuer}` : rule.jwksUri;

function webAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new Error(`"${text}" is no address of the web`);
  return text;
}
