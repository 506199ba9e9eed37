// Matches of HTTPRoute and GRPCRoute.
import type { HttpMatch, NamedMatch, PathPrefix, TextMatch } from '#/model/index.ts';
import { list, optionalText, record, text } from '../read.ts';
import { regex, type Notes } from './values.ts';

function valueMatch(value: unknown, field: string, notes: Notes): TextMatch | undefined {
  const match = record(value);
  const wanted = text(match['value']);
  switch (match['type'] ?? 'Exact') {
    case 'Exact':
      return { kind: 'exact', value: wanted };
    case 'RegularExpression':
      return regex(wanted, `${field}.value`, notes);
    default:
      return notes.add(`${field}.type`, 'is not Exact or RegularExpression');
  }
}

/** Of several matches of one name the first counts, as the Gateway API says. */
function namedMatches(
  value: unknown,
  field: string,
  notes: Notes,
  nameOf: (name: string) => string,
): readonly NamedMatch[] {
  const found = new Map<string, NamedMatch>();
  list(value).forEach((item, i) => {
    const name = nameOf(text(record(item)['name']));
    const match = valueMatch(item, `${field}[${i}]`, notes);
    if (match !== undefined && !found.has(name)) found.set(name, { name, match });
  });
  return [...found.values()];
}

function httpPath(value: unknown, field: string, notes: Notes): TextMatch | PathPrefix | undefined {
  if (value === undefined || value === null) return undefined;
  const path = record(value);
  const wanted = optionalText(path['value']) ?? '/';
  switch (path['type'] ?? 'PathPrefix') {
    case 'Exact':
      return { kind: 'exact', value: wanted };
    case 'PathPrefix':
      // Every path has it.
      return wanted === '/' ? undefined : { kind: 'elements', value: wanted };
    case 'RegularExpression':
      return regex(wanted, `${field}.value`, notes);
    default:
      return notes.add(`${field}.type`, 'is not Exact, PathPrefix or RegularExpression');
  }
}

const lower = (name: string): string => name.toLowerCase();

/** Without those that cannot be read in full: a part of a match would match more. */
function eachMatch(
  value: unknown,
  field: string,
  notes: Notes,
  read: (item: unknown, field: string) => HttpMatch,
): readonly HttpMatch[] {
  const good: HttpMatch[] = [];
  list(value).forEach((item, i) => {
    const before = notes.problems.length;
    const match = read(item, `${field}[${i}]`);
    if (notes.problems.length === before) good.push(match);
  });
  return good;
}

/** Matches of an HTTPRoute's rule; none: every request. */
export function httpMatches(value: unknown, field: string, notes: Notes): readonly HttpMatch[] {
  return eachMatch(value, field, notes, (item, at) => {
    const match = record(item);
    const path = httpPath(match['path'], `${at}.path`, notes);
    const method = optionalText(match['method']);
    const headers = namedMatches(match['headers'], `${at}.headers`, notes, lower);
    const query = namedMatches(match['queryParams'], `${at}.queryParams`, notes, (name) => name);
    return {
      ...(path === undefined ? {} : { path }),
      ...(method === undefined ? {} : { method: { kind: 'exact', value: method } as const }),
      ...(headers.length === 0 ? {} : { headers }),
      ...(query.length === 0 ? {} : { query }),
    };
  });
}

/** `/service/method` with one or both given. */
function grpcPath(value: unknown, field: string, notes: Notes): TextMatch | undefined {
  if (value === undefined || value === null) return undefined;
  const match = record(value);
  const service = text(match['service']);
  const method = text(match['method']);
  if (service === '' && method === '') return undefined;
  switch (match['type'] ?? 'Exact') {
    case 'Exact':
      if (method === '') return { kind: 'prefix', value: `/${service}/` };
      return service === ''
        ? { kind: 'suffix', value: `/${method}` }
        : { kind: 'exact', value: `/${service}/${method}` };
    case 'RegularExpression':
      return regex(
        `/(?:${service === '' ? '[^/]+' : service})/(?:${method === '' ? '[^/]+' : method})`,
        field,
        notes,
      );
    default:
      return notes.add(`${field}.type`, 'is not Exact or RegularExpression');
  }
}

export function grpcMatches(value: unknown, field: string, notes: Notes): readonly HttpMatch[] {
  return eachMatch(value, field, notes, (item, at) => {
    const match = record(item);
    const path = grpcPath(match['method'], `${at}.method`, notes);
    const headers = namedMatches(match['headers'], `${at}.headers`, notes, lower);
    return { ...(path === undefined ? {} : { path }), ...(headers.length === 0 ? {} : { headers }) };
  });
}
