// DNS answers: read from a name server, or made of the mesh's own records, then written for a client. What a name
// server said is passed on as bytes: records of any type, known or not, arrive as they were sent.
import { isV6, parseIpBytes, type Ip } from '#/kit/index.ts';
import {
  dnsCode,
  dnsType,
  endOfPlainName,
  headerFlag,
  headerSize,
  internetClass,
  long,
  maxMessage,
  nameOf,
  opcodeMask,
  readRecord,
  sameName,
  setLong,
  setWord,
  word,
} from './bytes.ts';
import { optSize, writeOpt, writeQuestion, type DnsQuery, type DnsQuestion } from './query.ts';

export interface DnsAnswer {
  readonly code: number;
  readonly authoritative: boolean;
  readonly authenticData: boolean;
  /** The name server had more to say than it could. */
  readonly truncated: boolean;
  /**
   * Question and records, behind room for a header. Names may point into the question, so it fits only clients that
   * asked with a name of the same length, which those have that asked the same.
   */
  readonly message: Uint8Array;
  /** Where each record's TTL stands, and where the record ends. */
  readonly ttlAt: readonly number[];
  readonly ends: readonly number[];
  /** Of the records, how many are answers, and how many answers or authorities. */
  readonly answers: number;
  readonly authorities: number;
  /** For how long it may be given again. 0: not at all. */
  readonly lifeSeconds: number;
}

/** A negative answer without a word about its life. */
const unknownLife = 0;

/**
 * Reads what a name server sent. Undefined if it is no answer to this question, or malformed. Its OPT record is left
 * out, with whatever additional records follow it: pointers lead backwards, so an end can always be cut off.
 */
export function readDnsAnswer(bytes: Uint8Array, id: number, question: DnsQuestion): DnsAnswer | undefined {
  if (bytes.length < headerSize || bytes.length > maxMessage) return undefined;
  const flags = word(bytes, 2);
  if (word(bytes, 0) !== id || (flags & headerFlag.response) === 0 || (flags & opcodeMask) !== 0)
    return undefined;
  const nameEnd = endOfPlainName(bytes, headerSize);
  if (word(bytes, 4) !== 1 || nameEnd === undefined || nameEnd + 4 > bytes.length) return undefined;
  if (
    !sameName(bytes.subarray(headerSize, nameEnd), question.name) ||
    word(bytes, nameEnd) !== question.type ||
    word(bytes, nameEnd + 2) !== question.class
  )
    return undefined;
  const answers = word(bytes, 6);
  const authorities = answers + word(bytes, 8);
  const all = authorities + word(bytes, 10);
  const truncated = (flags & headerFlag.truncated) !== 0;
  const ttlAt: number[] = [];
  const ends: number[] = [];
  let code = flags & 0xf;
  let at = nameEnd + 4;
  let least = Infinity;
  let negative: number | undefined;
  for (let i = 0; i < all; i++) {
    const record = readRecord(bytes, at);
    if (record === undefined) return undefined;
    if (record.type === dnsType.OPT) {
      if (i < authorities) return undefined;
      code |= (bytes[record.ttlAt] as number) << 4;
      break;
    }
    at = record.end;
    ttlAt.push(record.ttlAt);
    ends.push(record.end);
    // RFC 2181 section 8: the top bit set means zero.
    const ttl = long(bytes, record.ttlAt);
    const life = ttl > 0x7fff_ffff ? 0 : ttl;
    if (i < authorities) least = Math.min(least, life);
    if (i >= answers && i < authorities && record.type === dnsType.SOA && record.end - record.dataAt >= 22)
      negative = Math.min(life, long(bytes, record.end - 4));
  }
  const positive = code === dnsCode.NOERROR && answers > 0;
  const life = positive ? least : (negative ?? unknownLife);
  const keep = !truncated && (code === dnsCode.NOERROR || code === dnsCode.NXDOMAIN);
  return {
    code,
    authoritative: false,
    authenticData: (flags & headerFlag.authenticData) !== 0,
    truncated,
    message: bytes.slice(0, at),
    ttlAt,
    ends,
    answers,
    authorities,
    lifeSeconds: keep ? life : 0,
  };
}

export interface LocalRecords {
  /** The name that the question's name stands for. Absent: none, the addresses are the question's own. */
  readonly canonicalName?: string;
  /** All of the family that was asked for. Those beyond what a message can hold are left out. */
  readonly addresses: readonly Ip[];
  readonly ttlSeconds: number;
}

/** An answer that is ours. */
export function localDnsAnswer(question: DnsQuestion, records: LocalRecords): DnsAnswer {
  const { canonicalName, addresses, ttlSeconds } = records;
  const target = canonicalName === undefined ? undefined : nameOf(canonicalName);
  const questionEnd = headerSize + question.name.length + 4;
  const aliasSize = target === undefined ? 0 : 12 + target.length;
  const v6 = addresses.some(isV6);
  const addressSize = 12 + (v6 ? 16 : 4);
  const room = Math.floor((maxMessage - optSize - questionEnd - aliasSize) / addressSize);
  const shown = addresses.slice(0, room);
  const message = new Uint8Array(questionEnd + aliasSize + shown.length * addressSize);
  writeQuestion(message, question);
  const ttlAt: number[] = [];
  const ends: number[] = [];
  let at = questionEnd;
  const put = (owner: number, type: number, data: Uint8Array): void => {
    setWord(message, at, 0xc000 | owner);
    setWord(message, at + 2, type);
    setWord(message, at + 4, internetClass);
    setLong(message, at + 6, ttlSeconds);
    setWord(message, at + 10, data.length);
    message.set(data, at + 12);
    ttlAt.push(at + 6);
    ends.push((at += 12 + data.length));
  };
  let owner = headerSize;
  if (target !== undefined) {
    owner = questionEnd + 12;
    put(headerSize, dnsType.CNAME, target);
  }
  for (const ip of shown) {
    const data = parseIpBytes(ip);
    if (data?.length !== (v6 ? 16 : 4))
      throw new TypeError(`'${ip}' is not an address of the family asked for`);
    put(owner, v6 ? dnsType.AAAA : dnsType.A, data);
  }
  return {
    code: dnsCode.NOERROR,
    authoritative: true,
    authenticData: false,
    truncated: false,
    message,
    ttlAt,
    ends,
    answers: ends.length,
    authorities: ends.length,
    lifeSeconds: 0,
  };
}

/** Without records. */
export function dnsFailure(question: DnsQuestion, code: number): DnsAnswer {
  const message = new Uint8Array(headerSize + question.name.length + 4);
  writeQuestion(message, question);
  return {
    code,
    authoritative: false,
    authenticData: false,
    truncated: false,
    message,
    ttlAt: [],
    ends: [],
    answers: 0,
    authorities: 0,
    lifeSeconds: 0,
  };
}

/** The least that every client takes, and the most that we send in a datagram: it never leaves the pod. */
const leastDatagram = 512;
const mostDatagram = 4096;

/** How many bytes the client takes in a datagram. */
export function datagramLimit({ extension }: DnsQuery): number {
  return Math.min(mostDatagram, Math.max(leastDatagram, extension?.payloadSize ?? 0));
}

/**
 * The reply to a client, of at most `limit` bytes. If not every answer and authority fits, it says so (TC) and holds
 * those that do: some clients never ask again over TCP.
 * `ageSeconds`: how long ago the answer was read; TTLs are that much shorter.
 */
export function encodeDnsReply(
  query: DnsQuery,
  answer: DnsAnswer,
  limit = maxMessage,
  ageSeconds = 0,
): Uint8Array {
  const { question, extension } = query;
  const room = limit - (extension === undefined ? 0 : optSize);
  let kept = answer.ends.length;
  while (kept > 0 && (answer.ends[kept - 1] as number) > room) kept--;
  const cut = answer.truncated || kept < answer.authorities;
  const end = kept === 0 ? headerSize + question.name.length + 4 : (answer.ends[kept - 1] as number);
  const bytes = new Uint8Array(end + (extension === undefined ? 0 : optSize));
  bytes.set(answer.message.subarray(0, end));
  // The client's own spelling (some mix upper and lower case, and check).
  writeQuestion(bytes, question);
  // Half of a long code would be another code.
  const code = extension === undefined && answer.code > 0xf ? dnsCode.SERVFAIL : answer.code;
  const wantsProof = query.authenticData || extension?.dnssecOk === true;
  setWord(bytes, 0, query.id);
  setWord(
    bytes,
    2,
    headerFlag.response |
      headerFlag.recursionAvailable |
      (answer.authoritative ? headerFlag.authoritative : 0) |
      (cut ? headerFlag.truncated : 0) |
      (query.recursionDesired ? headerFlag.recursionDesired : 0) |
      (answer.authenticData && wantsProof ? headerFlag.authenticData : 0) |
      (query.checkingDisabled ? headerFlag.checkingDisabled : 0) |
      (code & 0xf),
  );
  setWord(bytes, 4, 1);
  setWord(bytes, 6, Math.min(kept, answer.answers));
  setWord(bytes, 8, Math.min(kept, answer.authorities) - Math.min(kept, answer.answers));
  setWord(bytes, 10, kept - Math.min(kept, answer.authorities) + (extension === undefined ? 0 : 1));
  if (ageSeconds > 0)
    for (let i = 0; i < kept; i++) {
      const at = answer.ttlAt[i] as number;
      setLong(bytes, at, Math.max(0, long(bytes, at) - ageSeconds));
    }
  if (extension !== undefined)
    writeOpt(bytes, end, Math.max(leastDatagram, extension.payloadSize), extension.dnssecOk, code);
  return bytes;
}
