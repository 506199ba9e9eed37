// IP addresses and CIDR ranges as plain values. Text is canonical (RFC 5952), bytes are network order.
// Knows nothing of networks, pods or services.

/** A canonical IPv4 or IPv6 address in text, without zone and without brackets. */
export type Ip = string & { readonly ip: unique symbol };

/** Four or sixteen bytes in network order. */
export type IpBytes = Uint8Array;

export interface Cidr {
  /** The network address, host bits cleared. */
  readonly base: IpBytes;
  /** Prefix length in bits: 0–32 or 0–128. */
  readonly length: number;
}

export interface SocketAddress {
  readonly ip: Ip;
  readonly port: number;
}

const v4Part = /^(0|[1-9][0-9]{0,2})$/;

function parseV4(text: string): IpBytes | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = parts[i] as string;
    if (!v4Part.test(part)) return undefined;
    const value = Number(part);
    if (value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function parseV6(text: string): IpBytes | undefined {
  if (text.length < 2 || text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string): number[] | undefined => {
    if (half === '') return [];
    const out: number[] = [];
    const parts = half.split(':');
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] as string;
      if (part.includes('.')) {
        if (i !== parts.length - 1) return undefined;
        const v4 = parseV4(part);
        if (v4 === undefined) return undefined;
        out.push(((v4[0] as number) << 8) | (v4[1] as number), ((v4[2] as number) << 8) | (v4[3] as number));
        continue;
      }
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      out.push(Number.parseInt(part, 16));
    }
    return out;
  };
  const head = groups(halves[0] as string);
  const tail = halves.length === 2 ? groups(halves[1] as string) : [];
  if (head === undefined || tail === undefined) return undefined;
  const gap = 8 - head.length - tail.length;
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const all = [...head, ...Array.from({ length: gap }, () => 0), ...tail];
  const bytes = new Uint8Array(16);
  all.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** Parses text into 4 or 16 bytes; undefined if it is not an address. Leading zeros in IPv4 are refused. */
export function parseIpBytes(text: string): IpBytes | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

/** The canonical text of 4 or 16 bytes (RFC 5952: longest run of zeros shortened, lower case). */
export function formatIp(bytes: IpBytes): Ip {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Ip;
  if (bytes.length !== 16) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  let best = { start: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > best.length) best = { start: i, length: j - i };
    if (j > i) i = j;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (best.start < 0) return hex(groups) as Ip;
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}` as Ip;
}

/** Parses text into its canonical form; undefined if it is not an address. */
export function parseIp(text: string): Ip | undefined {
  const bytes = parseIpBytes(text);
  return bytes === undefined ? undefined : formatIp(bytes);
}

/** `::ffff:a.b.c.d` as the kernel reports it on a dual-stack socket becomes `a.b.c.d`; others stay. */
export function unmapV4(text: string): Ip {
  if (!text.includes(':')) return text as Ip;
  const lower = text.toLowerCase();
  if (lower.startsWith('::ffff:') && lower.includes('.')) return lower.slice(7) as Ip;
  return (parseIp(lower) ?? lower) as Ip;
}

export const isV6 = (ip: string): boolean => ip.includes(':');

export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

/** Parses `10.0.0.0/8`, `fd00::/64`, or a bare address (its full length). Undefined if it is neither. */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const bytes = parseIpBytes(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  const bits = bytes.length * 8;
  if (slash >= 0 && !/^(0|[1-9][0-9]{0,2})$/.test(text.slice(slash + 1))) return undefined;
  const length = slash < 0 ? bits : Number(text.slice(slash + 1));
  return length > bits ? undefined : cidr(bytes, length);
}

/** A range from bytes and a length; the host bits are cleared. */
export function cidr(address: IpBytes, length: number): Cidr {
  const base = new Uint8Array(address);
  for (let i = 0; i < base.length; i++) {
    const keep = Math.min(8, Math.max(0, length - 8 * i));
    base[i] = (base[i] as number) & (0xff << (8 - keep));
  }
  return { base, length };
}

export function formatCidr(range: Cidr): string {
  return `${formatIp(range.base)}/${range.length}`;
}

/** True if the address lies in the range. Addresses of the other family never do. */
export function cidrContains(range: Cidr, address: IpBytes): boolean {
  if (address.length !== range.base.length) return false;
  const whole = range.length >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== range.base[i]) return false;
  const rest = range.length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((address[whole] as number) & mask) === range.base[whole];
}

/** `1.2.3.4:80` or `[fd00::1]:80`. */
export function formatSocketAddress(ip: string, port: number): string {
  return isV6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** Parses `IP:port` with brackets for IPv6; undefined if the host is a name or the port is not 0–65535. */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const parts = parseHostPort(text);
  if (parts === undefined) return undefined;
  const ip = parseIp(parts.host);
  return ip === undefined ? undefined : { ip, port: parts.port };
}

/** Parses `host:port`, the host being a name, an IPv4 address or a bracketed IPv6 address. */
export function parseHostPort(text: string): { host: string; port: number } | undefined {
  const colon = text.lastIndexOf(':');
  if (colon <= 0) return undefined;
  const digits = text.slice(colon + 1);
  if (!/^[0-9]{1,5}$/.test(digits) || Number(digits) > 65535) return undefined;
  let host = text.slice(0, colon);
  if (host.startsWith('[') !== host.endsWith(']')) return undefined;
  if (host.startsWith('[')) {
    host = host.slice(1, -1);
    if (!host.includes(':')) return undefined;
  } else if (host.includes(':')) return undefined;
  return host === '' ? undefined : { host, port: Number(digits) };
}
