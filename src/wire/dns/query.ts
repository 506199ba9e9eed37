// DNS requests: what a client in a pod sends, and what is sent on to a name server.
import {
  dnsCode,
  dnsType,
  endOfPlainName,
  headerFlag,
  headerSize,
  lowerByte,
  opcodeMask,
  readRecord,
  setWord,
  word,
} from './bytes.ts';

export interface DnsQuestion {
  /** As it was sent: labels with their lengths, to the root. */
  readonly name: Uint8Array;
  readonly type: number;
  readonly class: number;
}

/** What the client said in an OPT record (RFC 6891). */
export interface DnsExtension {
  readonly payloadSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface DnsQuery {
  readonly id: number;
  readonly question: DnsQuestion;
  readonly recursionDesired: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  readonly extension?: DnsExtension;
}

export type DnsRequest =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** To be sent back as it is. */
  | { readonly kind: 'refuse'; readonly code: 'FORMERR' | 'NOTIMP'; readonly reply: Uint8Array }
  | { readonly kind: 'ignore' };

/**
 * Reads whatever came. What has no header is ignored, other opcodes are not implemented, the rest that is no query of
 * one question is malformed. A response is malformed too, as upstream has it; but one that tells of an error is
 * ignored, since it may be such a refusal, and two servers would send each other refusals without end.
 */
export function readDnsRequest(bytes: Uint8Array): DnsRequest {
  if (bytes.length < headerSize) return { kind: 'ignore' };
  const flags = word(bytes, 2);
  if ((flags & headerFlag.response) !== 0)
    return (flags & 0xf) === 0 ? refuse(bytes, 'FORMERR') : { kind: 'ignore' };
  if ((flags & opcodeMask) !== 0) return refuse(bytes, 'NOTIMP');
  if (word(bytes, 4) !== 1) return refuse(bytes, 'FORMERR');
  const end = endOfPlainName(bytes, headerSize);
  if (end === undefined || end + 4 > bytes.length) return refuse(bytes, 'FORMERR');
  const question: DnsQuestion = {
    name: bytes.slice(headerSize, end),
    type: word(bytes, end),
    class: word(bytes, end + 2),
  };
  const extension = readExtension(bytes, end + 4);
  if (extension === 'malformed') return refuse(bytes, 'FORMERR');
  // The whole zone in many messages: not for a proxy of look-ups.
  if (question.type === dnsType.AXFR || question.type === dnsType.IXFR) return refuse(bytes, 'NOTIMP');
  return {
    kind: 'query',
    query: {
      id: word(bytes, 0),
      question,
      recursionDesired: (flags & headerFlag.recursionDesired) !== 0,
      authenticData: (flags & headerFlag.authenticData) !== 0,
      checkingDisabled: (flags & headerFlag.checkingDisabled) !== 0,
      ...(extension === undefined ? {} : { extension }),
    },
  };
}

/** Bytes after the last record are passed over. */
function readExtension(bytes: Uint8Array, start: number): DnsExtension | undefined | 'malformed' {
  const before = word(bytes, 6) + word(bytes, 8);
  const all = before + word(bytes, 10);
  let found: DnsExtension | undefined;
  let at = start;
  for (let i = 0; i < all; i++) {
    const record = readRecord(bytes, at);
    if (record === undefined) return 'malformed';
    at = record.end;
    if (record.type !== dnsType.OPT) continue;
    // At most one, at the root, among the additional records.
    if (found !== undefined || i < before || record.ttlAt - record.start !== 5) return 'malformed';
    found = {
      payloadSize: record.class,
      version: bytes[record.ttlAt + 1] as number,
      dnssecOk: ((bytes[record.ttlAt + 2] as number) & 0x80) !== 0,
    };
  }
  return found;
}

/** A bare header: id, opcode and RD as they came. */
function refuse(bytes: Uint8Array, code: 'FORMERR' | 'NOTIMP'): DnsRequest {
  const reply = new Uint8Array(headerSize);
  setWord(reply, 0, word(bytes, 0));
  const kept = word(bytes, 2) & (opcodeMask | headerFlag.recursionDesired);
  setWord(reply, 2, headerFlag.response | kept | dnsCode[code]);
  return { kind: 'refuse', code, reply };
}

export interface ForwardedOptions {
  readonly id: number;
  readonly checkingDisabled: boolean;
  /** Absent: without an OPT record. */
  readonly extension?: { readonly payloadSize: number; readonly dnssecOk: boolean };
}

export const optSize = 11;

/** A recursive query of our own for the same question. */
export function encodeDnsQuery(question: DnsQuestion, options: ForwardedOptions): Uint8Array {
  const { extension } = options;
  const { name } = question;
  const bytes = new Uint8Array(headerSize + name.length + 4 + (extension === undefined ? 0 : optSize));
  setWord(bytes, 0, options.id);
  setWord(
    bytes,
    2,
    headerFlag.recursionDesired | (options.checkingDisabled ? headerFlag.checkingDisabled : 0),
  );
  setWord(bytes, 4, 1);
  const end = writeQuestion(bytes, question);
  if (extension !== undefined) {
    setWord(bytes, 10, 1);
    writeOpt(bytes, end, extension.payloadSize, extension.dnssecOk);
  }
  return bytes;
}

/** Returns where it ends. */
export function writeQuestion(bytes: Uint8Array, { name, type, class: cls }: DnsQuestion): number {
  bytes.set(name, headerSize);
  const at = headerSize + name.length;
  setWord(bytes, at, type);
  setWord(bytes, at + 2, cls);
  return at + 4;
}

/** Version 0, no options. `code`: the response code, whose upper bits stand here. */
export function writeOpt(
  bytes: Uint8Array,
  at: number,
  payloadSize: number,
  dnssecOk: boolean,
  code = 0,
): void {
  bytes.fill(0, at, at + optSize);
  setWord(bytes, at + 1, dnsType.OPT);
  setWord(bytes, at + 3, payloadSize);
  bytes[at + 5] = code >> 4;
  bytes[at + 7] = dnssecOk ? 0x80 : 0;
}

/** The same text for the same question, whatever the case of its letters. */
export function questionText({ name, type, class: cls }: DnsQuestion): string {
  let text = `${type}/${cls}/`;
  for (const byte of name) text += String.fromCharCode(lowerByte(byte));
  return text;
}
