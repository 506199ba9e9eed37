// Trace context in headers: W3C (traceparent, tracestate) and B3 (one header or several), read strictly and written.
// What is malformed counts as absent: a new trace is then begun, as the W3C says.
import type { HeaderChange, HeaderValue, HeaderView } from '#/model/index.ts';

/** In the order of preference where several are there. */
export type TraceFormat = 'w3c' | 'b3' | 'b3-single';

export interface IncomingTrace {
  /** Lower-case hex; 32 digits, or 16 of an old B3 client. Both ids or neither. */
  readonly traceId?: string;
  readonly spanId?: string;
  /** Undefined: the decision is ours. */
  readonly sampled?: boolean;
  /** tracestate, to be handed on as it is. */
  readonly state?: string;
}

export interface OutgoingTrace {
  readonly traceId: string;
  /** Ours: the parent of what the next one does. */
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  readonly sampled: boolean;
  readonly state?: string | undefined;
}

export interface TraceIdSource {
  traceId(): string;
  spanId(): string;
}

const traceparent = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const zeros = /^0+$/;

// W3C Trace Context, 3.3.1: keys with and without a tenant; values without `,` and `=`, not ending in a space.
const stateMember =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
const maxStateLength = 4096;
const maxStateMembers = 32;

/** tracestate if it is well-formed; else it is dropped whole. */
export function readTraceState(value: string | undefined): string | undefined {
  if (value === undefined || value.length > maxStateLength) return undefined;
  const members = value
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  if (members.length === 0 || members.length > maxStateMembers) return undefined;
  const keys = new Set<string>();
  for (const member of members) {
    if (!stateMember.test(member)) return undefined;
    keys.add(member.slice(0, member.indexOf('=')));
  }
  return keys.size === members.length ? members.join(',') : undefined;
}

function readW3c(headers: HeaderView): IncomingTrace | undefined {
  const value = headers.get('traceparent');
  if (value === undefined || value.length > 512) return undefined;
  const match = traceparent.exec(value);
  if (match === null) return undefined;
  const [, version, traceId, spanId, flags] = match as unknown as [string, string, string, string, string];
  // 00 has nothing after the flags; later versions may.
  if (version === 'ff' || (version === '00' && match[5] !== undefined)) return undefined;
  if (zeros.test(traceId) || zeros.test(spanId)) return undefined;
  const state = readTraceState(headers.get('tracestate'));
  return {
    traceId,
    spanId,
    sampled: (Number.parseInt(flags, 16) & 1) === 1,
    ...(state !== undefined && { state }),
  };
}

const b3Trace = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/i;
const b3Span = /^[0-9a-f]{16}$/i;
const decisions: Readonly<Record<string, boolean>> = {
  '1': true,
  true: true,
  d: true,
  '0': false,
  false: false,
};

const decision = (text: string | undefined): boolean | undefined =>
  text !== undefined && Object.hasOwn(decisions, text) ? decisions[text] : undefined;

function b3Trio(
  traceId: string | undefined,
  spanId: string | undefined,
  sampled: boolean | undefined,
): IncomingTrace | undefined {
  const decided = sampled === undefined ? {} : { sampled };
  if (traceId === undefined && spanId === undefined) return sampled === undefined ? undefined : decided;
  if (traceId === undefined || spanId === undefined) return undefined;
  if (!b3Trace.test(traceId) || !b3Span.test(spanId) || zeros.test(traceId) || zeros.test(spanId))
    return undefined;
  return { traceId: traceId.toLowerCase(), spanId: spanId.toLowerCase(), ...decided };
}

function readB3Single(headers: HeaderView): IncomingTrace | undefined {
  const value = headers.get('b3');
  if (value === undefined || value.length > 70) return undefined;
  const parts = value.split('-');
  const [first, span, sampled, parent] = parts;
  if (parts.length === 1)
    return b3Trio(undefined, undefined, first?.length === 1 ? decision(first) : undefined);
  const decided = sampled?.length === 1 ? decision(sampled) : undefined;
  if (parts.length > 4 || (sampled !== undefined && decided === undefined)) return undefined;
  if (parent !== undefined && !b3Span.test(parent)) return undefined;
  return b3Trio(first, span, decided);
}

function readB3(headers: HeaderView): IncomingTrace | undefined {
  const sampled = headers.get('x-b3-sampled');
  const decided = headers.get('x-b3-flags') === '1' ? true : sampled === 'd' ? undefined : decision(sampled);
  return b3Trio(headers.get('x-b3-traceid'), headers.get('x-b3-spanid'), decided);
}

const readers: Readonly<Record<TraceFormat, (headers: HeaderView) => IncomingTrace | undefined>> = {
  w3c: readW3c,
  b3: readB3,
  'b3-single': readB3Single,
};

/** The first of the formats that is there and well-formed. Empty: a trace begins here. */
export function readTrace(headers: HeaderView, formats: readonly TraceFormat[]): IncomingTrace {
  for (const format of formats) {
    const found = readers[format](headers);
    if (found !== undefined) return found;
  }
  return {};
}

/** Our span in the client's trace, or the first of a new one. */
export function continueTrace(incoming: IncomingTrace, sampled: boolean, ids: TraceIdSource): OutgoingTrace {
  const { traceId, spanId, state } = incoming;
  return traceId === undefined
    ? { traceId: ids.traceId(), spanId: ids.spanId(), sampled }
    : { traceId, spanId: ids.spanId(), parentSpanId: spanId, sampled, state };
}

/** 32 digits, as W3C and OTLP want them. */
export const longTraceId = (traceId: string): string => traceId.padStart(32, '0');

const every: readonly string[] = [
  'traceparent',
  'tracestate',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
];

/**
 * What to change so that the next one sees our span as its parent: the headers of `formats` are set, and those of a
 * format that was read (`stale`) but is not written go, so that no two of them disagree.
 */
export function traceHeaders(
  trace: OutgoingTrace,
  formats: readonly TraceFormat[],
  stale: readonly TraceFormat[] = formats,
): Required<Pick<HeaderChange, 'set' | 'remove'>> {
  const { traceId, spanId, parentSpanId, sampled, state } = trace;
  const set: HeaderValue[] = [];
  const add = (name: string, value: string): void => void set.push({ name, value });
  const bit = sampled ? '1' : '0';
  for (const format of formats) {
    if (format === 'w3c') {
      add('traceparent', `00-${longTraceId(traceId)}-${spanId}-0${bit}`);
      if (state !== undefined) add('tracestate', state);
    } else if (format === 'b3') {
      add('x-b3-traceid', traceId);
      add('x-b3-spanid', spanId);
      if (parentSpanId !== undefined) add('x-b3-parentspanid', parentSpanId);
      add('x-b3-sampled', bit);
    } else add('b3', `${traceId}-${spanId}-${bit}${parentSpanId === undefined ? '' : `-${parentSpanId}`}`);
  }
  const written = new Set(set.map(({ name }) => name));
  const remove = every.filter(
    (name) =>
      !written.has(name) &&
      [...formats, ...stale].includes(name.startsWith('trace') ? 'w3c' : name === 'b3' ? 'b3-single' : 'b3'),
  );
  return { set, remove };
}
