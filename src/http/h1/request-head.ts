// The head of a request: its line, what the fields say of the connection, and how long the body is (RFC 9112, 3 and 6).
import { canonicalAuthority } from '../canonical-authority.ts';
import { canonicalPath, type PathNormalization } from '../canonical-path.ts';
import type { RequestHead } from '../exchange.ts';
import { HeaderMap } from '../header-map.ts';
import { lowerTokenByte } from '../header-rules.ts';
import { FieldBlock } from './fields.ts';
import { refuse, type Refusal } from './refusal.ts';

/** Bytes of a body; or one of the two. */
export type BodyLength = number;
export const chunkedBody = -1;
export const bodyUntilClose = -2;

export interface ParsedRequest {
  readonly head: RequestHead;
  readonly body: BodyLength;
  readonly keepAlive: boolean;
  readonly refusal?: never;
}

export interface RequestRules {
  readonly scheme: 'http' | 'https';
  readonly maxHeaders: number;
  readonly pathNormalization: PathNormalization;
}

const space = 32;
const upperMethod = /^[A-Z0-9!#$%&'*+\-.^_`|~]+$/;
const absoluteForm = /^(https?):\/\/([^/?#\\]*)(.*)$/i;
const frequent = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'] as const;

/**
 * @param bytes from `from` on the whole head with its empty line. What is not allowed ends the reading, so a head that
 *   is cut off right after such a byte gives the same answer.
 */
export function parseRequestHead(
  bytes: Buffer,
  from: number,
  to: number,
  rules: RequestRules,
): ParsedRequest | { readonly refusal: Refusal } {
  const text = bytes.toString('latin1', from, to);
  let at = from;
  while (lowerTokenByte[bytes[at] as number]! > 0) at++;
  if (at === from || bytes[at] !== space) return no('an invalid method');
  const method = methodText(text, at - from);
  // Methods are case-sensitive, and some servers do not care: policies could be passed by. As Istio.
  if (!upperMethod.test(method)) return no('a method that is not upper case');
  const targetFrom = ++at;
  for (let c = bytes[at]!; c > space && c < 0x7f;) c = bytes[++at]!;
  if (at === targetFrom || bytes[at] !== space) return no('an invalid request target');
  const version = versionAt(bytes, at + 1);
  if (typeof version !== 'string') return { refusal: version };
  const fields = new FieldBlock();
  const refusal = fields.read(bytes, text, from, at + 11, rules.maxHeaders);
  if (refusal !== undefined) return { refusal };
  return build(method, text.slice(targetFrom - from, at - from), version, fields, rules);
}

const no = (reason: string, status = 400): { readonly refusal: Refusal } => ({
  refusal: refuse(reason, status),
});

function methodText(text: string, length: number): string {
  for (const method of frequent) if (method.length === length && text.startsWith(method)) return method;
  return text.slice(0, length);
}

/** `HTTP/1.1` and the line's end. */
function versionAt(bytes: Buffer, at: number): '1.0' | '1.1' | Refusal {
  // H T T P / digit . digit CR LF
  if (
    bytes[at] !== 0x48 ||
    bytes[at + 1] !== 0x54 ||
    bytes[at + 2] !== 0x54 ||
    bytes[at + 3] !== 0x50 ||
    bytes[at + 4] !== 0x2f ||
    !isDigit(bytes[at + 5]) ||
    bytes[at + 6] !== 0x2e ||
    !isDigit(bytes[at + 7])
  )
    return refuse('an invalid request line');
  if (bytes[at + 8] !== 13 || bytes[at + 9] !== 10) return refuse('an invalid end of the request line');
  if (bytes[at + 5] !== 0x31 || (bytes[at + 7] as number) > 0x31)
    return refuse('a version of HTTP that is not 1.0 or 1.1', 505);
  return bytes[at + 7] === 0x30 ? '1.0' : '1.1';
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;

function build(
  method: string,
  target: string,
  version: '1.0' | '1.1',
  fields: FieldBlock,
  rules: RequestRules,
): ParsedRequest | { readonly refusal: Refusal } {
  // A waypoint is told its next hop by the tunnel, not by a client's CONNECT.
  if (method === 'CONNECT') return no('CONNECT is not served', 405);
  if (fields.host === undefined && version === '1.1') return no('no Host');
  const host = fields.host === undefined ? { authority: '' } : canonicalAuthority(fields.host);
  if (host.authority === undefined) return no(host.reason);
  let authority = host.authority;
  let form = target;
  if (target.charCodeAt(0) !== 0x2f) {
    const absolute = absoluteForm.exec(target);
    if (absolute !== null) {
      const named = canonicalAuthority(absolute[2] as string);
      if (named.authority === undefined) return no(named.reason);
      // RFC 9112, 3.2.2 lets the target win. Then what a server sees depends on whether it knows that.
      if (fields.host !== undefined && named.authority !== authority)
        return no('Host differs from the request target');
      ({ authority } = named);
      form = absolute[3] as string;
      if (!form.startsWith('/')) form = `/${form}`;
    }
  }
  let path = '*';
  let query: string | undefined;
  if (form !== '*' || method !== 'OPTIONS') {
    const canonical = canonicalPath(form, rules.pathNormalization);
    if (canonical.path === undefined) return no(canonical.reason);
    ({ path, query } = canonical);
  }
  if (fields.chunked && fields.contentLength !== undefined)
    return no('both Transfer-Encoding and Content-Length');
  if (fields.chunked && version === '1.0') return no('Transfer-Encoding in HTTP/1.0');
  const body = fields.chunked ? chunkedBody : (fields.contentLength ?? 0);
  const upgrade = fields.namesUpgrade && version === '1.1' && body === 0 ? fields.upgrade : undefined;
  const head: RequestHead = {
    version,
    method,
    scheme: rules.scheme,
    authority,
    path,
    query,
    headers: HeaderMap.adopt(fields.flat),
    upgrade,
    contentLength: fields.chunked || upgrade !== undefined ? undefined : body,
    expectsContinue: fields.expectsContinue && version === '1.1' && body !== 0,
  };
  return { head, body, keepAlive: !fields.close && (version === '1.1' || fields.keepAlive) };
}
