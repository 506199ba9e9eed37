// The ground that DNS messages stand on (RFC 1035 section 4): numbers, names as bytes, the walk over records.
// Every function takes any bytes: what does not fit gives undefined, never an error and never a read past the end.

export const dnsType = { A: 1, CNAME: 5, SOA: 6, AAAA: 28, OPT: 41, IXFR: 251, AXFR: 252, ANY: 255 } as const;
export const internetClass = 1;

/** Response codes. BADVERS does not fit into the header: its upper bits travel in the OPT record. */
export const dnsCode = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

/** Bits of the header's second word. */
export const headerFlag = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  authenticData: 0x0020,
  checkingDisabled: 0x0010,
} as const;
export const opcodeMask = 0x7800;

export const headerSize = 12;
export const maxMessage = 65_535;
const maxName = 255;
const maxLabel = 63;

export const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
export const long = (bytes: Uint8Array, at: number): number =>
  word(bytes, at) * 0x1_0000 + word(bytes, at + 2);

export function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

export function setLong(bytes: Uint8Array, at: number, value: number): void {
  setWord(bytes, at, Math.floor(value / 0x1_0000));
  setWord(bytes, at + 2, value % 0x1_0000);
}

/** Where a name written out in full ends. Undefined: too long, cut off, or with a pointer. */
export function endOfPlainName(bytes: Uint8Array, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || length > maxLabel) return undefined;
    at += length + 1;
    if (at - start > maxName || at > bytes.length) return undefined;
    if (length === 0) return at;
  }
}

/**
 * Where a name ends that may end in a pointer. A pointer has to lead to before the name (RFC 1035 section 4.1.4), so
 * that whoever follows it comes to an end.
 */
export function endOfName(bytes: Uint8Array, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length >= 0xc0) {
      if (at + 2 > bytes.length) return undefined;
      const target = word(bytes, at) & 0x3fff;
      return target >= headerSize && target < start ? at + 2 : undefined;
    }
    if (length > maxLabel) return undefined;
    at += length + 1;
    if (at - start > maxName || at > bytes.length) return undefined;
    if (length === 0) return at;
  }
}

export interface RecordPlace {
  readonly start: number;
  readonly type: number;
  readonly class: number;
  readonly ttlAt: number;
  readonly dataAt: number;
  readonly end: number;
}

/** One resource record; undefined if it does not fit. */
export function readRecord(bytes: Uint8Array, start: number): RecordPlace | undefined {
  const at = endOfName(bytes, start);
  if (at === undefined || at + 10 > bytes.length) return undefined;
  const end = at + 10 + word(bytes, at + 8);
  if (end > bytes.length) return undefined;
  return { start, type: word(bytes, at), class: word(bytes, at + 2), ttlAt: at + 4, dataAt: at + 10, end };
}

/** The same bytes, upper case ASCII letters taken for lower case ones (RFC 4343). */
export function sameName(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++)
    if (a[i] !== b[i] && lowerByte(a[i] as number) !== lowerByte(b[i] as number)) return false;
  return true;
}

export const lowerByte = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);

const hostnameBytes = /^[a-z0-9_*-]+$/;

/**
 * `a.b.c`, lower case, without a dot at the end; empty for the root. Undefined if a label has other bytes than
 * hostnames have (a dot, for one): no text stands for such a name.
 */
export function hostnameOf(name: Uint8Array): string | undefined {
  const labels: string[] = [];
  for (let at = 0; ;) {
    const length = name[at];
    if (length === undefined) return undefined;
    if (length === 0) return labels.join('.');
    let label = '';
    for (let i = at + 1; i <= at + length; i++) label += String.fromCharCode(lowerByte(name[i] ?? 0));
    if (!hostnameBytes.test(label)) return undefined;
    labels.push(label);
    at += length + 1;
  }
}

/** As it is written in zone files, with a dot at the end; bytes that are not plain as `\\DDD` (RFC 1035 section 5.1). */
export function nameText(name: Uint8Array): string {
  let text = '';
  for (let at = 0; (name[at] ?? 0) !== 0; at += (name[at] as number) + 1) {
    for (const byte of name.subarray(at + 1, at + 1 + (name[at] as number))) {
      const character = String.fromCharCode(byte);
      const plain = byte > 0x20 && byte < 0x7f && !'.\\"();@$'.includes(character);
      text += plain ? character : `\\${String(byte).padStart(3, '0')}`;
    }
    text += '.';
  }
  return text === '' ? '.' : text;
}

const typeNames: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  13: 'HINFO',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  29: 'LOC',
  33: 'SRV',
  35: 'NAPTR',
  43: 'DS',
  44: 'SSHFP',
  46: 'RRSIG',
  47: 'NSEC',
  48: 'DNSKEY',
  50: 'NSEC3',
  52: 'TLSA',
  64: 'SVCB',
  65: 'HTTPS',
  99: 'SPF',
  251: 'IXFR',
  252: 'AXFR',
  255: 'ANY',
  256: 'URI',
  257: 'CAA',
};

/** The name of a type that is in use; undefined for others. */
export const dnsTypeName = (type: number): string | undefined => typeNames[type];

/** The other way round. Throws a RangeError for what is no hostname. */
export function nameOf(hostname: string): Uint8Array {
  const labels = hostname === '' ? [] : hostname.split('.');
  const name = new Uint8Array(labels.reduce((sum, label) => sum + label.length + 1, 1));
  let at = 0;
  for (const label of labels) {
    if (label.length > maxLabel || !hostnameBytes.test(label.toLowerCase()))
      throw new RangeError(`${JSON.stringify(hostname)} is not a hostname`);
    name[at++] = label.length;
    for (let i = 0; i < label.length; i++) name[at++] = label.charCodeAt(i);
  }
  if (name.length > maxName) throw new RangeError(`${JSON.stringify(hostname)} is longer than a name may be`);
  return name;
}
