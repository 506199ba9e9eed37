// The values of an AuthorizationPolicy's fields: string matches, CIDR ranges, ports, service accounts.
// Each reader gives the parsed values and the texts that it could not parse.
import { parseCidr, type Cidr } from '#/kit/index.ts';
import type { ServiceAccountMatch, StringMatch } from '#/model/index.ts';
import { list } from './read.ts';

export interface Parsed<T> {
  readonly values: readonly T[];
  /** One sentence per value that is not understood. */
  readonly bad: readonly string[];
}

/** A value as a message shows it: short, and never by walking through it. */
export function shown(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
}

function parseAll<T>(value: unknown, expected: string, parse: (text: string) => T | undefined): Parsed<T> {
  if (value === undefined || value === null) return { values: [], bad: [] };
  if (!Array.isArray(value)) return { values: [], bad: [`${shown(value)} is not a list`] };
  const values: T[] = [];
  const bad: string[] = [];
  for (const item of list(value)) {
    const parsed = typeof item === 'string' ? parse(item) : undefined;
    if (parsed === undefined) bad.push(`${shown(item)} is not ${expected}`);
    else values.push(parsed);
  }
  return { values, bad };
}

export function stringMatch(text: string): StringMatch | undefined {
  if (text === '') return undefined;
  if (text === '*') return { kind: 'presence' };
  if (text.startsWith('*')) return { kind: 'suffix', value: text.slice(1) };
  if (text.endsWith('*')) return { kind: 'prefix', value: text.slice(0, -1) };
  return { kind: 'exact', value: text };
}

export function stringMatches(value: unknown): Parsed<StringMatch> {
  return parseAll(value, 'a name, "*", "prefix*" or "*suffix"', stringMatch);
}

export function cidrs(value: unknown): Parsed<Cidr> {
  return parseAll(value, 'an IP address or CIDR range', parseCidr);
}

export function ports(value: unknown): Parsed<number> {
  return parseAll(value, 'a port from 0 to 65535', (text) =>
    /^[0-9]{1,5}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined,
  );
}

/** `ns/sa`, or `sa` in the policy's own namespace. */
export function serviceAccounts(value: unknown, ownNamespace: string): Parsed<ServiceAccountMatch> {
  return parseAll(value, 'a service account ("name" or "namespace/name")', (text) => {
    const parts = text.split('/');
    if (parts.length > 2 || parts.some((part) => part === '')) return undefined;
    const [namespace, serviceAccount] =
      parts.length === 2 ? (parts as [string, string]) : [ownNamespace, text];
    return { namespace, serviceAccount };
  });
}

/**
 * Trust domains as matches of the principal, which begins with the trust domain and a slash. Exact for a name and
 * for `prefix*`; a suffix cannot be said in this way.
 */
export function trustDomains(value: unknown): Parsed<StringMatch> {
  return parseAll(value, 'a trust domain that can be checked here ("name", "prefix*" or "*")', (text) => {
    const match = stringMatch(text);
    if (match === undefined || text.includes('/')) return undefined;
    switch (match.kind) {
      case 'presence':
        return match;
      case 'exact':
        return { kind: 'prefix', value: `${match.value}/` };
      case 'prefix':
        return match;
      case 'suffix':
        return undefined;
    }
  });
}
