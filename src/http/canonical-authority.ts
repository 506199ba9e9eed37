// Host and :authority in one spelling, so that routes and policies need to know one (RFC 3986, 3.2; RFC 9110, 7.2).
import { parseIp } from '#/kit/index.ts';

export type CanonicalAuthority =
  | { readonly authority: string; readonly reason?: never }
  | { readonly authority?: never; readonly reason: string };

const plain = /^(?!-|\.)(?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))+$/;

/** A name of DNS has at most 253 characters; a final dot and a port come on top. */
const maxLength = 260;

/**
 * Lower case, without a final dot of the name; an IPv6 literal in the form of RFC 5952. Refused: userinfo, empty
 * hosts, percent-encodings and other characters that no name in DNS has, zones, ports that are not 1 to 65535 in
 * plain digits. `_` is taken, since names in the wild have it.
 */
export function canonicalAuthority(text: string): CanonicalAuthority {
  if (text.length > maxLength) return { reason: 'the host is too long' };
  if (text.startsWith('[')) return ipLiteral(text);
  const colon = text.indexOf(':');
  let host = colon < 0 ? text : text.slice(0, colon);
  if (host.endsWith('.')) host = host.slice(0, -1);
  if (host === '') return { reason: 'the host is empty' };
  if (!plain.test(host))
    return { reason: text.includes('@') ? 'the host has userinfo' : 'the host has an invalid character' };
  host = host.toLowerCase();
  return colon < 0 ? { authority: host } : withPort(host, text.slice(colon + 1));
}

function ipLiteral(text: string): CanonicalAuthority {
  const close = text.indexOf(']');
  const inside = text.slice(1, close);
  const ip =
    close > 0 && /^[0-9a-fA-F:.]+$/.test(inside) && inside.includes(':') ? parseIp(inside) : undefined;
  if (ip === undefined) return { reason: 'the host is not an IPv6 address' };
  const rest = text.slice(close + 1);
  if (rest === '') return { authority: `[${ip}]` };
  return rest.startsWith(':')
    ? withPort(`[${ip}]`, rest.slice(1))
    : { reason: 'the host has an invalid character' };
}

function withPort(host: string, port: string): CanonicalAuthority {
  return /^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535
    ? { authority: `${host}:${port}` }
    : { reason: 'the port of the host is invalid' };
}
