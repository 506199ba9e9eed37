// A request while it is matched: what is derived from it is derived once, and only if a rule asks for it.
import type { RequestFacts } from '#/model/index.ts';

/** The host of an authority, without its port. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':');
  if (colon < 0 || authority.endsWith(']')) return authority;
  return authority.slice(0, colon);
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // As it was sent: it can still be compared.
    return text;
  }
}

/** More parameters than this are not looked at: a query is at most as long as a head, and each costs a map entry. */
const mostParameters = 256;

/** By name, the first value of each. Percent-decoded; `+` stays, as in Envoy. A name without `=` has an empty value. */
export function parseQuery(query: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let start = 0;
  for (let count = 0; start < query.length && count < mostParameters; count++) {
    let end = query.indexOf('&', start);
    if (end < 0) end = query.length;
    if (end > start) {
      const pair = query.slice(start, end);
      const equals = pair.indexOf('=');
      const name = decode(equals < 0 ? pair : pair.slice(0, equals));
      if (!found.has(name)) found.set(name, equals < 0 ? '' : decode(pair.slice(equals + 1)));
    }
    start = end + 1;
  }
  return found;
}

/** The value of one cookie of a Cookie header, without quotes; undefined if there is none. */
export function cookieValue(header: string | undefined, name: string): string | undefined {
  if (header === undefined) return undefined;
  let start = 0;
  while (start < header.length) {
    let end = header.indexOf(';', start);
    if (end < 0) end = header.length;
    const equals = header.indexOf('=', start);
    if (equals >= 0 && equals < end && header.slice(start, equals).trim() === name) {
      const value = header.slice(equals + 1, end).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    start = end + 1;
  }
  return undefined;
}

export class MatchInput {
  readonly request: RequestFacts;
  /** The port that the client addressed: of the service, or of the pod. */
  readonly port: number;
  #query: ReadonlyMap<string, string> | undefined;
  #host: string | undefined;
  // Rules of one table tend to ask for the same header, one after the other.
  #headerName: string | undefined;
  #headerValue: string | undefined;

  constructor(request: RequestFacts, port: number) {
    this.request = request;
    this.port = port;
  }

  get host(): string {
    return (this.#host ??= hostOf(this.request.authority));
  }

  header(name: string): string | undefined {
    if (this.#headerName !== name) {
      this.#headerName = name;
      this.#headerValue = this.request.headers.get(name);
    }
    return this.#headerValue;
  }

  parameter(name: string): string | undefined {
    if (this.request.query === '') return undefined;
    return (this.#query ??= parseQuery(this.request.query)).get(name);
  }
}
