// What the client has of one type: which versions it has accepted, what it asks for, what it answers. Pure protocol.
import { errorText } from '#/errors/index.ts';
import type { DeltaDiscoveryResponse } from '#/wire/index.ts';

export interface PushedResource {
  readonly name: string;
  readonly version: string;
  /** The encoded message; a view on the response's buffer, so decode it, do not keep it. */
  readonly resource: Uint8Array;
}

export interface Push {
  readonly typeUrl: string;
  readonly upserts: readonly PushedResource[];
  readonly removed: readonly string[];
  /** The first push of this type since the client was made. */
  readonly first: boolean;
}

export interface Rejection {
  readonly name: string;
  readonly reason: string;
}

const everything = '*';

/** Servers take 4 MiB by default; the rest of the request needs little. */
export const maxVersionBytes = 3 * 1024 * 1024;

/** A NACK of a large push must not be refused for its size. */
const maxNackChars = 32 * 1024;

export class HeldResources {
  readonly typeUrl: string;
  readonly onDemand: boolean;
  /** Name to version of what was accepted. */
  readonly #versions = new Map<string, string>();
  readonly #wanted = new Set<string>();
  #first = true;
  /** The next response tells everything: what it does not name is gone. */
  #resync = false;

  constructor(typeUrl: string, onDemand: boolean) {
    this.typeUrl = typeUrl;
    this.onDemand = onDemand;
  }

  get size(): number {
    return this.#versions.size;
  }

  /**
   * The first request of this type on a stream. The versions of what is held let the server send only what has
   * changed; a mesh too large for that (or `withVersions` false) is sent again in full.
   */
  firstRequest(withVersions: boolean) {
    const whole = !this.onDemand;
    let bytes = 0;
    for (const [name, version] of this.#versions) bytes += name.length + version.length + 8;
    const told = withVersions && bytes <= maxVersionBytes;
    this.#resync = whole && !told && this.#versions.size > 0;
    return {
      typeUrl: this.typeUrl,
      resourceNamesSubscribe: whole ? [] : [everything, ...this.#wanted],
      resourceNamesUnsubscribe: whole ? [] : [everything],
      initialResourceVersions: told ? Object.fromEntries(this.#versions) : {},
    };
  }

  /** Adds names; returns those that are new. */
  want(names: Iterable<string>): readonly string[] {
    const fresh: string[] = [];
    for (const name of names)
      if (!this.#wanted.has(name)) {
        this.#wanted.add(name);
        fresh.push(name);
      }
    return fresh;
  }

  /** Takes names back; returns those that were wanted. */
  unwant(names: Iterable<string>): readonly string[] {
    const gone: string[] = [];
    for (const name of names)
      if (this.#wanted.delete(name)) {
        this.#versions.delete(name);
        gone.push(name);
      }
    return gone;
  }

  /** Hands a response to `onPush`, keeps the books, and returns the text of the NACK, undefined for an ACK. */
  take(
    response: DeltaDiscoveryResponse,
    onPush: (push: Push) => readonly Rejection[],
  ): { readonly error: string | undefined } {
    const upserts: PushedResource[] = [];
    const rejections: Rejection[] = [];
    for (const { name, version, resource } of response.resources) {
      const found = resource?.typeUrl ?? 'nothing';
      if (name === '') rejections.push({ name, reason: 'a resource without a name' });
      else if (resource?.typeUrl !== this.typeUrl)
        rejections.push({ name, reason: `expected ${this.typeUrl}, got ${found}` });
      else upserts.push({ name, version, resource: resource.value });
    }
    const removed = [...response.removedResources, ...this.#unnamed(response)];
    const push = { typeUrl: this.typeUrl, upserts, removed, first: this.#first };
    this.#first = false;
    this.#resync = false;
    try {
      rejections.push(...onPush(push));
    } catch (error) {
      const reason = errorText(error);
      return { error: nackText(response.resources.map(({ name }) => ({ name, reason }))) || reason };
    }
    const refused = new Set(rejections.map(({ name }) => name));
    // A refused resource keeps the version of its last good form, so that the server sends it again.
    for (const { name, version } of upserts) if (!refused.has(name)) this.#versions.set(name, version);
    for (const name of removed) if (!refused.has(name)) this.#versions.delete(name);
    return { error: rejections.length === 0 ? undefined : nackText(rejections) };
  }

  #unnamed(response: DeltaDiscoveryResponse): string[] {
    if (!this.#resync) return [];
    const named = new Set(response.resources.map(({ name }) => name));
    for (const name of response.removedResources) named.add(name);
    return [...this.#versions.keys()].filter((name) => !named.has(name));
  }
}

function nackText(rejections: readonly Rejection[]): string {
  let text = '';
  for (const [i, { name, reason }] of rejections.entries()) {
    const part = `${name}: ${reason}`;
    if (text.length + part.length > maxNackChars) {
      const cut = text === '' ? `${part.slice(0, maxNackChars)}…` : text;
      return `${cut}; and ${rejections.length - i} more`;
    }
    text = text === '' ? part : `${text}; ${part}`;
  }
  return text;
}
