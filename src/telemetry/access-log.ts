// The lines of the access log, byte for byte in the form that the mesh's users grep: fields, order, quotes.
// One line per connection, so this is a hot path: strings are joined, nothing is collected first.
import { formatSocketAddress, type LogLevel, type SocketAddress } from '#/kit/index.ts';

export type Direction = 'inbound' | 'outbound';
export type AccessLogFormat = 'plain' | 'json';

/** Who talks to whom, as far as it is known. An absent or empty field is left out of the line. */
export interface AccessParty {
  readonly address: SocketAddress;
  /** The pod's name, else the canonical service. */
  readonly workload?: string | undefined;
  readonly namespace?: string | undefined;
  /** Only for mutual TLS. */
  readonly identity?: string | undefined;
  readonly cluster?: string | undefined;
  /** The same object for all parties that differ in their address only: what is said of them is then made once. */
  readonly alike?: object | undefined;
}

export interface AccessRecord {
  readonly level: LogLevel;
  readonly message: 'connection opened' | 'connection complete' | 'connection failed';
  readonly direction: Direction;
  readonly source: AccessParty;
  /** Outbound: the next hop. Inbound HBONE: the connection's own address, with port 15008. */
  readonly destination: AccessParty;
  /** The authority of the CONNECT. */
  readonly hboneAddress?: string | undefined;
  /** The hostname of the service that was meant. */
  readonly service?: string | undefined;
  /** Absent while the connection is open, and when it was refused before it was known. */
  readonly totals?: AccessTotals | undefined;
  readonly error?: string | undefined;
}

/** Bytes as the logging proxy sees them: outbound, sent is client to server; inbound, sent is server to client. */
export interface AccessTotals {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\0': '\\0',
};
// Quote, backslash and control characters; also line separators, which would break a line for some readers.
// oxlint-disable-next-line no-control-regex
const special = /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const allSpecial = new RegExp(special, 'g');

/** Text in quotes, the special characters escaped as upstream does: `\n`, `\"`, `\u{1b}`. */
export function quote(text: string): string {
  if (!special.test(text)) return `"${text}"`;
  const safe = text.replace(
    allSpecial,
    (character) => escapes[character] ?? `\\u{${character.charCodeAt(0).toString(16)}}`,
  );
  return `"${safe}"`;
}

let second = Number.NaN;
let secondText = '';

/** RFC 3339 in UTC with microseconds, from (fractional) milliseconds since the epoch. */
export function accessTime(ms: number): string {
  const micros = Math.floor(ms * 1000);
  const now = Math.floor(micros / 1e6);
  if (now !== second) {
    second = now;
    secondText = new Date(now * 1000).toISOString().slice(0, 20);
  }
  return `${secondText}${String(micros - now * 1e6).padStart(6, '0')}Z`;
}

const address = ({ ip, port }: SocketAddress): string => formatSocketAddress(ip, port);
const wholeMs = (ms: number): string => `${Math.max(0, Math.floor(ms))}ms`;
const has = (text: string | undefined): text is string => text !== undefined && text !== '';

function plainParty(prefix: Prefix, party: AccessParty): string {
  let text = '';
  if (has(party.workload)) text += ` ${prefix}.workload=${quote(party.workload)}`;
  if (has(party.namespace)) text += ` ${prefix}.namespace=${quote(party.namespace)}`;
  if (has(party.identity)) text += ` ${prefix}.identity=${quote(party.identity)}`;
  if (has(party.cluster)) text += ` ${prefix}.cluster=${quote(party.cluster)}`;
  return text;
}

type Prefix = 'src' | 'dst';
type Texts = Readonly<Record<Prefix, WeakMap<object, string>>>;
const newTexts = (): Texts => ({ src: new WeakMap(), dst: new WeakMap() });
const plainTexts = newTexts();
const jsonTexts = newTexts();

function partyText(
  texts: Texts,
  make: (prefix: Prefix, party: AccessParty) => string,
  prefix: Prefix,
  party: AccessParty,
): string {
  if (party.alike === undefined) return make(prefix, party);
  const kept = texts[prefix].get(party.alike);
  if (kept !== undefined) return kept;
  // Through bytes, so that it is one piece and not a chain that is walked again for each line.
  const made = Buffer.from(make(prefix, party)).toString();
  texts[prefix].set(party.alike, made);
  return made;
}

function formatPlain(record: AccessRecord, ms: number): string {
  const { source, destination, totals } = record;
  let line = `${accessTime(ms)}\t${record.level}\taccess\t${record.message}\tsrc.addr=${address(source.address)}`;
  line += partyText(plainTexts, plainParty, 'src', source);
  line += ` dst.addr=${address(destination.address)}`;
  if (has(record.hboneAddress)) line += ` dst.hbone_addr=${record.hboneAddress}`;
  if (has(record.service)) line += ` dst.service=${quote(record.service)}`;
  line += partyText(plainTexts, plainParty, 'dst', destination);
  line += ` direction="${record.direction}"`;
  if (totals !== undefined)
    line += ` bytes_sent=${totals.bytesSent} bytes_recv=${totals.bytesReceived} duration="${wholeMs(totals.durationMs)}"`;
  if (record.error !== undefined) line += ` error=${quote(record.error)}`;
  return line;
}

function jsonParty(prefix: Prefix, party: AccessParty): string {
  let text = '';
  if (has(party.workload)) text += `,"${prefix}.workload":${JSON.stringify(party.workload)}`;
  if (has(party.namespace)) text += `,"${prefix}.namespace":${JSON.stringify(party.namespace)}`;
  if (has(party.identity)) text += `,"${prefix}.identity":${JSON.stringify(party.identity)}`;
  if (has(party.cluster)) text += `,"${prefix}.cluster":${JSON.stringify(party.cluster)}`;
  return text;
}

function formatJson(record: AccessRecord, ms: number): string {
  const { source, destination, totals } = record;
  let line = `{"level":"${record.level}","time":"${accessTime(ms)}","scope":"access","message":"${record.message}"`;
  line += `,"src.addr":"${address(source.address)}"${partyText(jsonTexts, jsonParty, 'src', source)}`;
  line += `,"dst.addr":"${address(destination.address)}"`;
  if (has(record.hboneAddress)) line += `,"dst.hbone_addr":${JSON.stringify(record.hboneAddress)}`;
  if (has(record.service)) line += `,"dst.service":${JSON.stringify(record.service)}`;
  line += `${partyText(jsonTexts, jsonParty, 'dst', destination)},"direction":"${record.direction}"`;
  if (totals !== undefined)
    line += `,"bytes_sent":${totals.bytesSent},"bytes_recv":${totals.bytesReceived},"duration":"${wholeMs(totals.durationMs)}"`;
  if (record.error !== undefined) line += `,"error":${JSON.stringify(record.error)}`;
  return `${line}}`;
}

/** One line, without the line break. `ms`: milliseconds since the epoch, with a fraction if there is one. */
export function formatAccess(record: AccessRecord, format: AccessLogFormat, ms: number): string {
  return format === 'json' ? formatJson(record, ms) : formatPlain(record, ms);
}
