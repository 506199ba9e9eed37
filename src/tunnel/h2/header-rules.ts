// What a list of headers must look like before anyone reads it (RFC 9113, 8.2, 8.3 and 8.5). A list that two
// readers could understand in two ways is refused as a whole.
import type { HeaderList } from './hpack.ts';

export type HeaderRole = 'request' | 'response' | 'trailers';

const name = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// oxlint-disable-next-line no-control-regex -- these three are what must not be in a value
const badValue = /[\0\r\n]/;

const pseudo: Readonly<Record<HeaderRole, ReadonlySet<string>>> = {
  request: new Set([':method', ':authority', ':scheme', ':path']),
  response: new Set([':status']),
  trailers: new Set(),
};

/** They speak of one connection of HTTP/1, which is not there. */
const ofHttp1 = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

/** What is wrong with the list, or undefined. The stream of a malformed list is reset (RFC 9113, 8.1.1). */
export function malformedHeaders(headers: HeaderList, role: HeaderRole): string | undefined {
  const seen = new Map<string, string>();
  let regular = false;
  for (const [key, value] of headers) {
    if (badValue.test(value)) return `a value of ${printable(key)} has a line break or NUL`;
    if (key.startsWith(':')) {
      if (regular) return `${printable(key)} after a regular header`;
      if (!pseudo[role].has(key)) return `${printable(key)} in a ${role}`;
      if (seen.has(key)) return `${key} twice`;
      seen.set(key, value);
      continue;
    }
    regular = true;
    if (!name.test(key)) return `a header named ${printable(key)}`;
    if (ofHttp1.has(key) || (key === 'te' && value !== 'trailers')) return `${key} is of HTTP/1`;
  }
  if (role === 'request') return malformedRequest(seen);
  if (role === 'response' && !/^[1-5]\d\d$/.test(seen.get(':status') ?? '')) return 'no :status';
  return undefined;
}

function malformedRequest(seen: ReadonlyMap<string, string>): string | undefined {
  const method = seen.get(':method');
  if (method === undefined || method === '') return 'no :method';
  if (method === 'CONNECT')
    return seen.has(':scheme') || seen.has(':path') ? ':scheme or :path in a CONNECT' : undefined;
  return seen.has(':scheme') && (seen.get(':path') ?? '') !== '' ? undefined : 'no :scheme or :path';
}

/** What a peer made up, as it may stand in a message. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
