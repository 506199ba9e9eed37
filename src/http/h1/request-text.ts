// The head of a request as it goes out, with the framing that fits.
import type { RequestHead } from '../exchange.ts';
import { isToken } from '../header-rules.ts';
import { fieldLines } from './write-fields.ts';

export type RequestFraming = 'length' | 'chunked' | 'none' | 'upgrade';

export interface RequestText {
  readonly text: string;
  readonly framing: RequestFraming;
  readonly failure?: never;
}

const validPath = /^(?:\/[\x21\x22\x24-\x7e]*|\*)$/;
const validQuery = /^[\x21\x22\x24-\x7e]*$/;
const validAuthority = /^[a-z0-9._\-:[\]]*$/;
/** They have no body unless they say so (RFC 9110, 8.6). */
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/** @param ended nothing follows. `failure`: a filter has made a head that cannot be sent. */
export function requestText(head: RequestHead, ended: boolean): RequestText | { readonly failure: string } {
  const { authority, path, query, contentLength, upgrade } = head;
  // An extended CONNECT of HTTP/2 (RFC 8441) is a GET here.
  const method = upgrade !== undefined && head.method === 'CONNECT' ? 'GET' : head.method;
  if (!isToken(method) || method === 'CONNECT') return { failure: 'the request has an invalid method' };
  if (!validPath.test(path) || path.includes('?') || (query !== undefined && !validQuery.test(query)))
    return { failure: 'the request has an invalid path or query' };
  if (!validAuthority.test(authority)) return { failure: 'the request has an invalid authority' };
  const lines = fieldLines(head.headers);
  if (lines === undefined) return { failure: 'the request has an invalid header' };
  let framing: RequestFraming = 'none';
  let own = '';
  if (upgrade !== undefined) {
    if (!/^[\w!#$%&'*+\-.^`|~/]+$/.test(upgrade)) return { failure: 'the request has an invalid upgrade' };
    framing = 'upgrade';
    own = `upgrade: ${upgrade}\r\nconnection: upgrade${head.headers.has('te') ? ', te' : ''}\r\n`;
  } else {
    if (contentLength !== undefined && contentLength > 0) {
      if (ended) return { failure: 'the request has a length and no body' };
      framing = 'length';
      own = `content-length: ${contentLength}\r\n`;
    } else if (ended || contentLength === 0) own = bodiless.has(method) ? '' : 'content-length: 0\r\n';
    else {
      framing = 'chunked';
      own = 'transfer-encoding: chunked\r\n';
    }
    if (head.expectsContinue && framing !== 'none') own += 'expect: 100-continue\r\n';
    // RFC 9110, 10.1.4.
    if (head.headers.has('te')) own += 'connection: te\r\n';
  }
  const target = query === undefined ? path : `${path}?${query}`;
  return { text: `${method} ${target} HTTP/1.1\r\nhost: ${authority}\r\n${lines}${own}\r\n`, framing };
}

/** May be sent twice (RFC 9110, 9.2.2). */
export const isIdempotent = (method: string): boolean => bodiless.has(method) || method === 'PUT';
