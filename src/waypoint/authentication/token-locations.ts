// Where a request may carry a token, and a request without it.
import type { RequestFacts, TokenLocation } from '#/model/index.ts';

/** `Authorization: Bearer` and `?access_token=`, as upstream. */
export const defaultLocation: TokenLocation = {
  headers: [{ name: 'authorization', prefix: 'Bearer ' }],
  params: ['access_token'],
  cookies: [],
};

export function locationOf(from: TokenLocation): TokenLocation {
  return from.headers.length + from.params.length + from.cookies.length === 0 ? defaultLocation : from;
}

/**
 * Every token at the location: all values of a parameter or cookie, so that none goes on unread. A header without the
 * prefix has no token. Several fields of one header come joined, which is no token's form: they are refused.
 */
export function tokensAt(location: TokenLocation, request: RequestFacts): readonly string[] {
  let tokens: string[] | undefined;
  for (const { name, prefix } of location.headers) {
    const value = request.headers.get(name);
    if (value !== undefined && value.startsWith(prefix)) {
      const token = value.slice(prefix.length).trim();
      if (token !== '') (tokens ??= []).push(token);
    }
  }
  if (request.query !== '' && location.params.length > 0 && mayHave(request.query, location.params)) {
    const params = new URLSearchParams(request.query);
    for (const name of location.params)
      for (const token of params.getAll(name)) if (token !== '') (tokens ??= []).push(token);
  }
  if (location.cookies.length > 0) {
    const cookies = request.headers.get('cookie');
    if (cookies !== undefined)
      for (const pair of cookies.split(';')) {
        const [name, value] = cookieOf(pair);
        if (location.cookies.includes(name) && value !== '') (tokens ??= []).push(value);
      }
  }
  return tokens ?? none;
}

const none: readonly string[] = [];

// A name may be written with escapes.
const mayHave = (query: string, names: readonly string[]): boolean =>
  query.includes('%') || query.includes('+') || names.some((name) => query.includes(name));

function cookieOf(pair: string): readonly [string, string] {
  const equals = pair.indexOf('=');
  if (equals < 0) return ['', ''];
  const value = pair.slice(equals + 1).trim();
  const bare = value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
  return [pair.slice(0, equals).trim(), bare];
}

/** The query without the parameters of these names; the others stay as they were written. */
export function withoutParams(query: string, names: readonly string[]): string {
  if (names.length === 0 || query === '' || !mayHave(query, names)) return query;
  return query
    .split('&')
    .filter((pair) => ![...new URLSearchParams(pair).keys()].some((name) => names.includes(name)))
    .join('&');
}

/** The value of a cookie header without the cookies of these names; empty if none is left. */
export function withoutCookies(cookies: string, names: readonly string[]): string {
  if (names.length === 0) return cookies;
  return cookies
    .split(';')
    .filter((pair) => !names.includes(cookieOf(pair)[0]))
    .map((pair) => pair.trim())
    .join('; ');
}
