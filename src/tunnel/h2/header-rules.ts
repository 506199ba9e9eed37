// What a list of headers must look like before anyone reads it (RFC 9113, 8.2, 8.3 and 8.5; RFC 8441). A list that two
// readers could understand in two ways is refused as a whole.
import type { HeaderList } from './hpack.ts';

export type HeaderRole = 'request' | 'response' | 'trailers';

const name = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 9110, 5.5: no control character but a tab. */
// oxlint-disable-next-line no-control-regex -- these are what must not be in a value
const control = /[\0-\x08\n-\x1f\x7f]/;

const isBlank = (code: number): boolean => code === 0x20 || code === 9;

/** RFC 9113, 8.2.1: nor a blank first or last. */
const badValue = (value: string): boolean =>
  control.test(value) || isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(value.length - 1));

/** They speak of one connection of HTTP/1, which is not there. */
const ofHttp1 = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

const pseudo = { method: 1, authority: 2, scheme: 4, path: 8, protocol: 16, status: 32 } as const;
const bits: ReadonlyMap<string, number> = new Map(
  Object.entries(pseudo).map(([key, bit]) => [`:${key}`, bit]),
);
const ofRequest = pseudo.method | pseudo.authority | pseudo.scheme | pseudo.path;
const allowed = { request: ofRequest, response: pseudo.status, trailers: 0 } as const;

/**
 * What is wrong with the list, or undefined. The stream of a malformed list is reset (RFC 9113, 8.1.1).
 * @param extended `:protocol` was agreed on
 */
export function malformedHeaders(
  headers: HeaderList,
  role: HeaderRole,
  extended = false,
): string | undefined {
  const known = role === 'request' && extended ? ofRequest | pseudo.protocol : allowed[role];
  let seen = 0;
  let regular = false;
  let method = '';
  let path = '';
  let status = '';
  for (const [key, value] of headers) {
    if (badValue(value)) return badValueOf(key, value);
    if (key.charCodeAt(0) === 0x3a) {
      if (regular) return `${printable(key)} after a regular header`;
      const bit = bits.get(key) ?? 0;
      if ((bit & known) === 0) return `${printable(key)} in a ${role}`;
      if ((bit & seen) !== 0) return `${key} twice`;
      seen |= bit;
      if (bit === pseudo.method) method = value;
      else if (bit === pseudo.path) path = value;
      else if (bit === pseudo.status) status = value;
      continue;
    }
    regular = true;
    if (!name.test(key)) return `a header named ${printable(key)}`;
    if (ofHttp1.has(key) || (key === 'te' && value.toLowerCase() !== 'trailers'))
      return `${key} is of HTTP/1`;
  }
  if (role === 'request') return malformedRequest(seen, method, path);
  if (role === 'response' && !/^[1-5]\d\d$/.test(status)) return 'no :status';
  return undefined;
}

function malformedRequest(seen: number, method: string, path: string): string | undefined {
  if (method === '') return 'no :method';
  const protocol = (seen & pseudo.protocol) !== 0;
  if (protocol && method !== 'CONNECT') return ':protocol without CONNECT';
  const target = seen & (pseudo.scheme | pseudo.path);
  if (method === 'CONNECT' && !protocol) return target !== 0 ? ':scheme or :path in a CONNECT' : undefined;
  return target === (pseudo.scheme | pseudo.path) && path !== '' ? undefined : 'no :scheme or :path';
}

function badValueOf(key: string, value: string): string {
  if (!control.test(value)) return `a value of ${printable(key)} has a blank at its end`;
  return `a value of ${printable(key)} has a ${/[\0\r\n]/.test(value) ? 'line break or NUL' : 'control character'}`;
}

/** What a peer made up, as it may stand in a message. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
