// One match of a rule as functions: what of its path can be looked up in an index, and tests of the rest, cheapest first.
import type { HttpMatch, NamedMatch, TextMatch } from '#/model/index.ts';
import type { MatchInput } from './match-input.ts';
import { compileRegex, literalStart, type TextTest } from './regex.ts';

export type MatchTest = (input: MatchInput) => boolean;

/** How the path is found: by a look-up, or (`other`) by a test among the rest. `every`: the path does not restrict. */
export type PathKey =
  | { readonly kind: 'exact' | 'prefix'; readonly value: string }
  /** Whole elements; without a slash at the end, so never empty. */
  | { readonly kind: 'elements'; readonly value: string }
  /** `start`: what every path that passes the test begins with. */
  | { readonly kind: 'other'; readonly length: number; readonly start: string }
  | { readonly kind: 'every' };

export interface CompiledMatch {
  readonly path: PathKey;
  /** All must hold, besides the path. */
  readonly tests: readonly MatchTest[];
}

export function compileText(match: TextMatch): TextTest | undefined {
  switch (match.kind) {
    case 'exact':
      return (text) => text === match.value;
    case 'prefix':
      return (text) => text.startsWith(match.value);
    case 'suffix':
      return (text) => text.endsWith(match.value);
    case 'regex':
      return compileRegex(match.value);
    case 'presence':
      return () => true;
  }
}

/** Thrown and caught in this file only: configuration, not a request, is at fault. */
class BadPattern extends Error {}

function text(match: TextMatch, field: string): TextTest {
  const test = compileText(match);
  if (test === undefined) {
    const pattern = match.kind === 'regex' ? match.value : '';
    throw new BadPattern(`${field}: ${JSON.stringify(pattern.slice(0, 200))} is not an RE2 pattern`);
  }
  return test;
}

/** Names with a colon are the request's own parts, as VirtualServices may name them. */
function headerReader(name: string): (input: MatchInput) => string | undefined {
  switch (name) {
    case ':authority':
    case 'host':
      return ({ request }) => request.authority;
    case ':method':
      return ({ request }) => request.method;
    case ':path':
      return ({ request }) => (request.query === '' ? request.path : `${request.path}?${request.query}`);
    case ':scheme':
      return ({ request }) => request.scheme;
    default:
      return (input) => input.header(name);
  }
}

function headerTest({ name, match }: NamedMatch): MatchTest {
  const lower = name.toLowerCase();
  const test = text(match, `header ${name}`);
  if (lower.startsWith(':') || lower === 'host') {
    const read = headerReader(lower);
    return (input) => {
      const value = read(input);
      return value !== undefined && test(value);
    };
  }
  if (match.kind === 'exact') {
    const wanted = match.value;
    return (input) => input.header(lower) === wanted;
  }
  return (input) => {
    const value = input.header(lower);
    return value !== undefined && test(value);
  };
}

function queryTest({ name, match }: NamedMatch): MatchTest {
  const test = text(match, `query parameter ${name}`);
  return (input) => {
    const value = input.parameter(name);
    return value !== undefined && test(value);
  };
}

const withoutEndingSlashes = (path: string): string => {
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === 47) end--;
  return path.slice(0, end);
};

export function elementsMatch(path: string, elements: string): boolean {
  return path.startsWith(elements) && (path.length === elements.length || path[elements.length] === '/');
}

function pathKey(match: HttpMatch, tests: MatchTest[]): PathKey {
  const { path } = match;
  if (path === undefined || path.kind === 'presence') return { kind: 'every' };
  if (path.kind === 'regex') {
    const test = text(path, 'path');
    tests.push(({ request }) => test(request.path));
    return { kind: 'other', length: path.value.length, start: literalStart(path.value) };
  }
  if (path.kind === 'suffix') {
    tests.push(({ request }) => request.path.endsWith(path.value));
    return { kind: 'other', length: path.value.length, start: '' };
  }
  const value = path.kind === 'elements' ? withoutEndingSlashes(path.value) : path.value;
  if (path.kind !== 'exact' && (value === '' || value === '/')) return { kind: 'every' };
  if (match.ignorePathCase !== true) return { kind: path.kind, value };
  const lower = value.toLowerCase();
  if (path.kind === 'exact') tests.push(({ request }) => request.path.toLowerCase() === lower);
  else if (path.kind === 'prefix') tests.push(({ request }) => request.path.toLowerCase().startsWith(lower));
  else tests.push(({ request }) => elementsMatch(request.path.toLowerCase(), lower));
  return { kind: 'other', length: value.length, start: '' };
}

/** A text: the match can never hold, and why. */
export function compileMatch(match: HttpMatch): CompiledMatch | string {
  const tests: MatchTest[] = [];
  const { port, method, scheme, authority } = match;
  try {
    if (port !== undefined) tests.push((input) => input.port === port);
    if (method !== undefined) {
      const test = text(method, 'method');
      tests.push(({ request }) => test(request.method));
    }
    if (scheme !== undefined) {
      const test = text(scheme, 'scheme');
      tests.push(({ request }) => test(request.scheme));
    }
    if (authority !== undefined) {
      const test = text(authority, 'authority');
      // Envoy strips the port before it matches; whoever writes the port means it.
      tests.push((input) => test(input.request.authority) || test(input.host));
    }
    for (const header of match.headers ?? []) tests.push(headerTest(header));
    for (const header of match.withoutHeaders ?? []) {
      const test = headerTest(header);
      tests.push((input) => !test(input));
    }
    for (const parameter of match.query ?? []) tests.push(queryTest(parameter));
    return { path: pathKey(match, tests), tests };
  } catch (error) {
    if (error instanceof BadPattern) return error.message;
    throw error;
  }
}
