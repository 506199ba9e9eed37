// What a header field must look like, and which fields are of one connection only: the same for HTTP/1.1 and HTTP/2
// (RFC 9110, 5 and 7.6; RFC 9112, 5; RFC 9113, 8.2). Texts are latin1: a character is a byte on the wire.

const tokenExtra = "!#$%&'*+-.^_`|~";

/** By byte: the lower-case form of a character of a token, or 0 (RFC 9110, 5.6.2). */
export const lowerTokenByte: Uint8Array = (() => {
  const table = new Uint8Array(256);
  for (let c = 0; c < 128; c++) {
    const char = String.fromCharCode(c);
    if (/[0-9A-Za-z]/.test(char) || tokenExtra.includes(char)) table[c] = char.toLowerCase().charCodeAt(0);
  }
  return table;
})();

/** By byte: 1 if it may stand in a value: HTAB, SP, visible ASCII, and obs-text (RFC 9110, 5.5). */
export const valueByte: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) =>
  c === 9 || (c >= 0x20 && c !== 0x7f) ? 1 : 0,
);

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const lowerToken = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const value = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

export const isToken = (text: string): boolean => token.test(text);

/** A field name in the form that HeaderMap holds: a token in lower case. */
export const validHeaderName = (name: string): boolean => lowerToken.test(name);

/** No control bytes but HTAB, no character that is not one byte, no blanks at the ends. */
export const validHeaderValue = (text: string): boolean => value.test(text);

/** They speak of one connection of HTTP/1 and go no further (RFC 9110, 7.6.1). */
const connectionLevel: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export const isConnectionLevel = (name: string): boolean => connectionLevel.has(name);

/** The codec writes these from fields of the head, or from the framing it chose; what a map says of them is left out. */
const ofTheCodec: ReadonlySet<string> = new Set([
  ...connectionLevel,
  'content-length',
  'expect',
  'host',
  'http2-settings',
]);

export const isWrittenByCodec = (name: string): boolean => ofTheCodec.has(name);

const endToEnd: ReadonlySet<string> = new Set([
  'accept',
  'age',
  'authorization',
  'baggage',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'date',
  'expires',
  'forwarded',
  'host',
  'pragma',
  'proxy-authorization',
  'range',
  'set-cookie',
  'traceparent',
  'tracestate',
  'vary',
  'via',
]);

/**
 * True for fields that Connection may not name. A proxy removes what Connection names, so a client could have the
 * identity, the credentials or the trace that a proxy before us added taken away; and if we kept them, a server that
 * does remove them would see another request than our policies did. Such a message is refused. RFC 9110, 7.6.1
 * forbids to name fields that are meant for all recipients.
 */
export function mayNotBeNamedByConnection(name: string): boolean {
  return (
    endToEnd.has(name) ||
    name === 'b3' ||
    name.startsWith('x-forwarded-') ||
    name.startsWith('x-envoy-') ||
    name.startsWith('x-b3-') ||
    name === 'x-request-id' ||
    name === 'x-real-ip'
  );
}

/** Fields of framing, routing, authentication and content that must not come after the body (RFC 9110, 6.5.1). */
const notInTrailers: ReadonlySet<string> = new Set([
  ...ofTheCodec,
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'cookie',
  'forwarded',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'max-forwards',
  'pragma',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'set-cookie',
  'te',
  'via',
  'www-authenticate',
]);

/** Such a trailer is dropped. What policies look at must not arrive after they have looked. */
export const isForbiddenTrailer = (name: string): boolean =>
  notInTrailers.has(name) || (mayNotBeNamedByConnection(name) && name !== 'baggage');

/** Digits only, at most 2^53 - 1; undefined otherwise. No sign, blank or list (RFC 9110, 8.6). */
export function parseContentLength(text: string): number | undefined {
  if (text.length === 0 || text.length > 16) return undefined;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  return length <= Number.MAX_SAFE_INTEGER ? length : undefined;
}
