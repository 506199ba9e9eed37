// What a connection speaks, by its first bytes, for ports whose protocol is not declared. In doubt it is HTTP: then the
// strict parser refuses it, where the doubt as TCP would carry it past the policies of L7.
import { type ClientHello, readClientHello } from './client-hello.ts';

export type Sniffed =
  /** Not yet clear. If the client says no more for a while, or has ended, it is `tcp`. */
  | { readonly kind: 'need-more' }
  | { readonly kind: 'http1' | 'http2' | 'tcp' }
  /** A hello that cannot be read has neither: no route by name is for it. */
  | ({ readonly kind: 'tls' } & ClientHello);

/** With so many bytes the answer is never `need-more`. */
export const sniffMaxBytes = 24_576;

const needMore: Sniffed = { kind: 'need-more' };
const http1: Sniffed = { kind: 'http1' };
const http2: Sniffed = { kind: 'http2' };
const tcp: Sniffed = { kind: 'tcp' };

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const maxMethod = 32;
const maxLine = 8192;
const methods = ['GET', 'PUT', 'POST', 'HEAD', 'PATCH', 'TRACE', 'DELETE', 'OPTIONS', 'CONNECT'];
// Also HTTP/0.9, which has no version and which some servers still answer.
const knownRequest = new RegExp(`^(?:${methods.join('|')})[ \t]+(?:[/\\\\]|\\*[ \t]|https?:)`, 'i');
const method = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}[ \t]/;
const methodSoFar = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,32}$/;

/** @param bytes all that has come, from the first byte on; only the first `sniffMaxBytes` are looked at */
export function sniff(bytes: Uint8Array): Sniffed {
  const found = look(bytes);
  return found === needMore && bytes.length >= sniffMaxBytes ? tcp : found;
}

function look(bytes: Uint8Array): Sniffed {
  const first = bytes[0];
  if (first === undefined) return needMore;
  if (first === 0x16) return tls(bytes);
  // Servers skip empty lines before a request (RFC 9112, 2.2).
  let from = 0;
  while (from < 8 && (bytes[from] === 0x0d || bytes[from] === 0x0a)) from++;
  const text = latin1(bytes, from, from + maxMethod + 2);
  if (text.startsWith('PRI ') || (text.length < 4 && 'PRI '.startsWith(text))) return h2(bytes, from);
  if (knownRequest.test(text)) return http1;
  if (!method.test(text)) return methodSoFar.test(text) && text.length <= maxMethod ? needMore : tcp;
  const line = latin1(bytes, from, from + maxLine);
  const end = line.indexOf('\n');
  if (end < 0) return line.length < maxLine ? needMore : tcp;
  return /[ \t]HTTP\//i.test(line.slice(0, end)) ? http1 : tcp;
}

function h2(bytes: Uint8Array, from: number): Sniffed {
  const text = latin1(bytes, from, from + preface.length);
  if (from === 0 && text === preface) return http2;
  return from === 0 && preface.startsWith(text) ? needMore : text.length < 4 ? needMore : http1;
}

function tls(bytes: Uint8Array): Sniffed {
  if (bytes.length > 1 && bytes[1] !== 3) return tcp;
  const hello = readClientHello(bytes.subarray(0, sniffMaxBytes));
  if (hello === 'more' && bytes.length < sniffMaxBytes) return needMore;
  return typeof hello === 'string'
    ? { kind: 'tls', sni: undefined, alpn: [] }
    : { kind: 'tls', sni: hello.sni, alpn: hello.alpn };
}

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
    'latin1',
    from,
    Math.min(to, bytes.length),
  );
