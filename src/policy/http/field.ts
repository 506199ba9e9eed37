// One restriction of a policy: a name, what is wanted, and a test. A field is made once, when its policy is compiled,
// and serves both the verdict and its explanation.
import { cidrContains, formatCidr, type Cidr, type IpBytes } from '#/kit/index.ts';
import type { Either, StringMatch } from '#/model/index.ts';
import { stringMatches } from '../compile.ts';
import type { HttpView } from './http-view.ts';

export interface Field {
  /** As written in the policy: `principals`, `notPaths`, `when request.headers[x-a]`. */
  readonly name: string;
  readonly wanted: readonly string[];
  /** It cannot be said of a connection without HTTP. */
  readonly httpOnly: boolean;
  /** It needs the token, which is not there yet when CUSTOM policies are asked. */
  readonly needsToken: boolean;
  /** Why it cannot be checked at all. */
  readonly broken?: string;
  holds(view: HttpView): boolean;
  /** What the request has, for people. */
  got(view: HttpView): string;
}

export interface FieldShape<T> {
  readonly name: string;
  readonly httpOnly?: boolean;
  readonly needsToken?: boolean;
  /** A test for a list of values: true if any of them matches. */
  any(values: readonly T[]): (view: HttpView) => boolean;
  show(value: T): string;
  got(view: HttpView): string;
}

const notName = (name: string): string => `not${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

/** The fields of a pair of lists; none for empty ones. */
export function fieldsOf<T>(shape: FieldShape<T>, either: Either<T> | undefined): Field[] {
  if (either === undefined) return [];
  const fields: Field[] = [];
  const make = (name: string, values: readonly T[], negate: boolean): void => {
    if (values.length === 0) return;
    const test = shape.any(values);
    fields.push({
      name,
      wanted: values.map((value) => shape.show(value)),
      httpOnly: shape.httpOnly ?? false,
      needsToken: shape.needsToken ?? false,
      holds: negate ? (view) => !test(view) : test,
      got: (view) => shape.got(view),
    });
  };
  make(shape.name, either.values, false);
  const not = shape.name.startsWith('when ') ? `${shape.name} notValues` : notName(shape.name);
  make(not, either.notValues, true);
  return fields;
}

/** A field that cannot be checked. */
export function brokenField(name: string, reason: string): Field {
  return {
    name,
    wanted: [],
    httpOnly: false,
    needsToken: false,
    broken: reason,
    holds: () => false,
    got: () => '',
  };
}

export function showMatch(match: StringMatch): string {
  switch (match.kind) {
    case 'exact':
      return match.value;
    case 'prefix':
      return `${match.value}*`;
    case 'suffix':
      return `*${match.value}`;
    case 'presence':
      return '*';
  }
}

/** `a`, `a*`, `*a` or `*`. Undefined for an empty text. */
export function parseMatch(text: string): StringMatch | undefined {
  if (text === '') return undefined;
  if (text === '*') return { kind: 'presence' };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  return { kind: 'exact', value: text };
}

// A few values are found faster by walking than by hashing.
const walkLimit = 4;

/** True if any of the matches holds for the text. */
export function anyText(matches: readonly StringMatch[]): (text: string) => boolean {
  const exact = matches.flatMap((match) => (match.kind === 'exact' ? [match.value] : []));
  const others = matches.filter((match) => match.kind !== 'exact');
  const set = exact.length > walkLimit ? new Set(exact) : undefined;
  return (text) => {
    if (set === undefined ? exact.includes(text) : set.has(text)) return true;
    for (const match of others) if (stringMatches(match, text)) return true;
    return false;
  };
}

/** Of a text that may be missing; `missing` is what people are shown then. */
export function textShape(
  name: string,
  text: (view: HttpView) => string | undefined,
  options: { httpOnly?: boolean; missing?: string } = {},
): FieldShape<StringMatch> {
  return {
    name,
    httpOnly: options.httpOnly ?? false,
    any(matches) {
      const test = anyText(matches);
      return (view) => {
        const got = text(view);
        return got !== undefined && test(got);
      };
    },
    show: showMatch,
    got: (view) => text(view) ?? options.missing ?? '(none)',
  };
}

export function rangeShape(
  name: string,
  bytes: (view: HttpView) => IpBytes,
  got: (view: HttpView) => string,
): FieldShape<Cidr> {
  return {
    name,
    any: (ranges) => (view) => {
      const address = bytes(view);
      for (const range of ranges) if (cidrContains(range, address)) return true;
      return false;
    },
    show: formatCidr,
    got,
  };
}
