// Values of L7 fields: durations, regular expressions, header changes, text matches. What cannot be read is told to a
// Notes, with its place; the caller says what becomes of the whole.
import { RE2JS } from 're2js';
import type { HeaderChange, HeaderValue, TextMatch } from '#/model/index.ts';
import { list, record, text, texts, type Json } from '../read.ts';
import type { Problem } from '../translation.ts';

export class Notes {
  readonly problems: Problem[] = [];

  add(field: string, reason: string): undefined {
    this.problems.push({ field, reason });
    return undefined;
  }
}

/** Drops the fields that are undefined, as optional fields of nouns must be absent. */
export function defined<T extends object>(
  value: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } & Needed<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as never;
}

type Needed<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] };

const units: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000001,
};

/** Milliseconds of `1h2m3.5s`, `300ms`, `0s`; undefined for anything else, negative ones too. */
export function durationMs(value: string): number | undefined {
  if (value === '0') return 0;
  let rest = value;
  let sum = 0;
  if (rest === '' || rest.length > 40) return undefined;
  while (rest !== '') {
    const match = /^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|s|us|µs|ns)/.exec(rest);
    if (match === null) return undefined;
    sum += Number(match[1]) * (units[match[2] as string] as number);
    rest = rest.slice(match[0].length);
  }
  return Math.round(sum * 1000) / 1000;
}

/** The duration of a field that may be absent. */
export function duration(value: unknown, field: string, notes: Notes): number | undefined {
  if (value === undefined || value === null) return undefined;
  const ms = typeof value === 'string' ? durationMs(value) : undefined;
  return ms ?? notes.add(field, 'is not a duration such as "1.5s"');
}

export function wholeNumber(value: unknown, field: string, notes: Notes): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  return notes.add(field, 'is not a whole number from 0');
}

export function port(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65535
    ? value
    : undefined;
}

/** As the waypoint has it: a longer pattern would be a large automaton. */
const longestPattern = 4096;

/** RE2 syntax, which is what the waypoint compiles. */
export function isPattern(pattern: string): boolean {
  if (pattern.length > longestPattern) return false;
  try {
    RE2JS.compile(pattern);
    return true;
  } catch {
    return false;
  }
}

export function regex(value: string, field: string, notes: Notes): TextMatch | undefined {
  return isPattern(value)
    ? { kind: 'regex', value }
    : notes.add(field, 'is not a regular expression (RE2 syntax)');
}

/** Istio's StringMatch; an empty one asks for presence. Undefined: it cannot be read. */
export function stringMatch(value: unknown, field: string, notes: Notes): TextMatch | undefined {
  const match = record(value);
  const { exact, prefix, regex: pattern } = match;
  if (typeof exact === 'string') return { kind: 'exact', value: exact };
  if (typeof prefix === 'string') return { kind: 'prefix', value: prefix };
  if (typeof pattern === 'string') return regex(pattern, `${field}.regex`, notes);
  const [other] = Object.keys(match);
  return other === undefined ? { kind: 'presence' } : notes.add(`${field}.${other}`, 'unknown field');
}

const token = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/;

/** What a route may not change: the codec's and the tunnel's own. */
const reserved = [
  'connection',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'keep-alive',
  'te',
  'trailer',
];

function headerName(value: string, field: string, notes: Notes): string | undefined {
  const lower = value.toLowerCase();
  if (!token.test(lower)) return notes.add(field, `"${value.slice(0, 100)}" is not the name of a header`);
  return reserved.includes(lower) ? notes.add(field, `"${lower}" may not be changed by a route`) : lower;
}

const badValue = /[\0\r\n]/;

export function headerValues(
  pairs: readonly (readonly [string, unknown])[],
  field: string,
  notes: Notes,
): readonly HeaderValue[] {
  const values: HeaderValue[] = [];
  for (const [key, value] of pairs) {
    const name = headerName(key, field, notes);
    if (name === undefined) continue;
    if (typeof value !== 'string' || badValue.test(value))
      notes.add(`${field}.${name}`, 'is not a value of a header');
    else values.push({ name, value });
  }
  return values;
}

function change(
  set: readonly HeaderValue[],
  add: readonly HeaderValue[],
  remove: readonly string[],
): HeaderChange | undefined {
  if (set.length + add.length + remove.length === 0) return undefined;
  return {
    ...(set.length === 0 ? {} : { set }),
    ...(add.length === 0 ? {} : { add }),
    ...(remove.length === 0 ? {} : { remove }),
  };
}

const removals = (value: unknown, field: string, notes: Notes): readonly string[] =>
  texts(value)
    .map((name) => headerName(name, field, notes))
    .filter((name) => name !== undefined);

/** Gateway API's modifier: lists of names and values. */
export function headerModifier(value: unknown, field: string, notes: Notes): HeaderChange | undefined {
  const modifier = record(value);
  const pairs = (part: string) =>
    headerValues(
      list(modifier[part]).map((item) => [text(record(item)['name']), record(item)['value']] as const),
      `${field}.${part}`,
      notes,
    );
  return change(pairs('set'), pairs('add'), removals(modifier['remove'], `${field}.remove`, notes));
}

/** Istio's HeaderOperations: maps. */
export function headerOperations(value: unknown, field: string, notes: Notes): HeaderChange | undefined {
  const operations = record(value);
  const pairs = (part: string) =>
    headerValues(Object.entries(record(operations[part])), `${field}.${part}`, notes);
  return change(pairs('set'), pairs('add'), removals(operations['remove'], `${field}.remove`, notes));
}

/** `{ value: 0.1 }` percent as a fraction. */
export function percentage(value: unknown, absent: number, field: string, notes: Notes): number {
  if (value === undefined || value === null) return absent;
  const percent = record(value)['value'] ?? 0;
  if (typeof percent === 'number' && percent >= 0 && percent <= 100) return percent / 100;
  notes.add(`${field}.value`, 'is not a percentage from 0 to 100');
  return 0;
}

/** Told once, for fields that have no effect here. */
export function ignored(
  value: Json,
  fields: Readonly<Record<string, string>>,
  at: string,
  notes: Notes,
): void {
  for (const [field, why] of Object.entries(fields))
    if (value[field] !== undefined && value[field] !== null) notes.add(`${at}.${field}`, why);
}
