// The headers of a CONNECT besides its authority: baggage, forwarded, traceparent, x-forwarded-network.
// A peer wrote them, so reading is bounded and never throws: what is not well formed is not there.
import { formatSocketAddress, type SocketAddress } from '#/kit/index.ts';
import type { Baggage, Workload } from '#/model/index.ts';

/** Names of the headers, in lower case as HTTP/2 has them. */
export const hboneHeaders = {
  baggage: 'baggage',
  forwarded: 'forwarded',
  traceparent: 'traceparent',
  forwardedNetwork: 'x-forwarded-network',
} as const;

export type HeaderValue = string | readonly string[] | undefined;

// The limits of W3C Baggage, for all lines of the header together; a value becomes a label, which is shorter still.
const maxBaggage = 8192;
const maxMembers = 180;
const maxValue = 256;
const maxForwarded = 1024;

const baggageFields: Readonly<Record<string, keyof Baggage>> = {
  'k8s.cluster.name': 'clusterId',
  'k8s.namespace.name': 'namespace',
  'k8s.deployment.name': 'workloadName',
  'k8s.cronjob.name': 'workloadName',
  'k8s.pod.name': 'workloadName',
  'k8s.job.name': 'workloadName',
  'service.name': 'serviceName',
  'service.version': 'revision',
  'cloud.region': 'region',
  'cloud.availability_zone': 'zone',
};

// baggage-octet: printable ASCII without space, quote, comma, semicolon, backslash.
const plainValue = /^[!#-+\--:<-[\]-~]*$/;

const escapeValue = (value: string): string =>
  plainValue.test(value) && !value.includes('%') ? value : encodeURIComponent(value.toWellFormed());

const encoded = new WeakMap<Workload, string>();

/** The baggage of a workload: always of the source in a request, of the destination in a response. */
export function encodeBaggage(workload: Workload): string {
  const kept = encoded.get(workload);
  if (kept !== undefined) return kept;
  const members: readonly (readonly [string, string])[] = [
    ['k8s.cluster.name', workload.clusterId],
    ['k8s.namespace.name', workload.namespace],
    [`k8s.${workload.workloadType}.name`, workload.workloadName],
    ['service.name', workload.canonicalName],
    ['service.version', workload.canonicalRevision],
    ['cloud.region', workload.locality.region],
    ['cloud.availability_zone', workload.locality.zone],
  ];
  const text = members
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${escapeValue(value)}`)
    .join(',');
  encoded.set(workload, text);
  return text;
}

/** What the header says of its sender. Members that are unknown, empty or malformed are passed over; one that is too long leaves nothing. */
export function parseBaggage(header: HeaderValue): Baggage {
  const lines = header === undefined ? [] : typeof header === 'string' ? [header] : header;
  const out: { -readonly [K in keyof Baggage]: Baggage[K] } = {};
  if (lines.reduce((length, line) => length + line.length + 1, 0) > maxBaggage) return {};
  let members = 0;
  for (const line of lines)
    for (const member of line.split(',')) {
      if (++members > maxMembers) return {};
      const equals = member.indexOf('=');
      if (equals < 0) continue;
      const name = member.slice(0, equals).trim();
      const field = Object.hasOwn(baggageFields, name) ? baggageFields[name] : undefined;
      if (field === undefined) continue;
      // Properties after a semicolon are nothing to us.
      const value = (member.slice(equals + 1).split(';')[0] as string).trim();
      if (value === '' || value.length > maxValue || !plainValue.test(value)) delete out[field];
      else out[field] = value;
    }
  return out;
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** `for="ip:port"`, and the hostname of the service that was meant, if it was one. */
export function encodeForwarded(client: SocketAddress, hostname?: string): string {
  const from = `for="${formatSocketAddress(client.ip, client.port)}"`;
  if (hostname === undefined || hostname === '') return from;
  return `${from};host=${token.test(hostname) ? hostname : `"${hostname.replace(/["\\]/g, '\\$&')}"`}`;
}

// One parameter and what ends it: name=token or name="quoted"; also unquoted host:port, which many send.
const parameter =
  /\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\[\x20-\x7e])*)"|([^\s",;\\]*))\s*(;|,|$)/y;

/** `host=` of the first element of a Forwarded header (RFC 7239). Never trusted for more than a label. */
export function parseForwardedHost(header: HeaderValue): string | undefined {
  const text = typeof header === 'string' ? header : header?.[0];
  if (text === undefined || text.length > maxForwarded || !/^[\x20-\x7e]*$/.test(text)) return undefined;
  parameter.lastIndex = 0;
  let host: string | undefined;
  for (;;) {
    const found = parameter.exec(text);
    if (found === null) return undefined;
    const [, name, quoted, plain, end] = found as unknown as [string, string, string?, string?, string?];
    if (host === undefined && name.toLowerCase() === 'host')
      host = quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1');
    if (end !== ';') return host === '' ? undefined : host;
  }
}

/** A W3C trace context, version 00. */
export interface TraceParent {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly parentId: string;
  readonly flags: number;
}

const traceShape = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Undefined unless it is of version 00 and well formed, with ids that are not zero. */
export function parseTraceParent(header: HeaderValue): TraceParent | undefined {
  const text = typeof header === 'string' ? header : header?.[0];
  const found = text === undefined || text.length !== 55 ? null : traceShape.exec(text);
  if (found === null) return undefined;
  const [, traceId, parentId, flags] = found as unknown as [string, string, string, string];
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, parentId, flags: Number.parseInt(flags, 16) };
}

export function encodeTraceParent({ traceId, parentId, flags }: TraceParent): string {
  return `00-${traceId}-${parentId}-${flags.toString(16).padStart(2, '0')}`;
}

const idBytes = 24;
// Drawn for many connections at once: a draw costs more than the bytes.
const pool = Buffer.alloc(idBytes * 64);
let drawn = pool.length;

/** A new trace, not sampled, as each connection begins one. */
export function newTraceParent(): TraceParent {
  if (drawn >= pool.length) {
    globalThis.crypto.getRandomValues(pool);
    drawn = 0;
  }
  const text = pool.toString('hex', drawn, drawn + idBytes);
  drawn += idBytes;
  return { traceId: text.slice(0, 32), parentId: text.slice(32), flags: 0 };
}

/** The client's network, when the request says so; the name of a network is short and plain. */
export function parseForwardedNetwork(header: HeaderValue): string | undefined {
  const text = typeof header === 'string' ? header : header?.[0];
  return text === undefined || text.length > maxValue || !/^[\x20-\x7e]*$/.test(text) ? undefined : text;
}
