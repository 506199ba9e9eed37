// The head of a response, and how long its body is (RFC 9112, 4 and 6.3). A server that says it in two ways could make
// us take the rest of one response for the next, so that is a failure of the protocol.
import type { ResponseHead } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { valueByte } from '../header-rules.ts';
import { FieldBlock } from './fields.ts';
import { bodyUntilClose, chunkedBody, type BodyLength } from './request-head.ts';

export interface ParsedResponse {
  readonly head: ResponseHead;
  readonly body: BodyLength;
  readonly keepAlive: boolean;
  /** Of a 101. */
  readonly upgrade: string | undefined;
  readonly failure?: never;
}

/** Whether the status never has a body (RFC 9110, 6.4.1). */
export const isBodiless = (status: number): boolean => status < 200 || status === 204 || status === 304;

/** @param toHead the request was HEAD */
export function parseResponseHead(
  bytes: Buffer,
  from: number,
  to: number,
  maxHeaders: number,
  toHead: boolean,
): ParsedResponse | { readonly failure: string } {
  const text = bytes.toString('latin1', from, to);
  const line = /^HTTP\/1\.([01]) ([1-9][0-9][0-9])(?= |\r\n)/.exec(text.slice(0, 16));
  if (line === null) return { failure: 'an invalid status line' };
  let at = from + 12;
  while (valueByte[bytes[at] as number] === 1) at++;
  if (bytes[at] !== 13 || bytes[at + 1] !== 10) return { failure: 'an invalid reason phrase' };
  const fields = new FieldBlock();
  const refusal = fields.read(bytes, text, from, at + 2, maxHeaders);
  if (refusal !== undefined) return { failure: refusal.reason };
  return build(Number(line[2]), line[1] === '1', fields, toHead);
}

function build(
  status: number,
  isLatest: boolean,
  fields: FieldBlock,
  toHead: boolean,
): ParsedResponse | { readonly failure: string } {
  if (fields.chunked && fields.contentLength !== undefined)
    return { failure: 'both Transfer-Encoding and Content-Length' };
  if (fields.chunked && !isLatest) return { failure: 'Transfer-Encoding in HTTP/1.0' };
  const bodiless = toHead || isBodiless(status);
  if ((status < 200 || status === 204) && (fields.chunked || (fields.contentLength ?? 0) > 0))
    return { failure: `a ${status} with a body` };
  const body = bodiless ? 0 : fields.chunked ? chunkedBody : (fields.contentLength ?? bodyUntilClose);
  return {
    head: {
      status,
      headers: HeaderMap.adopt(fields.flat),
      contentLength: fields.contentLength ?? (bodiless && !toHead && status !== 304 ? 0 : undefined),
    },
    body,
    keepAlive: !fields.close && (isLatest || fields.keepAlive) && body !== bodyUntilClose,
    upgrade: fields.namesUpgrade ? fields.upgrade : undefined,
  };
}
