// X-Forwarded-For and -Proto: who the client is, behind proxies that are trusted, and what the next one is told.
import { parseIp, parseSocketAddress, type Ip } from '#/kit/index.ts';

/** What proxies write: an address, one in brackets, or one with a port. */
function addressOf(entry: string): Ip | undefined {
  const text = entry.trim();
  return parseIp(text.replace(/^\[(.*)\]$/, '$1')) ?? parseSocketAddress(text)?.ip;
}

// Longer lists are forged or loops; what is further left is not looked at.
const maxEntries = 64;

/**
 * The client's address. Without trusted proxies the header says nothing, since the client writes what it likes. With
 * N of them the Nth address from the right is what the outermost trusted one saw; if there is no such address, or it is
 * not one, the peer is the client.
 */
export function forwardedClient(header: string | undefined, peer: Ip, trustedHops: number): Ip {
  if (trustedHops <= 0 || header === undefined || trustedHops > maxEntries) return peer;
  let end = header.length;
  for (let hop = 1; ; hop++) {
    const comma = header.lastIndexOf(',', end - 1);
    if (hop === trustedHops) return addressOf(header.slice(comma + 1, end)) ?? peer;
    if (comma <= 0) return peer;
    end = comma;
  }
}

const maxLength = 4096;

/** The header with one address more; a header that is too long begins anew. */
export function appendForwardedFor(header: string | undefined, address: Ip): string {
  if (header === undefined || header.trim() === '' || header.length > maxLength) return address;
  return `${header},${address}`;
}

/** The client's scheme: as an earlier proxy tells it, if that is one; else that of the request. */
export function forwardedProto(header: string | undefined, scheme: 'http' | 'https'): 'http' | 'https' {
  return header === 'http' || header === 'https' ? header : scheme;
}
