// Headers to send, and what is read of answers and trailers.
import type { HeaderField, HeaderList } from '#/tunnel/index.ts';
import type { RequestHead, ResponseHead } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { isForbiddenTrailer, isWrittenByCodec, parseContentLength } from '../header-rules.ts';

function addFields(list: HeaderField[], headers: HeaderMap): void {
  const { flat } = headers;
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    if (!isWrittenByCodec(name)) list.push([name, flat[i + 1] as string]);
  }
}

/** Methods whose content-length of 0 says something (RFC 9110, 8.6). */
const withContent = new Set(['POST', 'PUT', 'PATCH']);

export function requestHeaders(head: RequestHead, ended: boolean): HeaderList {
  const { method, upgrade, contentLength } = head;
  const target = head.query === undefined ? head.path : `${head.path}?${head.query}`;
  const list: HeaderField[] = [[':method', upgrade === undefined ? method : 'CONNECT']];
  if (upgrade !== undefined) list.push([':protocol', upgrade]);
  list.push([':scheme', head.scheme], [':authority', head.authority], [':path', target]);
  addFields(list, head.headers);
  if (upgrade !== undefined) return list;
  if (contentLength !== undefined && (!ended || withContent.has(method)))
    list.push(['content-length', String(contentLength)]);
  if (head.expectsContinue) list.push(['expect', '100-continue']);
  return list;
}

export function responseHeaders(
  status: number,
  headers: HeaderMap,
  contentLength: number | undefined,
): HeaderList {
  const list: HeaderField[] = [[':status', String(status)]];
  addFields(list, headers);
  if (contentLength !== undefined && status >= 200 && status !== 204)
    list.push(['content-length', String(contentLength)]);
  return list;
}

/** Undefined: none. */
export function trailerHeaders(trailers: HeaderMap | undefined): HeaderList | undefined {
  if (trailers === undefined || trailers.size === 0) return undefined;
  const list: HeaderField[] = [];
  addFields(list, trailers);
  return list;
}

export type ReadResponse =
  | { readonly head: ResponseHead; readonly reason?: never }
  | { readonly head?: never; readonly reason: string };

/** Of an answer whose list is in order: `:status` is the first. */
export function readResponse(headers: HeaderList, maxHeaders: number): ReadResponse {
  const status = Number(headers[0]?.[1]);
  let length: string | undefined;
  const flat: string[] = [];
  for (let i = 1; i < headers.length; i++) {
    const [name, value] = headers[i] as HeaderField;
    if (name === 'content-length') {
      if (length !== undefined && length !== value) return { reason: 'two values of content-length' };
      length = value;
    } else if (!isWrittenByCodec(name)) flat.push(name, value);
  }
  if (flat.length > 2 * maxHeaders) return { reason: `${flat.length / 2} header fields, over ${maxHeaders}` };
  const contentLength = length === undefined ? undefined : parseContentLength(length);
  if (length !== undefined && contentLength === undefined)
    return { reason: 'a content-length that is no length' };
  return { head: { status, headers: HeaderMap.adopt(flat), contentLength } };
}

/** Without the fields that must not come after the body. Undefined: too many. */
export function readTrailers(headers: HeaderList, maxTrailers: number): HeaderMap | undefined {
  if (headers.length > maxTrailers) return undefined;
  const flat: string[] = [];
  for (const [name, value] of headers) if (!isForbiddenTrailer(name)) flat.push(name, value);
  return HeaderMap.adopt(flat);
}
