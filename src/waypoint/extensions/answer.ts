// What an extension answers, checked: the data path believes nothing of what comes from its thread.
import {
  canonicalPath,
  isWrittenByCodec,
  validHeaderName,
  validHeaderValue,
  type HeaderMap,
} from '#/http/index.ts';
import type { HeaderValue } from '#/model/index.ts';
import { limits, type LogLine, type RawAnswer } from './protocol.ts';

export interface ExtensionEdit {
  readonly operation: 'set' | 'add' | 'delete';
  readonly name: string;
  readonly value: string;
}

export interface ExtensionAnswer {
  readonly failure?: never;
  readonly edits: readonly ExtensionEdit[];
  readonly target?: { readonly path: string; readonly query: string | undefined };
  /** Instead of the request's body. */
  readonly body?: Buffer;
  /** Instead of the destination's answer. */
  readonly reply?: {
    readonly status: number;
    readonly headers: readonly HeaderValue[];
    readonly body: string;
  };
  /** For the next phase. */
  readonly state: unknown;
}

export interface ExtensionFailure {
  readonly failure: string;
}

export type ExtensionResult = ExtensionAnswer | ExtensionFailure;

export interface ReadAnswer {
  readonly result: ExtensionResult;
  readonly lines: readonly LogLine[];
}

const levels = new Set<unknown>(['debug', 'info', 'warn', 'error']);
const failed = (failure: string): ReadAnswer => ({ result: { failure }, lines: [] });
/** Not String(): an object may bring a `toString` that is none. */
const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value)) ?? '';
const quoted = (value: unknown): string => JSON.stringify(asText(value).slice(0, 100));
/** A line break would make two lines of one. */
const oneLine = (value: unknown): string =>
  asText(value)
    .slice(0, limits.logLine)
    .replaceAll(/\p{Cc}+/gu, ' ');

export function readAnswer(text: unknown): ReadAnswer {
  if (typeof text !== 'string') return failed('the answer is no text');
  if (text.length > limits.answer) return failed(`an answer of ${text.length} characters`);
  // Most answers change nothing.
  if (text === '{}') return { result: { edits: [], state: undefined }, lines: [] };
  let raw: RawAnswer | null;
  try {
    raw = JSON.parse(text) as RawAnswer | null;
  } catch {
    return failed('the answer cannot be read');
  }
  if (typeof raw !== 'object' || raw === null) return failed('the answer is no object');
  const lines = linesOf(raw.l);
  if (raw.x !== undefined) return { result: { failure: oneLine(raw.x) }, lines };
  return { result: resultOf(raw), lines };
}

function linesOf(list: unknown): LogLine[] {
  if (!Array.isArray(list)) return [];
  return list.slice(0, limits.logLines).map((entry: unknown): LogLine => {
    const [level, line] = Array.isArray(entry) ? (entry as unknown[]) : [];
    return [levels.has(level) ? (level as LogLine[0]) : 'info', oneLine(line)];
  });
}

function resultOf({ e, p, b, r, st }: RawAnswer): ExtensionResult {
  const edits: ExtensionEdit[] = [];
  const list: unknown[] = Array.isArray(e) ? e : [];
  for (let i = 0; i + 2 < list.length; i += 3) {
    const operation = list[i];
    const name = list[i + 1];
    const value = list[i + 2];
    if (operation !== 'set' && operation !== 'add' && operation !== 'delete')
      return { failure: 'an edit of headers that is unknown' };
    const wrong = wrongHeader(name, operation === 'delete' ? '' : value);
    if (wrong !== undefined) return { failure: wrong };
    edits.push({ operation, name: name as string, value: value as string });
  }
  let target: ExtensionAnswer['target'];
  if (p !== undefined) {
    if (typeof p !== 'string' || p.length > 8192) return { failure: 'a path that is too long, or no text' };
    const canonical = canonicalPath(p);
    if (canonical.reason !== undefined) return { failure: `the path ${quoted(p)}: ${canonical.reason}` };
    target = canonical;
  }
  if (b !== undefined && typeof b !== 'string') return { failure: 'a body that is no text' };
  let reply: ExtensionAnswer['reply'];
  if (r !== undefined) {
    const read = replyOf(r);
    if (typeof read === 'string') return { failure: read };
    reply = read;
  }
  return {
    edits,
    state: st,
    ...(target === undefined ? {} : { target }),
    ...(b === undefined ? {} : { body: Buffer.from(b) }),
    ...(reply === undefined ? {} : { reply }),
  };
}

function replyOf(raw: unknown): NonNullable<ExtensionAnswer['reply']> | string {
  const [status, flat, body] = Array.isArray(raw) ? (raw as unknown[]) : [];
  if (typeof status !== 'number' || !Number.isInteger(status) || status < 200 || status > 599)
    return `a status of ${quoted(status)}: it must be 200 to 599`;
  if (!Array.isArray(flat) || typeof body !== 'string') return 'a reply that cannot be read';
  const headers: HeaderValue[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name: unknown = flat[i];
    const value: unknown = flat[i + 1];
    const wrong = wrongHeader(name, value);
    if (wrong !== undefined) return wrong;
    headers.push({ name: name as string, value: value as string });
  }
  return { status, headers, body };
}

/** One that would break the message, or is not an extension's to say, makes the whole answer worthless. */
function wrongHeader(name: unknown, value: unknown): string | undefined {
  if (typeof name !== 'string' || typeof value !== 'string') return 'a header that is no text';
  if (!validHeaderName(name)) return `the header name ${quoted(name)} is malformed`;
  if (!validHeaderValue(value)) return `the value of header ${name} is malformed: ${quoted(value)}`;
  if (isWrittenByCodec(name) || name === 'te' || name.startsWith('x-envoy-'))
    return `the header ${name} is the proxy's own`;
  return undefined;
}

export function applyEdits(headers: HeaderMap, edits: readonly ExtensionEdit[]): void {
  for (const { operation, name, value } of edits)
    if (operation === 'set') headers.set(name, value);
    else if (operation === 'add') headers.add(name, value);
    else headers.delete(name);
}
