// The headers of a request, whose list is in order, as a RequestHead: what they say about where it goes and how long it
// is must hold together (RFC 9113, 8.1.1 and 8.3.1; RFC 8441).
import type { HeaderList } from '#/tunnel/index.ts';
import { canonicalAuthority } from '../canonical-authority.ts';
import { canonicalPath, type PathNormalization } from '../canonical-path.ts';
import type { RequestHead } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { parseContentLength } from '../header-rules.ts';

export type ReadRequest =
  | { readonly head: RequestHead; readonly status?: never; readonly reason?: never }
  /** `status` undefined: malformed, the stream is to be reset. */
  | { readonly head?: never; readonly status: number | undefined; readonly reason: string };

const malformed = (reason: string): ReadRequest => ({ status: undefined, reason });
const bad = (reason: string): ReadRequest => ({ status: 400, reason });

/** @param maxHeaders fields, crumbs of a cookie counted once */
export function readRequest(
  headers: HeaderList,
  ended: boolean,
  maxHeaders: number,
  normalization: PathNormalization,
): ReadRequest {
  let method = '';
  let scheme = '';
  let target = '';
  let sentAuthority: string | undefined;
  let protocol: string | undefined;
  let host: string | undefined;
  let length: string | undefined;
  let expect: string | undefined;
  let cookie = 0;
  const flat: string[] = [];
  for (const [name, value] of headers)
    switch (name) {
      case ':method':
        method = value;
        break;
      case ':scheme':
        scheme = value.toLowerCase();
        break;
      case ':path':
        target = value;
        break;
      case ':authority':
        sentAuthority = value;
        break;
      case ':protocol':
        protocol = value.toLowerCase();
        break;
      case 'host':
        if (host !== undefined) return malformed('host twice');
        host = value;
        break;
      case 'content-length':
        if (length !== undefined) return malformed('content-length twice');
        length = value;
        break;
      case 'expect':
        expect = value.toLowerCase();
        break;
      case 'te':
        flat.push(name, 'trailers');
        break;
      case 'trailer':
      case 'http2-settings':
        break;
      case 'cookie':
        // RFC 9113, 8.2.3: crumbs are one cookie to whoever is not of HTTP/2.
        if (cookie > 0) flat[cookie] = `${flat[cookie]}; ${value}`;
        else cookie = flat.push(name, value) - 1;
        break;
      default:
        flat.push(name, value);
    }
  if (flat.length > 2 * maxHeaders)
    return { status: 431, reason: `${flat.length / 2} header fields, over ${maxHeaders}` };
  const declared = length === undefined ? undefined : parseContentLength(length);
  if (length !== undefined && declared === undefined) return malformed('a content-length that is no length');
  if (ended && (declared ?? 0) > 0) return malformed('a content-length without a body');

  const authority = readAuthority(sentAuthority, host);
  if (authority.text === undefined)
    return authority.conflict ? malformed(authority.reason) : bad(authority.reason);
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) return bad('the method is no token');
  if (method === 'CONNECT' && protocol === undefined) return { status: 405, reason: 'CONNECT is not served' };
  if (scheme !== 'http' && scheme !== 'https') return bad('a scheme that is neither http nor https');
  if (protocol !== undefined && ended) return bad('an extended CONNECT that ends at once');
  const path = target === '*' && method === 'OPTIONS' ? anyPath : canonicalPath(target, normalization);
  if (path.path === undefined) return bad(path.reason);
  return {
    head: {
      version: '2',
      method,
      scheme,
      authority: authority.text,
      path: path.path,
      query: path.query,
      headers: HeaderMap.adopt(flat),
      upgrade: protocol,
      contentLength: protocol !== undefined ? undefined : ended ? 0 : declared,
      expectsContinue: expect === '100-continue' && !ended,
    },
  };
}

const anyPath = { path: '*', query: undefined } as const;

type ReadAuthority =
  | { readonly text: string }
  | { readonly text?: never; readonly conflict: boolean; readonly reason: string };

function readAuthority(sent: string | undefined, host: string | undefined): ReadAuthority {
  const either = sent ?? host;
  if (either === undefined) return { conflict: false, reason: 'neither :authority nor Host' };
  const { authority, reason } = canonicalAuthority(either);
  if (authority === undefined) return { conflict: false, reason };
  if (
    sent !== undefined &&
    host !== undefined &&
    host !== sent &&
    canonicalAuthority(host).authority !== authority
  )
    return { conflict: true, reason: ':authority and Host differ' };
  return { text: authority };
}

/** Method and path as they were sent, for a log; undefined if there is neither. */
export function requestLine(headers: HeaderList): string | undefined {
  const find = (wanted: string): string | undefined => headers.find(([name]) => name === wanted)?.[1];
  const parts = [find(':method'), find(':path') ?? find(':authority')].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : parts.join(' ').slice(0, 1000);
}
